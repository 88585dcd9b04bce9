/**
 * One of heavy's trajectories: a row (state, provisional answer, newest words, tokens, time, a way to stop it), open on
 * demand to its reasoning and answer. Text of a folded row is kept as strings and put into the page when it is opened.
 *
 * @import { Failure, LanePart, Later, Stamps } from "../base/protocol"
 */
import { button, h, setAttribute, setFlag, setText } from "../base/dom.js";
import { count, seconds } from "../base/format.js";
import { showWords } from "../base/ranges.js";
import { Answer } from "../lane/answer.js";
import { failureCard, missingCard } from "../lane/cards.js";
import { LineLog } from "../lane/lines.js";
import { ReasoningPanel } from "../lane/reasoning.js";
import { headerFacts } from "../lane/reasoning_header.js";
import { letterChip } from "./letters.js";

const TAIL_CHARS = 160;
const WORDS = {
  connecting: "sent",
  answering: "writing",
  length: "cut off",
  incomplete: "cut off",
  error: "failed",
  no_answer: "no answer",
  timeout: "timed out",
};
const RUNNING = new Set(["queued", "connecting", "waiting", "thinking", "answering"]);

export class Trajectory {
  /** @type {Stamps} */
  stamps = {};
  /** @type {string[]} */
  reasoning = [];
  /** @type {string[]} the answer as it is written */
  text = [];
  /** @type {string | null} the answer once it has ended */
  html = null;
  /** @type {Later | null} its texts are still on the server */
  later = null;
  /** @type {Failure | null} */
  failure = null;
  /** @type {number | null} */
  tokens = null;
  /** @type {[number, string][]} since when (ms since it was sent) which answer stands; "" for none */
  letters = [];
  recent = ""; // the end of what was written

