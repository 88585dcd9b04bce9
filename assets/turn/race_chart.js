/**
 * Tokens over time as SVG, all lanes on the axis of the race: thinking dashed over a hatched ground, answering solid.
 * Heavy's trajectories are thin lines. Drawn in pixels, so that nothing is stretched.
 */
import { h, setAttribute, setText } from "../base/dom.js";
import { count } from "../base/format.js";

const SVG = "http://www.w3.org/2000/svg";
const TOP = 6; // px kept free above the highest point
const STALL_MS = 600; // a stream sends a point at least every 200 ms or 1 % of the time; without one for longer, draw the line flat
const STALL_SHARE = 0.03;

let serial = 0;

export class RaceChart {
  constructor() {
    this.paths = new Map();
    this.svg = s("svg", { class: "race-plot", "aria-hidden": "true" });
    this.defs = s("defs");
    this.grid = s("path", { class: "race-grid" });
    this.svg.append(this.defs, this.grid);
    this.top = h("span", { class: "race-top" });
    this.id = `kimi-race-${++serial}`;
    this.element = h("div", { class: "race-chart", "aria-hidden": "true" }, this.top, this.svg);
    this.size = { width: 0, height: 0 }; // from a ResizeObserver: measuring would force a layout at every drawing
    this.drawing = null; // the arguments of the last drawing, repeated when the size changes
    new ResizeObserver(([entry]) => {
      this.size = entry.contentRect;
      if (this.drawing) this.draw(...this.drawing);
    }).observe(this.svg);
  }

  /** `rows`: of race.js, each with `lane` and `color`. `span`: the axis in ms. `now`: null once nothing runs. */
  draw(rows, span, now) {
    this.drawing = [rows, span, now];
    const { width, height } = this.size;
    if (!width || !height) return;
    const lanes = rows.map((row) => ({ row, curves: row.lane.curves() }));
    const highest = Math.max(1, ...lanes.flatMap(({ curves }) => curves.map((curve) => top(curve))));
    const ceiling = now === null ? highest : roundAbove(highest);
    const x = (t) => ((t / span) * width).toFixed(1);
    const y = (tokens) => (height - (tokens / ceiling) * (height - TOP)).toFixed(1);
    setAttribute(this.svg, "viewBox", `0 0 ${width} ${height}`);
    setText(this.top, `${count(ceiling)} token${ceiling === 1 ? "" : "s"}`);
    setAttribute(this.grid, "d", `M0 ${y(ceiling)}H${width}M0 ${y(ceiling / 2)}H${width}`);
    const used = new Set();
    for (const { row, curves } of lanes) {
      for (const curve of curves) {
        const thin = curve.k !== null;
        const running = now !== null && row.lane.end === null;
        const newest = curve.answer.length ? "answer" : "think";
        for (const kind of ["think", "answer"]) {
          const points = curve[kind];
          if (!points.length) continue;
          const [t, n] = points.at(-1);
          const stalled = running && !thin && kind === newest && now - t > Math.max(STALL_MS, STALL_SHARE * now);
          const last = stalled ? [...points, [now, n]] : points;
          const line = last.map(([at, tokens], i) => `${i ? "L" : "M"}${x(at)} ${y(tokens)}`).join("");
          const name = `${row.info.id} ${curve.k} ${kind}`;
          this.#path(name, `race-line race-line-${kind}${thin ? " race-thin" : ""}`, row, line, used);
          if (!thin) this.#path(`${name} ground`, "race-ground", row, `${line}V${height}H${x(last[0][0])}Z`, used, this.#fill(row, kind));
        }
      }
    }
    for (const [name, path] of this.paths) {
      if (used.has(name)) continue;
      path.remove();
      this.paths.delete(name);
    }
  }

  #path(name, kind, row, d, used, fill = "none") {
    used.add(name);
    if (!this.paths.has(name)) {
      const path = s("path", { class: kind, fill });
      path.style.setProperty("--lane", row.color);
      this.paths.set(name, path);
      if (kind === "race-ground") this.grid.after(path);
      else this.svg.append(path);
    }
    setAttribute(this.paths.get(name), "d", d);
  }

  /** The fill: solid for an answer, a hatch of the lane's colour for thinking. */
  #fill(row, kind) {
    if (kind === "answer") return row.color;
    const id = `${this.id}-${row.info.accent}`;
    if (!this.svg.getElementById(id)) {
      const hatch = s("pattern", { id, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
      const stripe = s("rect", { width: 2, height: 6 });
      stripe.style.fill = row.color;
      hatch.append(stripe);
      this.defs.append(hatch);
    }
    return `url(#${id})`;
  }
}

function s(tag, attributes = {}) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}

function top({ think, answer }) {
  return Math.max(think.at(-1)?.[1] ?? 0, answer.at(-1)?.[1] ?? 0);
}

/** 1, 2 or 5 times a power of ten. */
function roundAbove(n) {
  const power = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 5, 10].find((step) => step * power >= n) * power;
}
