// The visitor's own event: how to send it, and that it arrived.

import { number } from "./format.js";

const byId = (id) => document.getElementById(id);

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // no clipboard without https: the text can still be marked by hand
  }
}

function form({ label, text }) {
  const element = document.createElement("div");
  element.className = "form";
  const code = document.createElement("code");
  code.textContent = text;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy the command with ${label}`);
  button.onclick = async () => {
    const done = await copied(text);
    if (!done) getSelection().selectAllChildren(code);
    button.textContent = done ? "Copied" : "Press Ctrl+C";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  };
  element.append(code, button);
  return element;
}

export class OwnEvent {
  constructor({ title, channel, event, forms = [] }, cards, link) {
    this.channel = channel;
    this.cards = cards;
    this.link = link;
    this.event = event;
    this.value = undefined;
    const origin = new URL(".", document.baseURI).href.replace(/\/$/, "");
    if (title) byId("command-title").textContent = title;
    for (const { label, text } of forms) {
      byId("forms").append(form({ label, text: text.replaceAll("{origin}", origin) }));
    }
    byId("send").hidden = !event;
    byId("send").onclick = () => this.#send();
    byId("command").hidden = false;
    if (channel) link.subscribe(channel, ({ value }) => this.#changed(value));
  }

  #changed(value) {
    const before = this.value;
    this.value = value ?? 0;
    if (before === undefined || this.value <= before) return;
    const more = this.value - before;
    let what = more === 1 ? "An event arrived" : `${more} events arrived`;
    if (this.sentAt) what = `Your event arrived after ${Math.round(performance.now() - this.sentAt)} ms`;
    this.sentAt = undefined;
    this.#say(`${what}. The counter is now ${number(this.value)}.`);
    this.cards.highlight(this.channel);
  }

  async #send() {
    this.sentAt ??= performance.now();
    try {
      await this.link.track(this.event);
    } catch (error) {
      this.sentAt = undefined;
      this.#say(`The server did not count it: ${error.message}.`, true);
    }
  }

  #say(text, failed = false) {
    byId("arrival").textContent = text;
    byId("arrival").classList.toggle("failed", failed);
  }
}
