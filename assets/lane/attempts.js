/**
 * A lane's attempts: which one is shown, and the way to the earlier ones. The newest is the lane itself, which goes on
 * streaming while an earlier one is looked at; that one is a lane of its own beside it, read from the log.
 */
import { button, h, setText } from "../base/dom.js";
import { ask } from "../base/http.js";

export class Attempts {
  /** `lane` is the lane; `another()` makes an empty one like it; `load(number)` gives an attempt's part of a frame. */
  constructor(lane, another, load) {
    this.lane = lane;
    this.another = another;
    this.load = load;
    this.total = 1;
    this.shown = 1;
    this.earlier = null; // the lane that shows an earlier attempt
    this.bar = this.#makeBar();
  }

  /** Attempt `number` has begun; it is the newest. */
  begin(number) {
    this.total = Math.max(number, 1);
    this.#back();
  }

  /** Give the bar of a lane that shows an earlier attempt the same function as the lane's own. */
  follow(attempts) {
    this.leader = attempts;
    this.total = attempts.total;
  }

  async show(number) {
    if (this.leader) return this.leader.show(number);
    if (number >= this.total) return this.#back(true);
    const part = await this.load(number).catch(() => null);
    if (!part) return;
    const lane = this.another();
    lane.apply(part, false);
    lane.settle();
    lane.tick(null);
    lane.attempts.follow(this);
    lane.attempts.#say(number);
    this.#remove();
    this.earlier = lane;
    this.shown = number;
    this.lane.element.hidden = true;
    this.lane.element.after(lane.element);
    lane.attempts.#focus();
  }

  close() {
    this.#remove();
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
    this.#say(this.total);
    if (focus) this.#focus();
  }

  #remove() {
    this.earlier?.close();
    this.earlier?.element.remove();
    this.earlier = null;
  }

  #say(number) {
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
 * Ask a lane of a turn again; `mayPass(question)` is asked where that would pass the budget. Resolves to false if it did
 * not go out for that reason. Throws an `Error` with a sentence.
 */
export async function retryLane(turnId, lane, mayPass) {
  const url = `/kimi/turns/${turnId}/lanes/${encodeURIComponent(lane)}/retry`;
  try {
    await ask(url, { method: "POST" });
  } catch (error) {
    if (error.code !== "over_budget") throw error;
    if (!(await mayPass(error.message))) return false;
    await ask(`${url}?over_budget=yes`, { method: "POST" });
  }
  return true;
}

/** Take the lane's reasoning for its answer: what is new of the lane, as a frame's part. Throws as `retryLane`. */
export function promoteReasoning(turnId, lane) {
  return ask(`/kimi/turns/${turnId}/lanes/${encodeURIComponent(lane)}/promote`, { method: "POST" });
}

export function attemptPart(turnId, lane, number) {
  return ask(`/kimi/turns/${turnId}/lanes/${encodeURIComponent(lane)}/attempts/${number}`);
}
