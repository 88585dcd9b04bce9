/**
 * One turn: the prompt, then its lanes side by side (on a narrow screen one at a time, with tabs and swiping).
 * `apply(frame)` takes frames of the stream route; kimi_ui/view/frames.py describes them.
 * Of a row far from the window only the prompt is drawn, which is cheap; `fetch` draws the rest.
 *
 * @import { Frame, Hit, Turn } from "../base/protocol"
 */
import { button, h, laneAccent, reducedMotion, setAttribute, setFlag } from "../base/dom.js";
import { exportMenu } from "../base/export_menu.js";
import { ask } from "../base/http.js";
import { missingCard } from "../lane/cards.js";
import { Lane } from "../lane/lane.js";
import { PromptBlock } from "./prompt.js";
import { Race } from "./race.js";
import { Verdict } from "./verdict.js";

const TICK_MS = 100;

export class TurnRow {
  /**
   * `turn`: turn_id ("" while idle), prompt, lanes (their infos). `actions` as in lane/lane.js and `TurnTools`, bound
   * to this turn. `clock` gives the turn's time; a replay has its own. `far`: to be drawn later.
   *
   * @param {Turn} turn
   * @param {Record<string, any>} actions
   * @param {{ clock?: { sync(nowMs: number): void, now(): number | null }, far?: boolean }} [options]
   */
  constructor(turn, actions, { clock = new Clock(), far = false } = {}) {
    this.turn = turn;
    this.actions = actions;
    this.id = turn.turn_id;
    this.seq = turn.seq;
    this.prompt = turn.prompt === null ? null : new PromptBlock(turn, turn.lanes.find(({ id }) => id === turn.basis)?.label ?? turn.basis);
    this.clock = clock;
    this.ticker = 0;
    this.lanes = new Map();
    this.tabs = new Map();
    this.compared = false; // heavy with the single answer
    this.focused = null; // id of the lane that has the width
    const state = `${turn.blind ? " blind" : ""}${far ? " far" : ""}`;
    this.element = h("article", { class: `turn${state}`, "data-turn": this.id }, this.prompt?.element);
    if (!far) this.#draw();
  }

