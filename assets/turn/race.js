/**
 * The race of one turn: all lanes on one time axis. A bar per lane shows its phases (thinking hatched, answering solid,
 * marks for the first token and the first answer token); above them, on demand, the tokens of every lane over time,
 * heavy as thin lines of its trajectories and a thick one of its aggregation. Once the turn has ended the bars are its
 * waterfall. Redrawn at most every DRAW_MS; assistive tools get the same figures in a table. The reader can fold it, and
 * all races follow; in a low window it is folded until then.
 */
import { button, h, laneAccent, setAttribute, setFlag, setText } from "../base/dom.js";
import { UNKNOWN, count, seconds } from "../base/format.js";
import { raceChart, raceShown } from "../base/preferences.js";
import { RaceChart } from "./race_chart.js";
import { PHASES, RaceLane } from "./race_lane.js";

const DRAW_MS = 220;
const BARS_FROM_PX = 560; // height of a window with room for the bars, and for the curves above them
const CHART_FROM_PX = 1150;
const LADDER = [1, 2, 3, 5, 8, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 450, 600, 900, 1200, 1800, 2700, 3600];

export class Race {
  /** `lanes`: `LaneInfo`s as in lane.js, with `accent`. */
  constructor(lanes) {
    this.rows = new Map(lanes.map((info) => [info.id, new Row(info)]));
    this.chart = new RaceChart();
    this.drawn = 0;
    this.now = null;
    this.stale = true;
    this.fold = button("Race", () => raceShown.set(this.element.hidden), { face: "Race", class: "quiet race-fold" });
    this.toggle = h("button", { type: "button", class: "quiet race-toggle", onclick: () => raceChart.set(!this.charted) });
    this.axis = h("div", { class: "race-axis", "aria-hidden": "true" });
    const head = h("div", { class: "race-head" },
      h("span", { class: "race-legend", "aria-hidden": "true" },
        ...[["queue", "queued"], ["wait", "waiting"], ["think", "thinking"], ["answer", "answering"]].map(([kind, label]) =>
          h("span", { class: "race-key" }, h("span", { class: `race-swatch race-${kind}` }), label)),
        h("span", { class: "race-key" }, h("span", { class: "race-mark race-first" }), "first token"),
        h("span", { class: "race-key" }, h("span", { class: "race-mark race-answered" }), "first answer")),
      this.toggle);
    this.body = h("tbody");
    const table = h(
      "table",
      { class: "kimi-offscreen" },
      h(
        "caption",
        {},
        "Times of this turn: when each request was sent, from the start of the turn; the others from that request",
      ),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ...["Lane", "Sent", "First token", "First answer", "End", "Tokens"].map((name) =>
            h("th", { scope: "col" }, name),
          ),
        ),
      ),
      this.body,
    );
    for (const row of this.rows.values()) this.body.append(row.record);
    this.element = h("section", { class: "race", "data-race": "", "aria-label": "Race" },
      head, this.chart.element, h("div", { class: "race-rows", "aria-hidden": "true" }, ...[...this.rows.values()].map((row) => row.element)),
      this.axis, table);
    this.ends = [raceShown.changed((shown) => this.#show(shown)), raceChart.changed((open) => this.#setChart(open))];
    this.#setChart(raceChart.on ?? window.innerHeight >= CHART_FROM_PX);
    this.#show(raceShown.on ?? window.innerHeight >= BARS_FROM_PX);
  }

  close() {
    for (const end of this.ends) end();
  }

  /** Take the `lanes` of a frame. */
  apply(lanes) {
    for (const [id, part] of Object.entries(lanes)) {
      if (this.rows.get(id)?.lane.apply(part)) this.stale = true;
    }
  }

  /**
   * `now`: the turn's clock, null without one; `running` false draws at once and for the last time until the next
   * frame; `elapsed(id)`: the time that the lane itself shows.
   */
  tick(now, running, elapsed) {
    for (const [id, row] of this.rows) setText(row.figure, seconds(elapsed(id)));
    const at = performance.now();
    if (running ? at - this.drawn < DRAW_MS : !this.stale) return;
    this.drawn = at;
    this.now = running ? now : null;
    this.stale = false;
    if (!this.element.hidden) this.#draw();
  }

  #draw() {
    const lanes = [...this.rows.values()].map((row) => row.lane);
    const ends = lanes.map((lane) => lane.phases(this.now).at(-1)?.to ?? 0);
    const last = Math.max(1, ...ends);
    const span = this.now === null ? last * 1.01 : stepAbove(last);
    for (const row of this.rows.values()) row.draw(span, this.now);
    this.#drawAxis(span);
    if (this.charted) this.chart.draw([...this.rows.values()], span, this.now);
  }

  #drawAxis(span) {
    const marks = ticks(span);
    if (this.axis.childElementCount !== marks.length) this.axis.replaceChildren(...marks.map(() => h("span")));
    marks.forEach((ms, i) => {
      const mark = /** @type {HTMLElement} */ (this.axis.children[i]);
      mark.style.left = `${(100 * ms) / span}%`;
      setText(mark, label(ms));
    });
  }

  #show(shown) {
    setFlag(this.element, "hidden", !shown);
    setAttribute(this.fold, "aria-expanded", String(shown));
    setAttribute(this.fold, "title", shown ? "Fold the race" : "Show the race: all lanes on one time axis");
    if (shown && this.drawn) this.#draw();
  }

  #setChart(open) {
    this.charted = open;
    this.chart.element.hidden = !open;
    this.element.classList.toggle("charted", open);
    setText(this.toggle, open ? "Hide tokens" : "Show tokens");
    setAttribute(this.toggle, "aria-expanded", String(open));
    if (open && this.drawn && !this.element.hidden) this.#draw();
  }
}

