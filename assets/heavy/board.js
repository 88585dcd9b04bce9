/**
 * Heavy's board: what the trajectories say together over a strip of their answers in time, and the trajectories
 * themselves, one row each. `attribution` and `worth` are below the final answer; pointing at a part marks its trajectories
 * and the reverse.
 *
 * @import { HeavyPart, LanePart } from "../base/protocol"
 */
import { h } from "../base/dom.js";
import { Attribution } from "./attribution.js";
import { Consensus } from "./consensus.js";
import { Strip } from "./strip.js";
import { Trajectory } from "./trajectory.js";
import { Worth } from "./worth.js";

export class HeavyBoard {
  /** @type {Map<string, Trajectory>} */
  rows = new Map();
  /** @type {Record<string, string>} what the letters stand for */
  labels = {};
  aggregating = false;

  /**
   * `actions`: stop(k) and aggregate(strategy), each null where it cannot be done; reasoningText and answerHtml as in
   * lane/lane.js. `answer()`: the final answer's element.
   *
   * @param {string} name
   * @param {{ stop: ((k: string) => void) | null, aggregate: ((strategy: string) => void) | null,
   *   reasoningText: (attempt: string) => Promise<string>, answerHtml: (attempt: string) => Promise<string> }} actions
   * @param {() => Element} answer
   */
  constructor(name, actions, answer) {
    this.name = name;
    const { stop, reasoningText, answerHtml } = actions;
    this.actions = { stop, reasoningText, answerHtml, pointed: (k) => this.#point(k === null ? null : new Set([k])) };
    const pointed = (members) => this.#point(members);
    this.consensus = new Consensus(name, { aggregate: actions.aggregate, pointed });
    this.strip = new Strip();
    this.attribution = new Attribution({ pointed }, answer);
    this.worth = new Worth();
    this.list = h("ol", { class: "board-list" });
    this.element = h("div", { class: "board", hidden: true, role: "group", "aria-label": "Trajectories" },
      this.consensus.element, this.strip.element, this.list);
  }

  /** What the trajectories are at and since when (ms of the turn's clock); null while one thinks or none writes yet. */
  get work() {
    const rows = [...this.rows.values()];
    const times = (name) => rows.map(({ sent, stamps }) => sent + stamps[name]).filter(Number.isFinite);
    const [drafts, ends] = [times("first_answer_ms"), times("end_ms")];
    if (this.aggregating && ends.length) return { word: "Hybridizing", since: Math.max(...ends) };
    if (!drafts.length || rows.some(({ phase }) => phase === "thinking")) return null;
    return { word: "Drafting", since: Math.min(...drafts) };
  }

  clear() {
    for (const row of this.rows.values()) row.close();
    this.rows.clear();
    this.labels = {};
    this.aggregating = false;
    this.list.replaceChildren();
    this.consensus.clear();
    this.strip.clear();
    this.attribution.clear();
    this.worth.clear();
    this.element.hidden = true;
  }

  /** `live` as in turn/turn.js. @param {Record<string, LanePart>} trajectories */
  apply(trajectories, live) {
    for (const [k, part] of Object.entries(trajectories)) {
      if (!this.rows.has(k)) this.#add(k);
      const row = this.rows.get(k);
      row.apply(part, live);
      if (part.letters) this.#showLetter(row);
    }
  }

  /** @param {HeavyPart} part */
  applyWhole(part) {
    this.labels = part.labels;
    this.aggregating = part.aggregating ?? false;
    this.consensus.apply(part);
    this.attribution.apply(part);
    for (const row of this.rows.values()) this.#showLetter(row);
  }

  tick(now) {
    for (const row of this.rows.values()) row.tick(now);
    const rows = [...this.rows.values()].sort((a, b) => Number(a.k) - Number(b.k));
    this.strip.draw(rows, now, this.labels, rows.some((row) => row.running));
  }

  settle() {
    for (const row of this.rows.values()) row.settle();
  }

  close() {
    for (const row of this.rows.values()) row.close();
  }

  #showLetter(row) {
    const letter = row.letters.at(-1)?.[1] ?? "";
    row.showLetter(letter, this.labels[letter] ?? "");
  }

  /** Mark what belongs to these trajectories, on both sides; null: nothing. @param {Set<string> | null} members */
  #point(members) {
    for (const [k, row] of this.rows) row.element.classList.toggle("pointed", members?.has(k) ?? false);
    this.strip.mark(members);
    this.consensus.mark(members);
    this.attribution.mark(members);
  }

  #add(k) {
    const row = new Trajectory(k, this.name, this.actions);
    this.rows.set(k, row);
    const after = [...this.rows.keys()].map(Number).filter((other) => other > Number(k)).sort((a, b) => a - b)[0];
    this.list.insertBefore(row.element, after === undefined ? null : this.rows.get(String(after)).element);
    this.element.hidden = false;
  }
}
