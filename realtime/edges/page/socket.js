// The native protocol (docs/reference/protocol.md) as a page needs it: hello, subscribe, track.
//
// One Link is one session that outlives its sockets: it comes back by itself with full jitter,
// subscribes again, and sends events again, under their old numbers, until acknowledged.

const FIRST_DELAY_MS = 500;
const MAX_DELAY_MS = 20_000;
const QUIET_MS = 15_000; // nothing heard for so long: ask
const DEAF_MS = 25_000; // still nothing: the socket is dead, whatever the browser thinks
const STABLE_MS = 5_000; // a session that lived so long starts the back-off anew

const UNAUTHORIZED = new Set([4501, 4502]);
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
    const id = this.#id();
    this.asked.set(id, channel);
    this.#send({ type: "subscribe", id, channel });
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
      error: () => this.#error(message),
    };
    handlers[message.type]?.();
  }

  #welcome({ acked, node, version }) {
    this.ready = true;
    this.openedAt = Date.now();
    this.onState({ state: "open", node, version });
    for (const channel of this.subscriptions.keys()) {
      this.#ask(channel);
    }
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

  #error({ id, name, code, reason, expected, retry_after_s: delayS }) {
    if (id === 0 && (code === 104 || code === 105)) return this.#unauthorized();
    if (this.asked.has(id)) return this.#denied(this.asked.get(id), reason);
    if (name === "gap") return this.#resend(expected);
    console.warn(`${code} ${name}: ${reason}`, delayS ?? "");
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
    const delayMs = Math.random() * ceilingMs; // full jitter: a crowd comes back spread out
    this.onState({ state: "waiting", delayMs });
    this.retryTimer = setTimeout(() => this.connect(), delayMs);
  }
}
