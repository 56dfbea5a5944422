// A table of a counter's top cells. Which cells are on top is asked every few seconds; their
// values come by push, so the rows move in between.

import { label, number } from "./format.js";
import { Denied } from "./socket.js";

const ASK_MS = 4000;

/** A dimension's value as it is spelled in a channel's name. */
const escape = (value) =>
  encodeURIComponent(value).replace(/[!'()*~]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

function cell(tag, className = "") {
  const element = document.createElement(tag);
  element.className = className;
  return element;
}

class Row {
  constructor(name, decimals) {
    this.name = name;
    this.decimals = decimals;
    this.value = null;
    this.element = cell("tr");
    this.bar = cell("div", "bar");
    this.number = cell("td", "number");
    const head = cell("th");
    head.scope = "row";
    head.textContent = label(name);
    const bar = cell("td");
    bar.setAttribute("aria-hidden", "true");
    bar.append(this.bar);
    this.element.append(head, bar, this.number);
  }

  show(most) {
    this.number.textContent = number(this.value, this.decimals);
    this.bar.style.width = `${most > 0 ? Math.max(1, (100 * this.value) / most) : 0}%`;
  }
}

export class List {
  constructor({ counter, window: span, by, title, unit = "", decimals = 0, limit = 10 }, link, getJSON) {
    Object.assign(this, { counter, span, by, decimals, limit, link, getJSON });
    this.rows = new Map(); // the dimension's value -> {row, end}
    this.element = cell("section", "panel list");
    this.element.innerHTML = `
      <h2></h2>
      <table>
        <thead><tr><th scope="col"></th><th aria-hidden="true"></th><th scope="col" class="number"></th></tr></thead>
        <tbody></tbody>
      </table>
      <p class="hint">Nothing was counted yet.</p>`;
    const [head, , figure] = this.element.querySelectorAll("th");
    this.element.querySelector("h2").textContent = title;
    head.textContent = by;
    figure.textContent = unit;
    this.hint = this.element.querySelector(".hint");
    this.body = this.element.querySelector("tbody");
    this.#ask();
  }

  async #ask() {
    try {
      if (!document.hidden && this.link.ready) {
        const query = new URLSearchParams({ window: this.span, limit: this.limit, order: "value" });
        const { cells } = await this.getJSON(`v1/counters/${encodeURIComponent(this.counter)}/cells?${query}`);
        this.#keep(new Map(cells.map(({ dims, value, channel }) => [dims[this.by], { value, channel }])));
      }
    } catch (error) {
      if (error instanceof Denied) return this.#deny(error.message);
      console.warn(`${this.counter}: ${error.message}`); // asked again below
    }
    setTimeout(() => this.#ask(), this.rows.size ? ASK_MS : 500);
  }

  #deny(reason) {
    this.element.querySelector("table").hidden = true;
    this.hint.textContent = reason;
    this.hint.hidden = false;
  }

  /** Watch exactly these cells. */
  #keep(cells) {
    for (const [name, { row, end }] of this.rows) {
      if (cells.has(name)) continue;
      end();
      row.element.remove();
      this.rows.delete(name);
    }
    for (const [name, { value, channel }] of cells) {
      if (this.rows.has(name)) continue;
      const row = new Row(name, this.decimals);
      row.value = value;
      this.rows.set(name, { row, end: () => {} });
      this.rows.get(name).end = this.link.subscribe(channel ?? this.#channel(name), (data) => {
        row.value = data.value;
        this.#arrange();
      });
    }
    this.#arrange();
  }

  #channel(name) {
    return `live:${this.counter};${this.by}=${escape(name)};window=${this.span}`;
  }

  /** Put the rows in order, once per picture however many values came. */
  #arrange() {
    if (this.arranging) return;
    this.arranging = true;
    requestAnimationFrame(() => {
      this.arranging = false;
      const rows = [...this.rows.values()].map(({ row }) => row).filter(({ value }) => value);
      rows.sort((one, other) => other.value - one.value || one.name.localeCompare(other.name));
      this.hint.hidden = rows.length > 0;
      const before = new Map(rows.map((row) => [row, row.element.isConnected ? row.element.offsetTop : null]));
      rows.forEach((row) => row.show(rows[0].value));
      const elements = rows.map(({ element }) => element);
      const shown = [...this.body.children];
      if (elements.length === shown.length && elements.every((element, i) => element === shown[i])) return;
      this.body.replaceChildren(...elements);
      glide(before);
    });
  }
}

/** Let moved rows travel to their new place instead of jumping. */
function glide(before) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  for (const [{ element }, top] of before) {
    const moved = top === null ? 0 : top - element.offsetTop;
    if (moved) {
      element.animate([{ transform: `translateY(${moved}px)` }, { transform: "none" }], {
        duration: 300,
        easing: "ease-out",
      });
    }
  }
}
