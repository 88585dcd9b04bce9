/**
 * Heavy's trajectories: one row each (state, newest words, tokens, time), open on demand to its reasoning and answer.
 * Text of a folded trajectory is kept as strings and put into the page when it is opened.
 *
 * @import { AnswerNews, Failure, LanePart, Stamps } from "../base/protocol"
 */
import { h, setAttribute, setText } from "../base/dom.js";
import { count, seconds } from "../base/format.js";
import { Answer } from "./answer.js";
import { failureCard } from "./cards.js";
import { LineLog } from "./lines.js";
import { ReasoningPanel } from "./reasoning.js";
import { headerFacts } from "./reasoning_header.js";

const TAIL_CHARS = 160;

const WORDS = { queued: "queued", connecting: "sent", waiting: "waiting", thinking: "thinking", answering: "writing", done: "done" };

export class HeavyBoard {
  constructor(name) {
    this.name = name;
    this.rows = new Map();
    this.list = h("ol", { class: "board-list" });
    this.newest = h("p", { class: "board-newest" }); // what a strip shows of them all: the newest words
    this.element = h("div", { class: "board", hidden: true, role: "group", "aria-label": "Trajectories" }, this.list, this.newest);
  }

  /** What the trajectories are at and since when (ms of the turn's clock); null while one thinks or none writes yet. */
  get work() {
    const rows = [...this.rows.values()];
    const times = (name) => rows.map(({ sent, stamps }) => sent + stamps[name]).filter(Number.isFinite);
    const [drafts, ends] = [times("first_answer_ms"), times("end_ms")];
    if (rows.length && ends.length === rows.length) return { word: "Hybridizing", since: Math.max(...ends) };
    if (!drafts.length || rows.some(({ phase }) => phase === "thinking")) return null;
    return { word: "Drafting", since: Math.min(...drafts) };
  }

  clear() {
    for (const row of this.rows.values()) row.close();
    this.rows.clear();
    this.list.replaceChildren();
    setText(this.newest, "");
    this.element.hidden = true;
  }

  /** `live` as in turn/turn.js. */
  apply(trajectories, live) {
    for (const [k, part] of Object.entries(trajectories)) {
      if (!this.rows.has(k)) this.#add(k);
      const row = this.rows.get(k);
      row.apply(part, live);
      if (part.reasoning || part.text) setText(this.newest, row.tail.textContent);
    }
  }

  tick(now) {
    for (const row of this.rows.values()) row.tick(now);
  }

  settle() {
    for (const row of this.rows.values()) row.settle();
  }

  close() {
    for (const row of this.rows.values()) row.close();
  }

  #add(k) {
    const row = new Trajectory(k, `${this.name}, trajectory ${Number(k) + 1}`);
    this.rows.set(k, row);
    const after = [...this.rows.keys()].map(Number).filter((other) => other > Number(k)).sort((a, b) => a - b)[0];
    this.list.insertBefore(row.element, after === undefined ? null : this.rows.get(String(after)).element);
    this.element.hidden = false;
  }
}

class Trajectory {
  /** @type {Stamps} */
  stamps = {};
  /** @type {string[]} */
  reasoning = [];
  /** @type {string[]} the answer as it is written */
  text = [];
  /** @type {string | null} the answer once it has ended */
  html = null;
  /** @type {Failure | null} */
  failure = null;
  /** @type {number | null} */
  tokens = null;
  recent = ""; // the end of what was written

