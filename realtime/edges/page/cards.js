// The headline counters: a number and its line.

import { Line } from "./charts.js";
import { number } from "./format.js";

const make = (tag, className, text = "") => {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
};

class Card {
  constructor({ channel, title, unit = "", decimals = 0 }, link) {
    this.decimals = decimals;
    this.value = null;
    this.element = make("article", "card");
    this.number = make("p", "value", "–");
    this.spark = make("div", "spark");
    this.spark.setAttribute("aria-hidden", "true");
    this.element.append(make("h3", "", title), this.number, make("p", "unit", unit), this.spark);
    this.element.dataset.channel = channel;
    link.subscribe(
      channel,
      (data) => this.#show(data.value),
      (reason) => this.#deny(reason),
    );
  }

  /** Draw the line; only possible once the element has its place. */
  placed() {
    this.line = new Line(this.spark);
  }

  highlight() {
    this.element.classList.remove("arrived");
    void this.element.offsetWidth; // so that the animation begins anew
    this.element.classList.add("arrived");
  }

  #show(value) {
    this.value = value;
    this.element.classList.remove("denied");
    this.number.textContent = number(value, this.decimals);
  }

  #deny(reason) {
    this.element.classList.add("denied");
    this.number.textContent = reason;
  }
}

export class Cards {
  constructor(parent, channels, link) {
    this.cards = new Map();
    for (const described of channels) {
      const card = new Card(described, link);
      this.cards.set(described.channel, card);
      parent.append(card.element);
      card.placed();
    }
  }

  highlight(channel) {
    this.cards.get(channel)?.highlight();
  }

  /** Once a second: the lines flow on, also when nothing changed. */
  tick() {
    const now = Date.now() / 1000;
    for (const card of this.cards.values()) card.line.add(now, card.value);
  }
}
