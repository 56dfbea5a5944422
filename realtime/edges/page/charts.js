// Lines that flow from right to left, drawn by uPlot (vendored; a global of its own script).

const SPAN_S = 120;
const FIRST_SPAN_S = 10; // a young line has less of the past to show

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Room above and below the line; a constant line lies in the middle. */
function padded(_plot, low, high) {
  if (low === null || high === null) return [0, 1];
  const pad = low === high ? Math.max(1, Math.abs(low) * 0.1) : (high - low) * 0.12;
  return [low - pad, high + pad];
}

function fromZero(_plot, _low, high) {
  return [0, Math.max(1, (high ?? 0) * 1.15)];
}

const SPARK = { axes: [{ show: false }, { show: false }], padding: [2, 0, 2, 0], range: padded };

function axes() {
  const common = { stroke: colour("--muted"), font: "12px system-ui, sans-serif", ticks: { show: false } };
  const grid = { stroke: colour("--line"), width: 1 };
  const ago = (_plot, splits) => splits.map((at) => (at >= -1 ? "now" : `${Math.round(-at)} s ago`));
  return [
    { ...common, grid: { show: false }, values: ago, space: 90, size: 28 },
    { ...common, grid, size: 44, space: 32 },
  ];
}

export class Line {
  /** element: where to draw, its size rules. full: with axes and a scale that begins at zero. */
  constructor(element, { full = false } = {}) {
    this.element = element;
    this.full = full;
    this.times = [];
    this.values = [];
    this.#build();
    new ResizeObserver(() => this.#resize()).observe(element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#build());
  }

  /** Add the value of now. */
  add(at, value) {
    this.times.push(at);
    this.values.push(value);
    while (this.times[0] < at - SPAN_S - 2) {
      this.times.shift();
      this.values.shift();
    }
    this.#draw();
  }

  #span() {
    const age = this.times.length ? this.times.at(-1) - this.times[0] : 0;
    return Math.min(SPAN_S, Math.max(FIRST_SPAN_S, age));
  }

  #draw() {
    const now = this.times.at(-1) ?? 0;
    this.plot.setData([this.times.map((at) => at - now), this.values]);
  }

  #build() {
    this.plot?.destroy();
    const accent = colour("--accent");
    const style = this.full ? { axes: axes(), padding: [10, 14, 0, 0], range: fromZero } : SPARK;
    const { width, height } = this.element.getBoundingClientRect();
    this.plot = new uPlot(
      {
        width: Math.max(1, width),
        height: Math.max(1, height),
        axes: style.axes,
        padding: style.padding,
        legend: { show: false },
        cursor: { show: false },
        scales: { x: { time: false, range: () => [-this.#span(), 0] }, y: { range: style.range } },
        series: [{}, { stroke: accent, width: 2, fill: colour("--accent-soft"), points: { show: false } }],
      },
      [[], []],
      this.element,
    );
    this.#draw();
  }

  #resize() {
    const { width, height } = this.element.getBoundingClientRect();
    if (width && height) this.plot.setSize({ width, height });
  }
}