class Row {
  constructor(info) {
    this.info = info;
    this.lane = new RaceLane();
    this.color = laneAccent(info.accent);
    this.segments = new Map();
    this.marks = { first: h("span", { class: "race-mark race-first", hidden: true }), answered: h("span", { class: "race-mark race-answered", hidden: true }) };
    this.track = h("div", { class: "race-track" }, this.marks.first, this.marks.answered);
    this.figure = h("span", { class: "race-figure", title: "From sending the request to the end of the answer" });
    this.element = h("div", { class: "race-row" }, h("span", { class: "race-name", title: info.label }, info.label), this.track, this.figure);
    this.element.style.setProperty("--lane", this.color);
    this.cells = ["sent", "first", "answered", "end", "tokens"].map(() => h("td", {}, UNKNOWN));
    this.record = h("tr", {}, h("th", { scope: "row" }, info.label), ...this.cells);
  }

  draw(span, now) {
    const { lane } = this;
    const phases = lane.phases(now);
    const share = (ms) => `${(100 * ms) / span}%`;
    const unused = new Set(this.segments.keys());
    for (const { kind, from, to } of phases) {
      unused.delete(kind);
      if (!this.segments.has(kind)) {
        const segment = h("span", { class: `race-segment race-${kind}`, "data-kind": kind });
        this.segments.set(kind, segment);
        this.track.prepend(segment);
      }
      const segment = this.segments.get(kind);
      segment.style.left = share(from);
      segment.style.width = share(to - from);
      setAttribute(segment, "title", this.#describe(kind, to - from));
    }
    for (const kind of unused) {
      this.segments.get(kind).remove();
      this.segments.delete(kind);
    }
    for (const [name, at] of [["first", lane.firstToken], ["answered", lane.firstAnswer]]) {
      this.marks[name].hidden = at === null;
      if (at !== null) this.marks[name].style.left = share(at);
    }
    const { stamps } = lane;
    const figures = [
      seconds(lane.sent, 2),
      seconds(stamps.first_token_ms, 2),
      seconds(stamps.first_answer_ms, 2),
      seconds(stamps.end_ms, 2),
      `${lane.estimated ? "~" : ""}${count(lane.tokens)}`,
    ];
    for (const [i, figure] of figures.entries()) setText(this.cells[i], figure);
  }

  #describe(kind, ms) {
    const slowest = kind === "drafts" ? this.lane.slowest() : null;
    const more = slowest === null ? "" : `, the slowest was T${Number(slowest) + 1}`;
    const name = kind === "wait" && this.lane.children.size ? "Waiting for the aggregation" : PHASES[kind];
    return `${this.info.label}: ${name}, ${seconds(ms, 2)}${more}`;
  }
}

/** The length of the time axis while a turn runs: it grows in steps, so that bars do not shrink at every redraw. */
function stepAbove(ms) {
  const step = LADDER.find((s) => s * 1000 >= ms * 1.02);
  return step ? step * 1000 : Math.ceil(ms / 3_600_000) * 3_600_000;
}

function ticks(span) {
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200].map((s) => s * 1000).find((ms) => span / ms <= 6) ?? 3_600_000;
  return Array.from({ length: Math.floor(span / step) + 1 }, (_, i) => i * step);
}

function label(ms) {
  const s = ms / 1000;
  if (s < 60 || s % 60) return `${Number(s.toFixed(1))} s`;
  return `${s / 60} m`;
}
