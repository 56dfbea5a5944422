// The native protocol (docs/reference/protocol.md) as a page needs it: hello, subscribe, track.
//
// One Link is one session that outlives its sockets: it comes back by itself with full jitter, or
// when the server's goodbye said so, subscribes again with hello, and sends events again, under
// their old numbers, until acknowledged. It shows values, of which only the latest matters, so it
// keeps no positions. Messages of a type that it does not know are passed over.

const FIRST_DELAY_MS = 500;
const MAX_DELAY_MS = 20_000;
const QUIET_MS = 15_000; // nothing heard for so long: ask
const DEAF_MS = 25_000; // still nothing: the socket is dead, whatever the browser thinks
const STABLE_MS = 5_000; // a session that lived so long starts the back-off anew

const UNAUTHORIZED = new Set([4501, 4502, 4506]); // another token may help
const BAD_TOKEN = new Set([104, 105, 119]); // the same, as errors of hello
const UNAVAILABLE = 114; // the server asks for another hello on the same socket
const FINAL = new Set([1002, 1007, 1009]);

/** Whether a close code means that coming back unchanged is of no use. */
const isFinal = (code) => FINAL.has(code) || (code >= 4500 && code <= 4999);

const seconds = () => Date.now() / 1000;

/** The server will not answer this, whatever is tried. */
export class Denied extends Error {}

export class Link {
  /**
   * url: of the socket. token: a string or null. device: {id, secret} to track events, or null.
   * onState({state, ...}): connecting | open | waiting {delayMs} | unauthorized | refused {reason}.
   */
  constructor({ url, token, device, onState }) {
    this.url = url;
    this.token = token;
    this.device = device;
    this.onState = onState;
    this.subscriptions = new Map(); // channel -> {listeners, data}
    this.channels = new Map(); // the server's number for a channel -> channel
    this.asked = new Map(); // id of a request -> the channel that it subscribes
    this.unacked = []; // {seq, event, resolve, reject}, in order of seq
    this.nextSeq = 1;
    this.acked = 0;
    this.attempts = 0;
    this.socket = null;
    this.ready = false;
  }

  connect() {
    this.#drop();
    this.onState({ state: "connecting" });
    const socket = new WebSocket(this.url, ["realtime.v1.json"]);
    this.socket = socket;
    this.ready = false;
    this.channels.clear();
    this.asked.clear();
    this.heardAt = Date.now();
    socket.onopen = () => this.#hello();
    socket.onmessage = ({ data }) => socket === this.socket && this.#receive(JSON.parse(data));
    socket.onclose = (closed) => socket === this.socket && this.#closed(closed);
    this.watchdog = setInterval(() => this.#listen(), 1000);
  }

  /** Come back now instead of at the end of the delay, if there is one. */
  hurry() {
    if (this.retryTimer) this.connect();
  }

  /** Start anew with another token. */
  withToken(token) {
    this.token = token;
    this.attempts = 0;
    this.connect();
  }

  /**
   * Call handler(data) with the channel's value now and at every push. Returns a function that
   * ends it. onDenied(reason) is called when the server refuses.
   */
  subscribe(channel, handler, onDenied = () => {}) {
    const known = this.subscriptions.get(channel);
    const listener = { handler, onDenied };
    if (known) {
      known.listeners.add(listener);
      if (known.data !== undefined) handler(known.data);
    } else {
      this.subscriptions.set(channel, { listeners: new Set([listener]), data: undefined });
      if (this.ready) this.#ask(channel);
    }
    return () => this.#unsubscribe(channel, listener);
  }

  /** Send an event; resolves when it is counted, rejects when it never will be. */
  track(event) {
    if (!this.device) return Promise.reject(new Error("this session has no device"));
    const seq = this.nextSeq++;
    const counted = new Promise((resolve, reject) => {
      this.unacked.push({ seq, resolve, reject, event: { at: seconds(), ...event } });
    });
    if (this.ready) this.#resend(seq);
    return counted;
  }

  #ask(channel) {
    this.#send({ type: "subscribe", ...this.#wanted(channel) });
  }