  /**
   * `k` from 0, as in frames; `of`: the lane's name. `actions`: stop(k) or null where it cannot be stopped,
   * pointed(k or null) when the pointer or the focus comes and goes, reasoningText and answerHtml as in lane/lane.js.
   */
  constructor(k, of, actions) {
    this.k = k;
    this.name = `${of}, trajectory T${Number(k) + 1}`;
    this.phase = "connecting";
    this.sent = 0;
    this.now = null; // the turn's clock when it was last read
    this.panel = null; // kept once it was opened: what the reader set in it stays, its text goes and comes
    this.opened = null; // the answer in the opened body
    /** @type {Promise<void> | null} the request for the answer */
    this.coming = null;
    this.word = h("span", { class: "trajectory-phase" });
    this.chip = letterChip();
    this.tail = h("span", { class: "trajectory-tail" });
    this.figures = h("span", { class: "trajectory-figures" });
    this.toggle = h("button", { type: "button", class: "trajectory-toggle", "aria-expanded": "false",
                                onclick: () => this.#toggle() },
      h("span", { class: "trajectory-name" }, `T${Number(k) + 1}`), this.chip, this.word, this.tail, this.figures);
    this.stop = button(`Stop trajectory T${Number(k) + 1} of ${of}`, () => actions.stop(k), { face: "✕", class: "icon trajectory-stop", hidden: true });
    this.stoppable = Boolean(actions.stop);
    this.actions = actions;
    this.body = h("div", { class: "trajectory-body", hidden: true });
    const point = (to) => () => actions.pointed(to);
    this.element = h("li", { class: "trajectory", "data-trajectory": k, "data-phase": "connecting",
                             onpointerenter: point(k), onpointerleave: point(null), onfocusin: point(k), onfocusout: point(null) },
      h("div", { class: "trajectory-line" }, h("span", { class: "dot", "aria-hidden": "true" }), this.toggle, this.stop), this.body);
  }

  get running() {
    return RUNNING.has(this.phase);
  }

  /** Ended without an answer that could be used. */
  get failed() {
    return !this.running && this.phase !== "done";
  }

  /**
   * @param {LanePart} part
   * @param {boolean} live as in turn/turn.js
   */
  apply(part, live) {
    if (part.attempt) this.#restart(part.attempt);
    if (part.sent) this.#sending(part.sent);
    if (part.stamps) Object.assign(this.stamps, part.stamps);
    if (part.phase) this.#setPhase(part.phase);
    if (part.clear_answer) this.text = [];
    if (part.reasoning) this.reasoning.push(part.reasoning);
    if (part.text) this.text.push(part.text);
    if (part.answer !== undefined) this.html = part.answer;
    if (part.failure) this.failure = part.failure;
    if (part.later) this.later = part.later;
    if (part.tokens) this.tokens = part.tokens;
    if (part.letters) this.letters = part.letters;
    const begins = part.text && this.text.length === 1; // the answer is not the rest of a line of the reasoning
    this.#writeTail((part.later?.recent ?? part.reasoning ?? "") + (begins ? "\n" : "") + (part.text ?? ""));
    if (this.opened && part.later) this.coming = this.#request();
    if (this.opened) this.#fill(part, live);
  }

  tick(now) {
    this.now = now;
    const end = this.stamps.end_ms ?? (now === null ? null : now - this.sent);
    setText(this.figures, `${this.tokens ? `${count(this.tokens)} tok · ` : ""}${seconds(end)}`);
    if (this.opened) this.#describe();
  }

  /** The letter of its answer and what it stands for: "42". */
  showLetter(letter, label) {
    this.chip.show(letter, label);
  }

  settle() {
    this.panel?.settle();
  }

  /** Whether it has a reasoning or an answer, here or on the server. */
  has(part) {
    if (part === "reasoning") return this.reasoning.length > 0 || Boolean(this.later?.chars);
    return this.text.length > 0 || this.html !== null || Boolean(this.later?.answered);
  }

  /** Open it, show these words of its reasoning or answer, and mark them. */
  async reveal(part, words) {
    if (!this.opened) this.#toggle();
    if (part === "reasoning") return this.panel.openFind(words[0]);
    await this.coming;
    return this.opened && showWords(this.opened.answer, words);
  }

  close() {
    this.panel?.close();
  }

  #restart(attempt) {
    Object.assign(this, { stamps: {}, reasoning: [], text: [], html: null, later: null, failure: null, tokens: null, letters: [], recent: "" });
    this.#sending(attempt);
    this.attemptId = attempt.attempt_id;
    if (this.opened) this.#open();
  }

  #sending({ sent_ms: sent, host = "" }) {
    this.sent = sent;
    setAttribute(this.toggle, "title", host ? `At ${host}` : null);
  }

  #setPhase(phase) {
    this.phase = phase;
    setAttribute(this.element, "data-phase", phase);
    setText(this.word, WORDS[phase] ?? phase);
    setFlag(this.stop, "hidden", !this.stoppable || !this.running);
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
    if (this.later) this.coming = this.#request();
    this.#fill({ reasoning: this.reasoning.join(""), text: this.text.join(""), answer: this.html ?? undefined }, false);
    this.panel.settle();
  }

  /** Fetch what the frames have left out, once: the answer at once, the reasoning when its panel opens. */
  async #request() {
    const { later, attemptId, opened } = this;
    if (later.chars) this.panel.keepFor(() => this.#reasoning(attemptId));
    if (!later.answered) return;
    opened.answer.replaceChildren(h("p", { class: "note" }, "Fetching the answer…"));
    try {
      const html = await this.actions.answerHtml(attemptId);
      if (attemptId === this.attemptId) {
        this.html = html;
        this.later = { ...this.later, answered: false };
      }
      if (opened === this.opened) this.#fill({ answer: html }, false);
    } catch (error) {
      opened.answer.replaceChildren(missingCard("The answer", error, () => this.#request()));
    }
  }

  async #reasoning(attemptId) {
    const text = await this.actions.reasoningText(attemptId);
    if (attemptId === this.attemptId) {
      this.reasoning = [text];
      this.later = { ...this.later, chars: 0 };
    }
    return text;
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
    this.panel.describe(headerFacts(this, this.now, { answered: this.has("answer") }));
  }
}