  #draw() {
    const { turn, actions } = this;
    this.grid = h("div", { class: "lanes", onscroll: () => this.#markTab() });
    this.tabBar = h("div", { class: "lane-tabs", role: "tablist", "aria-label": "Lanes" });
    turn.lanes.forEach((info, index) => {
      const lane = new Lane({ accent: index, ...info }, actions);
      this.lanes.set(info.id, lane);
      if (turn.blind) lane.follower.release(); // answers arrive whole, so show their beginning
      this.grid.append(lane.element);
      const tab = h("button", { type: "button", role: "tab", class: "lane-tab", onclick: () => this.#show(lane) },
        h("span", { class: "dot", "aria-hidden": "true" }), info.label);
      tab.style.setProperty("--lane", laneAccent(lane.info.accent));
      this.tabs.set(info.id, tab);
      this.tabBar.append(tab);
    });
    this.grid.style.setProperty("--strips", String(Math.max(1, turn.lanes.length - 1)));
    const infos = [...this.lanes.values()].map((lane) => lane.info);
    this.race = this.id && !turn.blind ? new Race(infos) : null;
    if (this.race) this.prompt?.tools.prepend(this.race.fold);
    this.verdict = this.id ? new Verdict(turn, infos, actions.opened, () => this.#compareHeavy()) : null;
    this.tools = this.id && !turn.blind ? new TurnTools(turn.turn_id, actions) : null;
    if (this.tools) this.verdict.element.append(this.tools.element);
    this.element.append(...[this.race?.element, this.tabBar, this.grid, this.verdict?.element].filter(Boolean));
    this.#markTab();
  }

  get running() {
    return [...this.lanes.values()].some((lane) => lane.running);
  }

  /** The lanes that have not ended. */
  get unended() {
    return [...this.lanes.values()].filter((lane) => !lane.ended);
  }

  /** Whether the rest of an answer follows. */
  get partial() {
    return [...this.lanes.values()].some((lane) => lane.partial);
  }

  /** What each lane's shown attempt costs so far, as in composer/live_costs.js. */
  get costs() {
    return [...this.lanes].map(([id, lane]) => ({ attempt: `${this.id}/${id}/${lane.attemptNo}`, ...lane.cost }));
  }

  apply(frame, live) {
    this.applyAll([frame], live);
  }

  /** Request all of an ended turn from the server. If that fails, the row says so and offers to try again. */
  async fetch() {
    if (!this.lanes.size) {
      this.#draw();
      this.retire();
      this.focusLane(this.focused);
    }
    try {
      this.apply(await ask(`/kimi/turns/${this.id}/frame`), false);
    } catch (error) {
      const card = missingCard("This turn", error, () => { card.remove(); this.fetch(); });
      this.grid.before(card);
    }
    this.element.classList.remove("far");
  }

  /**
   * @param {Frame[]} frames
   * @param {boolean} live false for frames of the past: nothing in them happened while the reader was watching
   */
  applyAll(frames, live) {
    for (const frame of frames) {
      if (frame.now_ms !== null && frame.now_ms !== undefined) this.clock.sync(frame.now_ms);
      for (const [id, part] of Object.entries(frame.lanes)) {
        const lane = this.lanes.get(id);
        if (!lane) continue;
        lane.apply(part, live);
        if (part.phase) setAttribute(this.tabs.get(id), "data-phase", part.phase);
      }
      this.race?.apply(frame.lanes);
    }
    for (const lane of this.lanes.values()) lane.settle();
    if (this.compared && this.running) this.compared = false;
    else if (!this.compared && !this.running) this.#compareHeavy();
    this.verdict?.answered(new Set([...this.lanes].filter(([, lane]) => lane.answered).map(([id]) => id)));
    if (this.tools) setFlag(this.tools.element, "hidden", this.running);
    if (!live || !this.ticker || !this.running) this.tick(); // the last frame is shown at once, without waiting for the next tick
    if (this.running && !this.ticker) this.ticker = setInterval(() => this.tick(), TICK_MS);
  }

  /** Take over the reader's choices from another row of this turn. */
  likeBefore(row) {
    for (const [id, lane] of this.lanes) lane.reasoning.likeBefore(row.lanes.get(id).reasoning);
  }

  /** Ask what heavy was worth beside the single answer; again after a vote. A turn that the server lacks has none. */
  async #compareHeavy() {
    this.compared = true;
    const heavy = [...this.lanes.values()].filter(({ info }) => info.of && this.lanes.has(info.of));
    if (!heavy.length || this.turn.blind || !this.id) return;
    const found = await ask(`/kimi/turns/${encodeURIComponent(this.id)}/worth`).catch(() => []);
    for (const worth of found) this.lanes.get(worth.lane)?.board.worth.show(worth);
  }

  tick() {
    const now = this.clock.now();
    for (const lane of this.lanes.values()) lane.tick(now);
    this.race?.tick(now, this.running, (id) => this.lanes.get(id).elapsed(now));
    if (!this.running && this.ticker) {
      clearInterval(this.ticker);
      this.ticker = 0;
    }
  }

  /** Another turn has become the current one. */
  retire() {
    this.element.classList.add("past");
    for (const lane of this.lanes.values()) lane.retire();
  }

  close() {
    clearInterval(this.ticker);
    this.ticker = 0;
    this.race?.close();
    this.prompt?.close();
    for (const lane of this.lanes.values()) lane.close();
  }

  /** Give one lane the window and shrink the others to strips; null: all side by side. */
  focusLane(id) {
    this.focused = id;
    const focused = this.lanes.has(id) ? id : null;
    this.element.classList.toggle("widened", focused !== null);
    this.grid?.toggleAttribute("data-focused", focused !== null);
    for (const [name, lane] of this.lanes) lane.setWidth(focused === null ? "" : name === focused ? "focused" : "strip");
  }

  /**
   * Show the words that a search has found in the prompt or in a lane, and mark them. False: that is not drawn yet.
   *
   * @param {Hit} hit
   */
  reveal(hit) {
    if (hit.part === "prompt") return this.prompt?.reveal(hit.words) ?? true;
    const lane = this.lanes.get(hit.lane);
    if (!lane) return this.lanes.size > 0;
    if (!lane.has(hit)) return false;
    if (lane.element.classList.contains("strip")) this.actions.focus(lane.info.id);
    this.#revealIn(lane, hit);
    return true;
  }

  async #revealIn(lane, hit) {
    const shown = await lane.attempts.show(hit.attempt, false);
    if (!shown) return;
    if (this.tabBar.offsetParent) this.#show(shown);
    shown.reveal(hit);
  }

  /** The lane a narrow screen shows. */
  get shownLane() {
    return [...this.lanes.values()][this.#shownIndex];
  }

  showLane(id) {
    this.#show(this.lanes.get(id));
  }

  get #shownIndex() {
    const { scrollLeft, clientWidth } = this.grid;
    return clientWidth ? Math.round(scrollLeft / clientWidth) : 0;
  }

  #show(lane) {
    lane.element.scrollIntoView({ inline: "start", block: "nearest", behavior: reducedMotion() ? "auto" : "smooth" });
  }

  #markTab() {
    const shown = [...this.tabs.values()][this.#shownIndex];
    for (const tab of this.tabs.values()) setAttribute(tab, "aria-selected", String(tab === shown));
    if (shown) this.tabBar.scrollLeft = shown.offsetLeft - (this.tabBar.clientWidth - shown.offsetWidth) / 2;
  }
}

/**
 * The turn's clock: ms since the turn began, by the engine. Each frame holds the engine's reading; the smallest
 * difference seen to this browser's own clock is the best estimate, since frames can only be late.
 */
class Clock {
  /** @type {number | null} */
  offset = null;

  sync(nowMs) {
    const offset = performance.now() - nowMs;
    if (this.offset === null || offset < this.offset) this.offset = offset;
  }

  /** ms since the turn began; null before the first frame of a live turn. */
  now() {
    return this.offset === null ? null : performance.now() - this.offset;
  }
}

/** The buttons of an ended turn: watch it again, save it. */
class TurnTools {
  /** `actions.replay()` starts the replay; without it there is none. */
  constructor(turnId, actions) {
    this.element = h("div", { class: "turn-tools", hidden: true },
      actions.replay ? button("Watch this turn again", () => actions.replay(), { face: "Replay", class: "quiet", "data-action": "replay" }) : null,
      actions.replay ? exportMenu(`/kimi/turns/${encodeURIComponent(turnId)}/export`, "this turn", { turn: turnId }) : null);
  }
}