  #wanted(channel) {
    const id = this.#id();
    this.asked.set(id, channel);
    return { id, channel };
  }

  #unsubscribe(channel, listener) {
    const known = this.subscriptions.get(channel);
    if (!known?.listeners.delete(listener) || known.listeners.size) return;
    this.subscriptions.delete(channel);
    if (this.ready) this.#send({ type: "unsubscribe", id: this.#id(), channel });
  }

  #id() {
    this.lastId = (this.lastId ?? 0) + 1;
    return this.lastId;
  }

  #send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  #hello() {
    const hello = { type: "hello", id: 0, sent_at: seconds(), client: "page" };
    if (this.token) hello.token = this.token;
    if (this.device) Object.assign(hello, { device: this.device.id, secret: this.device.secret, acked: this.acked });
    this.asked.clear();
    this.early = new Set(this.subscriptions.keys());
    if (this.early.size) hello.subscriptions = [...this.early].map((channel) => this.#wanted(channel));
    this.#send(hello);
  }

  #receive(message) {
    this.heardAt = Date.now();
    const handlers = {
      welcome: () => this.#welcome(message),
      push: () => this.#deliver(this.channels.get(message.channel), message.data),
      subscribed: () => this.#subscribed(message),
      unsubscribed: () => this.#dropped(message),
      ack: () => this.#ack(message.acked, message.rejected ?? []),
      slow_down: () => setTimeout(() => this.#resend(message.first), message.retry_after_s * 1000),
      token_expired: () => this.#unauthorized(),
      goodbye: () => this.#leave(message.after_s),
      error: () => this.#error(message),
    };
    handlers[message.type]?.();
  }

  #welcome({ acked, node, version }) {
    this.ready = true;
    this.openedAt = Date.now();
    this.onState({ state: "open", node, version });
    for (const channel of this.subscriptions.keys()) {
      if (!this.early.delete(channel)) this.#ask(channel); // the others went with hello
    }
    for (const channel of this.early) this.#send({ type: "unsubscribe", id: this.#id(), channel });
    if (acked !== undefined) this.#ack(acked, []);
    if (this.unacked.length) this.#resend(this.unacked[0].seq);
  }

  #subscribed({ id, channel, number, data }) {
    const name = this.asked.get(id) ?? channel; // the reply has the canonical spelling
    this.asked.delete(id);
    this.channels.set(number, name);
    if (data !== undefined) this.#deliver(name, data);
  }

  #deliver(channel, data) {
    const known = this.subscriptions.get(channel);
    if (!known) return;
    known.data = data;
    for (const { handler } of known.listeners) handler(data);
  }

  #dropped({ channel, code, reason }) {
    if (code !== undefined) this.#denied(channel, reason);
  }

  #denied(channel, reason) {
    for (const { onDenied } of this.subscriptions.get(channel)?.listeners ?? []) onDenied(reason);
  }

  #resend(first) {
    const batch = this.unacked.filter(({ seq }) => seq >= first);
    if (!batch.length || !this.ready) return;
    const events = batch.map(({ event }) => event);
    this.#send({ type: "track", first: batch[0].seq, events, sent_at: seconds() });
  }

  #ack(acked, rejected) {
    const refused = new Map(rejected.map((rejection) => [rejection.seq, rejection]));
    this.acked = Math.max(this.acked, acked);
    while (this.unacked.length && this.unacked[0].seq <= acked) {
      const { seq, resolve, reject } = this.unacked.shift();
      const rejection = refused.get(seq);
      if (rejection) reject(new Error(rejection.reason));
      else resolve();
    }
  }

  #error({ id, name, code, retry, reason, expected, retry_after_s: delayS }) {
    if (id === 0 && BAD_TOKEN.has(code)) return this.#unauthorized();
    if (id === 0 && code === UNAVAILABLE) return this.#later(delayS ?? 1, () => this.#hello());
    if (this.asked.has(id)) return this.#refused(id, retry, reason, delayS);
    if (name === "gap") return this.#resend(expected);
    console.warn(`${code} ${name}: ${reason}`, delayS ?? "");
  }

  #refused(id, retry, reason, delayS = 1) {
    const channel = this.asked.get(id);
    this.asked.delete(id);
    if (retry !== "later") return this.#denied(channel, reason);
    this.#later(delayS, () => this.subscriptions.has(channel) && this.#ask(channel));
  }

  /** Do something after a delay, if it is still the same connection then. */
  #later(delayS, action) {
    const socket = this.socket;
    setTimeout(() => socket === this.socket && action(), delayS * 1000 * (1 + Math.random()));
  }

  #unauthorized() {
    this.#drop();
    this.onState({ state: "unauthorized" });
  }

  #drop() {
    clearInterval(this.watchdog);
    clearTimeout(this.retryTimer);
    this.retryTimer = null;
    const socket = this.socket;
    this.socket = null;
    this.ready = false;
    socket?.close(1000);
  }

  #listen() {
    const quietMs = Date.now() - this.heardAt;
    if (quietMs > DEAF_MS) {
      const socket = this.socket;
      this.#closed({ code: 1006, reason: "nothing was heard" });
      socket?.close();
    } else if (quietMs > QUIET_MS && this.ready) {
      this.#send({ type: "ping", sent_at: seconds() });
    }
  }

  #closed({ code, reason }) {
    if (this.ready && Date.now() - this.openedAt > STABLE_MS) this.attempts = 0;
    this.#drop();
    if (UNAUTHORIZED.has(code)) return this.onState({ state: "unauthorized" });
    if (isFinal(code)) return this.onState({ state: "refused", reason: reason || String(code) });
    const ceilingMs = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** this.attempts++);
    this.#wait(Math.random() * ceilingMs); // full jitter: a crowd comes back spread out
  }

  /** The server is about to close, and has spread its clients over time: nothing has failed. */
  #leave(afterS) {
    this.#drop();
    this.attempts = 0;
    this.#wait(afterS * 1000);
  }

  #wait(delayMs) {
    this.onState({ state: "waiting", delayMs });
    this.retryTimer = setTimeout(() => this.connect(), delayMs);
  }
}
