// Numbers and channel names as text.

const formats = new Map();

/** A number with so many decimals, or a dash when there is none. */
export function number(value, decimals = 0) {
  if (typeof value !== "number") return "–";
  if (!formats.has(decimals)) {
    const options = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
    formats.set(decimals, new Intl.NumberFormat("en", options));
  }
  return formats.get(decimals).format(value);
}

const SPECIAL = { "~none": "(none)", "~empty": "(empty)", "~other": "(all others)" };

/** A dimension's value as a person reads it; a real one that begins with ~ has two. */
export const label = (text) => SPECIAL[text] ?? (text.startsWith("~") ? text.slice(1) : text);

/** A rate: one decimal while it is small. */
export const rate = (value) => number(value, value < 10 ? 1 : 0);

/** How long ago, in the two units that matter. */
export function duration(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  let rest = Math.max(0, Math.floor(seconds));
  const words = [];
  for (const [name, size] of units) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count || (name === "s" && !words.length)) words.push(`${count} ${name}`);
  }
  return words.slice(0, 2).join(" ");
}
