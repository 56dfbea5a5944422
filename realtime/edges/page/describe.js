// What to show where nobody has said it: every counter that this visitor may watch.

const MOST_CARDS = 48; // each is a subscription and a picture
const MOST_LISTS = 12; // each asks again every few seconds
const EXACT = new Set(["count", "unique"]); // measures whose values are whole numbers

/** "total" -> "in total", "5m" -> "per 5m", "1h/1m" -> "last 1h". */
function spanWords(window) {
  if (window === "total") return "in total";
  const [size, step] = window.split("/");
  return step ? `last ${size}` : `per ${size}`;
}

function measureWords({ measure, of }) {
  if (measure === "count") return "";
  return `${measure}${of ? ` of ${of}` : ""}, `;
}

const decimals = ({ measure }) => (EXACT.has(measure) ? 0 : 2);

function cards(counter) {
  return counter.windows.map((window) => ({
    channel: `live:${counter.name};window=${window}`,
    title: counter.name,
    unit: measureWords(counter) + spanWords(window),
    decimals: decimals(counter),
  }));
}

/** A list ranks one dimension; counters with several have no list here. */
function lists(counter) {
  if (counter.by.length !== 1) return [];
  const [window] = counter.windows;
  return [
    {
      counter: counter.name,
      window,
      by: counter.by[0],
      title: `${counter.name}, ${measureWords(counter)}${spanWords(window)}`,
      decimals: decimals(counter),
      limit: 10,
    },
  ];
}

/** counters: as /v1/counters tells them. */
export function describe(counters) {
  return {
    title: "Live counters",
    channels: counters.filter(({ by }) => by.length === 0).flatMap(cards).slice(0, MOST_CARDS),
    lists: counters.flatMap(lists).slice(0, MOST_LISTS),
  };
}
