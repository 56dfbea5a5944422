// The page at /: asks what to show, opens one session, and hands its values to the views.

import { Cards } from "./cards.js";
import { OwnEvent } from "./command.js";
import { describe } from "./describe.js";
import { List } from "./lists.js";
import { Server } from "./server.js";
import { Denied, Link } from "./socket.js";

const TOKEN_KEY = "realtime-token";
const byId = (id) => document.getElementById(id);
const address = (path) => new URL(path, document.baseURI);

const WORDS = {
  connecting: () => "Connecting",
  open: () => "Live",
  unauthorized: () => "A token is needed",
  refused: ({ reason }) => `Refused: ${reason}`,
};

class Unauthorized extends Error {}

/** The server's own words, or the status where there are none. */
async function reason(response) {
  const body = await response.json().catch(() => ({}));
  return body.error?.reason ?? body.reason ?? `${response.status}`;
}

let token = sessionStorage.getItem(TOKEN_KEY);

async function getJSON(path) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(address(path), { headers, cache: "no-store" });
  if (response.status === 401) throw new Unauthorized(path);
  if (response.status === 403) throw new Denied(await reason(response));
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

/** Ask for a token until one is given; the answer is kept in this tab only. */
function askForToken() {
  const dialog = byId("sign-in");
  return new Promise((resolve) => {
    byId("sign-in-reason").textContent = token
      ? "The server did not take this token, or it has expired."
      : "This server tells its counters only to those with a token.";
    byId("token").value = "";
    byId("sign-in-form").onsubmit = () => {
      token = byId("token").value.trim();
      sessionStorage.setItem(TOKEN_KEY, token);
      resolve();
    };
    dialog.oncancel = (event) => event.preventDefault();
    if (!dialog.open) dialog.showModal();
  });
}

/** What to show; asked again, after a delay, until there is an answer. */
async function description() {
  for (let attempt = 0; ; attempt++) {
    try {
      const page = await getJSON("v1/page");
      if (page.channels) return page;
      return { ...describe((await getJSON("v1/counters")).counters), ...page };
    } catch (error) {
      if (error instanceof Unauthorized) {
        await askForToken();
      } else {
        showState({ state: "waiting", delayMs: 0 });
        const ceilingMs = Math.min(20_000, 500 * 2 ** attempt);
        await new Promise((resolve) => setTimeout(resolve, Math.random() * ceilingMs));
      }
    }
  }
}

let countdown;

function showState(change) {
  clearInterval(countdown);
  const state = byId("state");
  state.dataset.state = change.state;
  document.body.classList.toggle("stale", change.state !== "open");
  if (change.state !== "waiting") {
    state.textContent = WORDS[change.state](change);
    return;
  }
  const until = Date.now() + change.delayMs;
  const tell = () => {
    const seconds = Math.ceil((until - Date.now()) / 1000);
    const text = seconds > 1 ? `Reconnecting in ${seconds} s` : "Reconnecting";
    if (state.textContent !== text) state.textContent = text;
  };
  tell();
  countdown = setInterval(tell, 250);
}

/** An identity for this visit: the numbers of its events begin at one. */
function newDevice() {
  const random = () => crypto.getRandomValues(new Uint32Array(4)).join("-");
  return { id: `page-${random()}`, secret: random() };
}

function socketURL() {
  const url = address("v1/ws");
  url.protocol = url.protocol.replace("http", "ws");
  return url.href;
}

async function start() {
  const page = await description();
  token ??= page.token ?? null;
  document.title = page.title ?? "Live counters";
  byId("title").textContent = document.title;
  byId("note").textContent = page.note ?? "";
  byId("note").hidden = !page.note;
  byId("empty").hidden = page.channels.length + (page.lists?.length ?? 0) > 0;

  let server;
  const link = new Link({
    url: socketURL(),
    token,
    device: page.command?.event ? newDevice() : null,
    onState: async (change) => {
      showState(change);
      server?.showNode(change.node);
      if (change.state === "unauthorized") {
        await askForToken();
        link.withToken(token);
      }
    },
  });
  const cards = new Cards(byId("cards"), page.channels, link);
  if (page.command) new OwnEvent(page.command, cards, link);
  for (const list of page.lists ?? []) byId("lists").append(new List(list, link, getJSON).element);
  server = new Server(link);
  link.connect();

  addEventListener("online", () => link.hurry());
  document.addEventListener("visibilitychange", () => !document.hidden && link.hurry());
  setInterval(() => {
    cards.tick();
    server.tick();
  }, 1000);
}

start();