  constructor(k, name) {
    this.name = name;
    this.phase = "connecting";
    this.sent = 0;
    this.now = null; // the turn's clock when it was last read
    this.panel = null; // kept once it was opened: what the reader set in it stays, its text goes and comes
    this.opened = null; // the answer in the opened body
    this.word = h("span", { class: "trajectory-phase" });
    this.tail = h("span", { class: "trajectory-tail" });
    this.figures = h("span", { class: "trajectory-figures" });
    this.toggle = h("button", { type: "button", class: "trajectory-toggle", "aria-expanded": "false",
                                onclick: () => this.#toggle() },
      h("span", { class: "dot", "aria-hidden": "true" }), h("span", { class: "trajectory-name" }, `#${Number(k) + 1}`),
      this.word, this.tail, this.figures);
    this.body = h("div", { class: "trajectory-body", hidden: true });
    this.element = h("li", { class: "trajectory", "data-trajectory": k, "data-phase": "connecting" }, this.toggle, this.body);
  }

  /**
   * @param {LanePart} part
   * @param {boolean} live as in turn/turn.js
   */
  apply(part, live) {
    if (part.attempt) this.#restart(part.attempt);
    if (part.sent) this.sent = part.sent.sent_ms;
    if (part.stamps) Object.assign(this.stamps, part.stamps);
    if (part.phase) this.#setPhase(part.phase);
    if (part.clear_answer) this.text = [];
    if (part.reasoning) this.reasoning.push(part.reasoning);
    if (part.text) this.text.push(part.text);
    if (part.answer !== undefined) this.html = part.answer;
    if (part.failure) this.failure = part.failure;
    if (part.tokens) this.tokens = part.tokens;
    this.#writeTail((part.reasoning ?? "") + (part.text ?? ""));
    if (this.opened) this.#fill(part, live);
  }

  tick(now) {
    this.now = now;
    const end = this.stamps.end_ms ?? (now === null ? null : now - this.sent);
    setText(this.figures, `${this.tokens ? `${count(this.tokens)} tok · ` : ""}${seconds(end)}`);
    if (this.opened) this.#describe();
  }

  settle() {
    this.panel?.settle();
  }

  close() {
    this.panel?.close();
  }

  #forget() {
    Object.assign(this, { stamps: {}, reasoning: [], text: [], html: null, failure: null, tokens: null, recent: "" });
  }

  #restart(attempt) {
    this.#forget();
    this.sent = attempt.sent_ms;
    if (this.opened) this.#open();
  }

  #setPhase(phase) {
    this.phase = phase;
    setAttribute(this.element, "data-phase", phase);
    setText(this.word, WORDS[phase] ?? phase.replace("_", " "));
  }

  #writeTail(text) {
    if (text) this.recent = (this.recent + text).slice(-TAIL_CHARS);
    const line = this.recent.trimEnd();
    setText(this.tail, this.failure ? this.failure.message : line.slice(line.lastIndexOf("\n") + 1));
  }

  #toggle() {
    const open = this.body.hidden;
    setAttribute(this.toggle, "aria-expanded", String(open));
    this.body.hidden = !open;
    if (open) this.#open();
    else {
      this.panel.clear();
      this.opened = null;
      this.body.replaceChildren();
    }
  }

  #open() {
    this.panel ??= new ReasoningPanel(this.name);
    this.panel.clear();
    const answer = h("div", { class: "trajectory-answer" });
    this.opened = { answer, log: new LineLog(answer), failed: false };
    this.body.replaceChildren(this.panel.element, answer);
    this.#fill({ reasoning: this.reasoning.join(""), text: this.text.join(""), answer: this.html ?? undefined }, false);
    this.panel.settle();
  }

  /**
   * @param {LanePart} part
   * @param {boolean} live
   */
  #fill({ reasoning, text, answer: html, clear_answer: cleared }, live) {
    const { answer, log } = this.opened;
    if (cleared) log.clear();
    if (reasoning) this.panel.append(reasoning, this.phase === "thinking");
    if (text || html !== undefined) this.panel.answerBegan(live);
    if (text && this.html === null) log.append(text);
    if (html !== undefined) {
      const rendered = new Answer();
      rendered.apply({ whole: html });
      answer.replaceChildren(rendered.element);
    }
    if (this.failure && !this.opened.failed) {
      this.opened.failed = true;
      this.body.append(failureCard(this.failure));
    }
    this.#describe();
  }

  #describe() {
    const answered = this.text.length > 0 || this.html !== null;
    this.panel.describe(headerFacts(this, this.now, { answered }));
  }
}
