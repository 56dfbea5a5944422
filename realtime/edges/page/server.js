// What the nodes tell of themselves once a second.

import { Line } from "./charts.js";
import { duration, number, rate } from "./format.js";

const byId = (id) => document.getElementById(id);
const sum = (nodes, field) => nodes.reduce((total, node) => total + (node[field] ?? 0), 0);

export class Server {
  constructor(link) {
    this.line = new Line(byId("chart"), { full: true });
    this.eventsRate = null;
    this.here = undefined;
    link.subscribe(
      "server:stats",
      (data) => this.#show(data),
      (reason) => this.#deny(reason),
    );
  }

  /** Remember which node this page is connected to. */
  showNode(node) {
    if (node) this.here = node;
    else this.eventsRate = null; // not connected: the line has a hole, not a plateau
  }

  tick() {
    this.line.add(Date.now() / 1000, this.eventsRate);
  }

  #deny(reason) {
    byId("server").hidden = true;
    byId("server-denied").textContent = `The server does not tell of itself here: ${reason}`;
    byId("server-denied").hidden = false;
  }

  #show({ nodes, at }) {
    byId("server").hidden = false;
    byId("server-denied").hidden = true;
    this.eventsRate = sum(nodes, "events_per_s");
    byId("events-rate").textContent = rate(this.eventsRate);
    byId("connections").textContent = number(sum(nodes, "connections"));
    byId("deliveries-rate").textContent = rate(sum(nodes, "deliveries_per_s"));
    byId("node-count").textContent = number(nodes.length);
    const rows = nodes.map((node) => this.#row(node, at));
    byId("nodes").tBodies[0].replaceChildren(...rows);
  }

  #row(node, at) {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = node.node;
    if (node.node === this.here) {
      const here = document.createElement("span");
      here.className = "here";
      here.textContent = "this page";
      head.append(here);
    }
    row.append(head);
    const figures = [
      [number(node.connections)],
      [number(node.subscriptions), "minor"],
      [number(node.events_total)],
      [rate(node.events_per_s)],
      [rate(node.deliveries_per_s), "minor"],
      [duration(at - node.started_at), "minor"],
    ];
    for (const [text, minor] of figures) {
      const figure = row.insertCell();
      figure.className = minor ? "number minor" : "number";
      figure.textContent = text;
    }
    return row;
  }
}
