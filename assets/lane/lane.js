/**
 * One lane of one turn: header, steps, trajectories, reasoning, answer, cards and the metrics strip.
 *
 * `apply(part)` takes this lane's part of a frame (kimi_ui/view/frames.py describes the protocol) and only ever
 * appends; `tick(now)` moves the clocks; `settle()` scrolls, once a frame.
 *
 * @import { Hit, LaneInfo, LanePart, Metrics, Stamps } from "../base/protocol"
 */
import { button, copyFrom, h, isFocusLost, laneAccent, setAttribute, setFlag, setText } from "../base/dom.js";
import { seconds } from "../base/format.js";
import { showWords } from "../base/ranges.js";
import { HeavyBoard } from "../heavy/board.js";
import { Answer } from "./answer.js";
import { Attempts } from "./attempts.js";
import { ProgressCard, RetryCard, failureCard, restCard, standInCard } from "./cards.js";
import { Follower } from "./follow.js";
import { MetricsStrip } from "./metrics.js";
import { ModelName } from "./model_name.js";
import { PullCard } from "./pull.js";
import { ReasoningPanel } from "./reasoning.js";
import { headerFacts } from "./reasoning_header.js";
import { Steps } from "./steps.js";

const RUNNING = new Set(["queued", "connecting", "waiting", "thinking", "answering"]);
const ENDED = {
  done: "Done", length: "Cut at the length limit", no_answer: "No answer came", incomplete: "Cut off",
  stopped: "Stopped", timeout: "Timed out", error: "Failed", interrupted: "Interrupted",
};
const WHOLE = new Set(["done", "length"]); // of other ends the last words and the failure stay in sight, until a reload

export class Lane {
  /**
   * `info`: id, label, model, provider, stand_in_for, how_to_get_real, width, accent (0-based), send_reasoning, can_pull
   * (the model that its server can fetch). `actions`: stop(laneId), stopTrajectory(laneId, k) and
   * aggregate(laneId, strategy) (null: not possible here), retry(laneId), goOn(laneId) (with its cut answer; null: not possible here),
   * goOnFrom(laneId, label) (the next prompt, in all lanes; null: not possible here), retryAsOffered(laneId) (with what its failure offers; null: not possible
   * here), focus(laneId), answerText(laneId, attempt) → promise of the answer's Markdown, reasoningText(attemptId) and
   * answerHtml(attemptId) → promises of texts that a frame has left out,
   * attempt(laneId, number) → promise of an earlier attempt's part, promote(laneId) → promise of whether its reasoning is
   * now shown as its answer (null: not possible here), announce(text), refresh(), turn (its id), asked(laneId) (the
   * server has asked its question again), change(laneId) (its configuration; absent where that is not possible),
   * choose(laneId, event) (of a button with `popovertarget="lane-menu"`: its model for the next prompt; null: not possible here).
   */
  constructor(info, actions) {
    /** @type {LaneInfo} */
    this.info = info;
    this.actions = actions;
    this.phase = "idle";
    /** @type {Stamps} */
    this.stamps = {};
    this.sent = 0;
    this.attemptNo = 1;
    this.attemptId = "";
    this.partial = false; // the rest of the answer follows
    /** @type {Metrics | null} */
    this.figures = null;
    this.reasoningTokens = null;
    this.widened = false; // has the whole window
    this.completed = false; // since the last frame
    this.continues = false; // the shown attempt goes on with an earlier one's answer
    this.#build();
    this.#setPhase("idle");
    this.#describe(null);
  }

  get running() {
    return RUNNING.has(this.phase);
  }

  get ended() {
    return this.phase in ENDED;
  }

