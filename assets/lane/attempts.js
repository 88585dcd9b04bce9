/**
 * A lane's attempts: which one is shown, and buttons to the earlier ones. The newest is the lane itself, which
 * continues to stream while an earlier one is shown; the earlier one is a separate lane in its place, read from the
 * log.
 */
import { button, h, setText } from "../base/dom.js";
import { ask, askWithinBudget } from "../base/http.js";
import { missingCard } from "./cards.js";

export class Attempts {
  /** `another()` makes an empty lane like `lane`; `load(number)` resolves to an attempt's part of a frame. */
  constructor(lane, another, load) {
    this.lane = lane;
    this.another = another;
    this.load = load;
    this.total = 1;
    this.shown = 1;
    this.earlier = null; // the lane that shows an earlier attempt
    /** @type {Element | null} says that an attempt could not be fetched */
    this.missing = null;
    this.bar = this.#makeBar();
  }

  /** Attempt `number` has begun and is the newest. */
  begin(number) {
    this.total = Math.max(number, 1);
    this.#back();
  }

  /** Make the bar of a lane that shows an earlier attempt work like the lane's own. */
  follow(attempts) {
    this.leader = attempts;
    this.total = attempts.total;
  }

  /**
   * Show an attempt. Resolves to the lane that shows it; to null where it could not be fetched, which the lane then says.
   *
   * @returns {Promise<any>}
   */
  async show(number, focus = true) {
    if (this.leader) return this.leader.show(number, focus);
    this.missing?.remove();
    if (number >= this.total) return this.#back(focus);
    if (this.earlier && number === this.shown) return this.earlier;
    const part = await this.load(number).catch((error) => this.#sayMissing(number, error));
    if (!part) return null;
    const lane = this.another();
    lane.apply(part, false);
    lane.settle();
    lane.tick(null);
    lane.attempts.follow(this);
    lane.attempts.#describe(number);
    this.#remove();
    this.earlier = lane;
    this.shown = number;
    this.lane.element.hidden = true;
    this.lane.element.after(lane.element);
    if (focus) lane.attempts.#focus();
    return lane;
  }

  close() {
    this.#remove();
  }

  #sayMissing(number, error) {
    this.missing = missingCard(`Attempt ${number}`, error, () => this.show(number));
    (this.earlier ?? this.lane).attempts.bar.after(this.missing);
  }

  #makeBar() {
    this.label = h("span", { class: "attempts-label" });
    this.before = button("Earlier attempt", () => this.show(this.shown - 1), { face: "◂", class: "quiet" });
    this.after = button("Later attempt", () => this.show(this.shown + 1), { face: "▸", class: "quiet" });
    return h("div", { class: "attempts", role: "group", "aria-label": "Attempts", hidden: true }, this.before, this.label, this.after);
  }

  #back(focus = false) {
    this.#remove();
    this.lane.element.hidden = false;
    this.#describe(this.total);
    if (focus) this.#focus();
    return this.lane;
  }

  #remove() {
    this.earlier?.close();
    this.earlier?.element.remove();
    this.earlier = null;
  }

  #describe(number) {
    this.shown = number;
    this.bar.hidden = this.total < 2;
    setText(this.label, `Attempt ${number} of ${this.total}`);
    this.before.disabled = number <= 1;
    this.after.disabled = number >= this.total;
  }

  #focus() {
    (this.before.disabled ? this.after : this.before).focus({ preventScroll: true });
  }
}

/**
 * Retry a lane of a turn, `offered`: with what its failure offers; with `goOn` ask it to go on with its cut answer; or
 * with `strategy` aggregate a heavy lane's answers again. Over budget, `mayPass(question)` resolves to whether to send it
 * anyway. Resolves to false if it was not sent for that reason. Throws an `Error` with a sentence.
 *
 * @param {string} turnId
 * @param {string} lane
 * @param {(question: string) => Promise<boolean>} mayPass
 * @param {{ offered?: boolean, goOn?: boolean, strategy?: string }} [options]
 */
export async function retryLane(turnId, lane, mayPass, { offered = false, goOn = false, strategy = "" } = {}) {
  const of = `/kimi/turns/${turnId}/lanes/${encodeURIComponent(lane)}`;
  const url = strategy ? `${of}/aggregate` : goOn ? `${of}/continue` : `${of}/retry?offered=${offered ? "yes" : "no"}`;
  return (await askWithinBudget(url, { method: "POST", json: strategy ? { strategy } : undefined }, mayPass)) !== null;
}

/** Make the lane's reasoning its answer. Resolves to the lane's part of a frame. Throws like `retryLane`. */
export function promoteReasoning(turnId, lane) {
  return ask(`/kimi/turns/${turnId}/lanes/${encodeURIComponent(lane)}/promote`, { method: "POST" });
}

export function attemptPart(turnId, lane, number) {
  return ask(`/kimi/turns/${turnId}/lanes/${encodeURIComponent(lane)}/attempts/${number}`);
}