  /** Whether reasoning is still streaming, by the stamps. */
  get #thinking() {
    return this.stamps.first_answer_ms === undefined && this.stamps.end_ms === undefined;
  }

  /** A past turn keeps its form but loses the attribute that marks the current turn. */
  retire() {
    this.model.retire();
    this.element.removeAttribute("data-lane");
    this.element.setAttribute("data-past-lane", this.info.id);
  }

  /**
   * @param {LanePart} part
   * @param {boolean} live as in turn/turn.js
   */
  apply(part, live) {
    if (part.attempt) this.#restart(part.attempt);
    if (part.context) this.model.describeContext(part.context);
    if (part.sent) this.#sending(part.sent);
    if (part.stamps) Object.assign(this.stamps, part.stamps);
    if (part.preparing) this.#prepare(part.preparing);
    if (part.clear_answer) this.#clearAnswer();
    if (part.reasoning) this.reasoning.append(part.reasoning, this.#thinking);
    if (part.later) this.reasoning.keepFor(() => this.actions.reasoningText(this.attemptId));
    if (part.trajectories) this.board.apply(part.trajectories, live);
    if (part.heavy) this.board.applyWhole(part.heavy);
    if (part.more !== undefined) this.partial = part.more;
    if (part.blocks || part.tail !== undefined || part.append || part.whole) this.#answer(part, live && !part.promoted);
    if (part.steps) this.steps.apply(part.steps);
    if (part.metrics) {
      this.figures = part.metrics;
      this.reasoningTokens = part.metrics.reasoning_tokens;
      this.reasoningEstimated = part.metrics.reasoning_source !== "usage";
      this.metrics.apply(part.metrics);
    }
    if (part.notes) this.#notes(part.notes);
    if (part.failure) this.#fail(part.failure);
    if (part.can_continue && this.actions.goOn) this.goOn.hidden = false;
    if (part.retry) this.#retry(part.retry);
    if (part.promoted) this.#promoted();
    if (part.phase) this.#setPhase(part.phase, live);
    setFlag(this.answerTools, "hidden", this.running || !this.answered);
  }

  /** Time from sending the request to its end or to `now`, in ms; null if unknown. */
  elapsed(now) {
    const unsent = !this.running || this.phase === "queued";
    return this.stamps.end_ms ?? (now === null || unsent ? null : now - this.sent);
  }

  /** What the shown attempt costs so far; see composer/live_costs.js. */
  get cost() {
    return { usd: this.figures?.cost_usd ?? null, estimated: this.figures?.cost_source === "estimate", running: this.running };
  }

  tick(now) {
    this.metrics.elapsed(this.elapsed(now));
    this.#describe(now);
    this.board.tick(now);
    this.retry?.tick(now);
  }

  settle() {
    this.reasoning.settle();
    this.board.settle();
    this.steps.settle();
    if (this.completed) requestAnimationFrame(() => this.follower.stand(this.answer.element));
    else if (this.grew || this.widened) this.follower.stick(); // a widened lane has one scroll, its reasoning included
    this.grew = false;
    this.completed = false;
  }

  close() {
    this.reasoning.close();
    this.board.close();
    this.attempts.close();
    this.metrics.close();
  }

  /** `width`: "focused", "strip", or "" for an equal share. */
  setWidth(width) {
    for (const element of [this.element, this.attempts.earlier?.element]) {
      element?.classList.toggle("focused", width === "focused");
      element?.classList.toggle("strip", width === "strip");
    }
    this.widened = width === "focused";
    setAttribute(this.wide, "aria-pressed", String(this.widened));
    if (this.running) this.follower.stick();
  }

  /** `lane`: whose answer the next prompt goes on from in all lanes. */
  showBasis(lane) {
    setAttribute(this.base, "aria-pressed", String(lane === this.info.id));
  }

  /** A click anywhere on a strip widens the lane; the button in it does the same. */
  #clicked(event) {
    if (this.element.classList.contains("strip") && !event.target.closest("button")) this.actions.focus(this.info.id);
  }

  /** Open or fold the reasoning, if there is any. */
  toggleThinking(open = !this.reasoning.open) {
    if (this.reasoning.filled) this.reasoning.userToggle(open);
  }

  /**
   * Whether the text that a search has found is here, or can be requested.
   *
   * @param {Hit} hit
   */
  has({ part, attempt, trajectory }) {
    if (attempt !== this.attemptNo) return attempt < this.attempts.total;
    if (trajectory !== null) return this.board.rows.get(String(trajectory))?.has(part) ?? false;
    return part === "reasoning" ? this.reasoning.filled : this.answered && !this.partial;
  }

  /**
   * Show the words that a search has found in the shown attempt, and mark them.
   *
   * @param {Hit} hit
   */
  reveal({ part, trajectory, words }) {
    this.follower.leave();
    if (trajectory !== null) return this.board.rows.get(String(trajectory))?.reveal(part, words);
    return part === "reasoning" ? this.reasoning.openFind(words[0]) : showWords(this.answer.element, words);
  }

  /** A lane like this one that shows an earlier attempt. */
  #another() {
    const lane = new Lane(this.info, {
      ...this.actions,
      announce: () => {},
      promote: null,
      goOn: null,
      goOnFrom: null,
      retryAsOffered: null,
      aggregate: null,
      stopTrajectory: null,
    });
    lane.retire();
    lane.element.classList.add("earlier");
    lane.element.classList.toggle("focused", this.element.classList.contains("focused"));
    return lane;
  }

  #build() {
    const { info, actions } = this;
    this.status = h("span", { class: "lane-status", "data-part": "status" });
    this.model = new ModelName(info, actions.choose);
    this.badge = h("span", { class: "badge", hidden: !info.stand_in_for, title: `Stand-in for ${info.stand_in_for}` }, "stand-in");
    this.stop = button(`Stop ${info.label}`, () => actions.stop(info.id), { face: "Stop", class: "quiet lane-stop" });
    this.again = button(`Ask ${info.label} again`, () => actions.retry(info.id), { face: "Retry", class: "quiet lane-retry", hidden: true });
    this.wide = button(`Give ${info.label} the whole width`, () => actions.focus(info.id), { face: "⤢", class: "icon lane-wide", "aria-pressed": "false" });
    this.header = h(
      "header", { class: "lane-head" },
      h("span", { class: "dot", "aria-hidden": "true" }),
      h(
        "div",
        { class: "lane-name" },
        h("h2", {}, info.label),
        h("div", { class: "lane-by" }, this.badge, this.model.name, this.model.mark, this.model.next),
        this.model.button,
      ),
      this.status,
      this.stop,
      this.again,
      this.wide,
    );
    this.attempts = new Attempts(this, () => this.#another(), (number) => actions.attempt(info.id, number));
    this.steps = new Steps((step) => this.#goTo(step));
    this.board = new HeavyBoard(info.label, {
      stop: actions.stopTrajectory ? (k) => actions.stopTrajectory(info.id, k) : null,
      aggregate: actions.aggregate ? (strategy) => actions.aggregate(info.id, strategy) : null,
      reasoningText: actions.reasoningText,
      answerHtml: actions.answerHtml,
    }, () => this.answer.element);
    this.reasoning = new ReasoningPanel(info.label, { sentBack: info.send_reasoning });
    this.answer = new Answer({ "data-part": "answer" });
    this.copy = button("Copy answer", () => copyFrom(actions.answerText(info.id, this.attempts.shown), this.copy), {
      face: "Copy answer",
      class: "quiet",
    });
    this.goOn = button(`Let ${info.label} continue this answer where it was cut`, () => actions.goOn(info.id), {
      face: "Continue",
      class: "quiet lane-continue",
      hidden: true,
    });
    this.base = button("Go on with this answer in all lanes", () => actions.goOnFrom(info.id, info.label), {
      class: "quiet lane-base", "aria-pressed": "false", hidden: !actions.goOnFrom });
    this.answerTools = h("div", { class: "answer-tools", hidden: true }, this.copy, this.goOn, this.base);
    this.continued = h("p", { class: "note answer-before", hidden: true }, "An earlier attempt's answer and its continuation.");
    this.origin = h("p", { class: "note answer-origin", hidden: true }, "Taken from the reasoning: the model wrote no answer of its own.");
    this.cards = h("div", { class: "cards" });
    this.noteList = h("ul", { class: "notes", hidden: true });
    const latest = button("Latest", () => {}, { class: "pill" });
    this.body = h("div", { class: "lane-body", tabindex: "0", role: "region", "aria-label": `${info.label}: reasoning and answer` },
      this.steps.element, this.board.element, this.reasoning.element, this.origin, this.continued, this.answer.element, this.answerTools,
      this.board.attribution.element, this.board.worth.element, this.noteList, this.cards);
    this.follower = new Follower(this.body, latest);
    this.metrics = new MetricsStrip(info.width > 0);
    this.element = h(
      "section", { class: "lane", "data-lane": info.id, "data-phase": "idle", "aria-label": info.label, onclick: (event) => this.#clicked(event) },
      this.header, this.attempts.bar, h("div", { class: "lane-frame" }, this.body, latest), this.metrics.element,
    );
    this.element.style.setProperty("--lane", laneAccent(info.accent));
    this.#describeModel(info.model, info.provider);
    if (info.at_rest) this.#rest(info);
  }

  /** Before the first prompt: the model that will answer here, and what to set if that is a stand-in. */
  #rest(info) {
    this.steps.element.hidden = true;
    this.reasoning.element.hidden = true;
    this.cards.append(info.stand_in_for ? standInCard(info) : restCard(info));
    if (this.actions.change)
      this.cards.append(
        button(`Change the lane ${info.label}`, () => this.actions.change(info.id), {
          face: "Change lane…",
          class: "quiet lane-change",
        }),
      );
    if (info.stand_in_for && info.can_pull)
      this.cards.append(new PullCard({ lane: info.id, model: info.can_pull, ondone: this.actions.refresh }).element);
  }

  #describeModel(model, provider) {
    this.model.describe(model, provider, this.info.width && !this.continues ? this.info.width : 1);
  }

  /** A new attempt begins: clear what the lane shows of the previous one. */
  #restart(attempt) {
    this.attempts.begin(attempt.attempt_no);
    if (attempt.attempt_no > 1) this.follower.begin();
    this.stamps = {};
    this.attemptNo = attempt.attempt_no;
    this.attemptId = attempt.attempt_id;
    this.partial = false;
    this.figures = null;
    this.reasoningTokens = null;
    this.retry = null;
    this.preparing = null;
    this.steps.clear();
    this.board.clear();
    this.reasoning.clear();
    this.metrics.clear();
    this.#clearAnswer();
    this.noteList.hidden = true;
    this.goOn.hidden = true;
    this.continues = this.answer.isContinued = Boolean(attempt.continues);
    setFlag(this.continued, "hidden", !this.continues);
    this.cards.replaceChildren();
    this.badge.hidden = !attempt.stand_in_for;
    setAttribute(this.badge, "title", `Stand-in for ${attempt.stand_in_for}`);
    this.#describeModel(attempt.model || this.info.model, attempt.provider);
    this.#sending(attempt);
  }

  /** When the attempt was sent, or while it waits in the app's queue, when it joined that. */
  #sending({ sent_ms: sent, queue_ms: queue = null, host = "" }) {
    this.sent = sent;
    this.model.describeHost(host);
    this.metrics.queued(queue);
  }

  #prepare(preparing) {
    if (!this.preparing) {
      this.preparing = new ProgressCard();
      this.cards.append(this.preparing.element);
    }
    this.preparing.show(preparing.label, preparing.done, preparing.total);
  }

  #clearAnswer() {
    this.answer.clear();
    this.answered = false;
    this.origin.hidden = true;
  }

  #answer(part, live) {
    this.answer.apply(part);
    this.grew = true;
    this.answered = !this.answer.empty;
    const ownText = !this.continues || this.stamps.first_answer_ms !== undefined; // not only what it goes on with
    if (this.answered && ownText) this.reasoning.answerBegan(live);
  }

  #notes(notes) {
    this.noteList.hidden = !notes.length;
    this.noteList.replaceChildren(...notes.map((note) => h("li", {}, note)));
    this.grew = true;
  }

  #fail(failure) {
    const { id, can_pull: canPull } = this.info;
    const pull = failure.kind === "model_missing" && canPull && this.actions.turn
      ? new PullCard({ lane: id, model: failure.model, turn: this.actions.turn, ondone: () => this.actions.asked(id) }).element : null;
    const promote = failure.can_promote && this.actions.promote
      ? h("button", { type: "button", class: "primary", onclick: (event) => this.#promote(event.target) }, "Show it as the answer") : null;
    this.cards.append(failureCard(failure, pull ?? promote ?? this.#offer(failure.again)));
    this.grew = true;
  }

  /** A button that retries with other parameters, if the failure names some. */
  #offer(again) {
    const [[name, value] = []] = Object.entries(again ?? {});
    if (!name || !this.actions.retryAsOffered) return null;
    const face = `Ask again with ${name} = ${value}`;
    return h("button", { type: "button", class: "primary", onclick: () => this.actions.retryAsOffered(this.info.id) }, face);
  }

  /** The reader makes the reasoning the answer. */
  async #promote(offer) {
    offer.disabled = true;
    offer.disabled = await this.actions.promote(this.info.id);
    if (!offer.disabled) return;
    this.actions.announce(`${this.info.label}: the reasoning is shown as the answer`);
    if (isFocusLost()) this.body.focus({ preventScroll: true }); // the button that had it is gone
    this.body.scrollTop += this.origin.getBoundingClientRect().top - this.body.getBoundingClientRect().top - 10;
  }

  #promoted() {
    this.cards.replaceChildren();
    this.origin.hidden = false;
    this.follower.release(); // it is complete, so show its beginning
  }

  #retry(retry) {
    this.cards.replaceChildren();
    this.retry = new RetryCard(retry);
    this.cards.append(this.retry.element);
  }

  #goTo(step) {
    if (step.where === "answer") this.answer.element.scrollIntoView({ block: "nearest" });
    else this.reasoning.goTo(step.at);
    this.follower.leave();
  }

  #setPhase(phase, live = false) {
    const before = this.phase;
    this.phase = phase;
    setAttribute(this.element, "data-phase", phase);
    this.stop.hidden = !this.running;
    this.again.hidden = this.running || phase === "idle";
    if (before !== phase) this.completed = WHOLE.has(phase) || (!live && this.ended && this.answered);
    if (!live || before === phase) return;
    if (before === "thinking" && phase === "answering" && this.stamps.first_reasoning_ms !== undefined) {
      const thought = this.stamps.first_answer_ms - this.stamps.first_reasoning_ms;
      this.actions.announce(`${this.info.label} finished thinking after ${seconds(thought)}`);
    } else if (!this.running) {
      this.actions.announce(`${this.info.label}: ${ENDED[phase] ?? phase}, ${seconds(this.stamps.end_ms)}`);
    }
  }

  #describe(now) {
    const heavy = this.info.width > 0;
    const facts = headerFacts(this, now, { answered: this.answered, heavy });
    this.reasoning.describe(facts);
    setText(this.status, this.#statusText(facts));
  }

  #statusText({ waiting, thinking, ended }) {
    if (this.phase === "idle") return "Ready";
    if (ENDED[this.phase]) return ended && this.phase === "done" ? `Done · ${seconds(this.stamps.end_ms)}` : ENDED[this.phase];
    if (this.retry) return "Waiting to try again";
    if (this.phase === "thinking") {
      const work = this.reasoning.filled ? null : this.board.work;
      return work ? `${work.word} ${seconds(waiting + this.sent - work.since)}` : `Thinking ${seconds(thinking)}`;
    }
    if (this.phase === "answering") return `Answering ${seconds(waiting - (this.stamps.first_answer_ms ?? 0))}`;
    if (this.phase === "queued") return `Queued ${seconds(waiting)}`;
    return `${this.preparing ? "Preparing" : this.phase === "connecting" ? "Connecting" : "Waiting"} ${seconds(waiting)}`;
  }
}
