/**
 * Models that a server fetches, as every page sees them: the card with which a pull is begun, followed, cancelled and
 * gone on with.
 *
 * The engine owns the pulls (kimi_ui/engine/pulls.py). A page asks for them when it shows a card, when it is seen again
 * and when another tab has begun one, and then goes on asking while one runs.
 *
 * @import { Pull } from "../base/protocol"
 */
import { tabs } from "../base/bus.js";
import { h, setAttribute, setText } from "../base/dom.js";
import { ask } from "../base/http.js";
import { Newest } from "../base/newest.js";
import { commandLine } from "./cards.js";

const EVERY_MS = 500;

/** The newest state from the server, and the cards that show it. */
class Pulls {
  constructor() {
    /** @type {Pull[]} */
    this.list = [];
    this.known = false; // whether the server has sent its state
    this.cards = new Set();
    this.requests = new Newest(); // an answer that was overtaken would show a pull as it was before a command
    this.commands = 0; // that are running
    this.timer = 0;
    document.addEventListener("visibilitychange", () => this.look());
    tabs.addEventListener("message", ({ data }) => data.pulls && this.look());
  }

  add(card) {
    this.cards.add(card);
    this.#in(0);
  }

  /** @returns {Pull | undefined} */
  of(lane, model) {
    return this.list.find((pull) => pull.model === model && pull.lanes.includes(lane));
  }

  /** Ask the server what it pulls; throws nothing. */
  async look() {
    if (document.hidden || !this.cards.size) return;
    if (this.commands) return void this.#in(EVERY_MS);
    const request = this.requests.begin();
    try {
      const state = await ask("/kimi/pulls");
      if (!request.aborted) this.show(state);
    } catch {
      if (!request.aborted) this.#in(4 * EVERY_MS); // the server is away: the pull's fate is known once it answers
    }
  }

  /** Begin, go on or cancel; tells the other tabs. Throws as `ask`. */
  async command(url, method) {
    const request = this.requests.begin();
    this.commands += 1;
    try {
      const state = await ask(url, { method });
      if (!request.aborted) this.show(state);
      tabs.postMessage({ pulls: true });
    } catch (error) {
      this.#in(EVERY_MS); // for the answer that it has overtaken
      throw error;
    } finally {
      this.commands -= 1;
    }
  }

  show({ pulls }) {
    this.list = pulls;
    this.known = true;
    for (const card of this.cards) {
      if (card.wasShown && !card.element.isConnected) this.cards.delete(card);
      else card.update();
    }
    if (this.cards.size && pulls.some(({ state }) => state === "running")) this.#in(EVERY_MS);
  }

  #in(ms) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), ms);
  }
}

const pulls = new Pulls();

/**
 * The offer to pull `model` for a lane, and the pull once it has begun. `turn`: its question failed for want of the
 * model and is retried then; `ondone()` is called once the model is there.
 */
export class PullCard {
  constructor({ lane, model, turn = "", ondone = () => {} }) {
    this.lane = lane;
    this.model = model;
    this.turn = turn;
    this.ondone = ondone;
    this.state = null;
    this.past = null; // when a pull was done before this card was shown, after which the model was lost again; ""
    this.wasShown = false;
    this.asking = false;
    this.problem = ""; // why the last command failed, until the state changes
    this.said = h("p", { class: "pull-state", role: "status" });
    this.bar = h("progress", { max: "1", "aria-label": `Pulling ${model}` });
    this.figures = h("p", { class: "note figures pull-figures" });
    this.trouble = h("div", {});
    this.begin = h("button", { type: "button", class: "primary", onclick: () => this.#begin() });
    this.cancel = h("button", { type: "button", class: "quiet", "aria-label": `Cancel pulling ${model}`, onclick: () => this.#cancel() }, "Cancel");
    this.element = h("div", { class: "pull", role: "group", tabindex: "-1", "aria-label": `Pull of ${model}` },
      this.said, this.bar, this.figures, this.trouble, h("div", { class: "pull-actions" }, this.begin, this.cancel));
    this.update();
    pulls.add(this);
  }

  update() {
    this.wasShown ||= this.element.isConnected;
    const pull = pulls.of(this.lane, this.model);
    if (pulls.known) this.past ??= pull?.state === "done" ? pull.updated_at_utc : "";
    const isPast = pull?.state === "done" && (this.past ?? pull.updated_at_utc) === pull.updated_at_utc;
    const state = isPast ? "" : (pull?.state ?? "");
    const before = this.state;
    this.state = state;
    if (before !== state) this.problem = "";
    const running = state === "running";
    setText(this.said, this.problem || this.#words(state, pull));
    setText(this.figures, pull && state !== "done" ? figuresOf(pull) : "");
    this.bar.hidden = !running;
    if (running && pull.total) this.bar.value = Math.min(1, (pull.completed ?? 0) / pull.total);
    else this.bar.removeAttribute("value");
    setAttribute(this.bar, "aria-valuetext", this.figures.textContent);
    if (before !== state) this.#show(pull);
    if (before !== state && state === "done") this.ondone();
  }

  /** What differs from state to state; the focus goes with the button that had it. */
  #show(pull) {
    const focused = this.element.contains(document.activeElement);
    this.trouble.replaceChildren(...(this.state === "failed" ? troubleOf(pull) : []));
    setText(this.begin, this.state === "" ? `Pull ${this.model}` : "Go on");
    setAttribute(this.begin, "aria-label", this.state === "" ? `Pull ${this.model}` : `Go on pulling ${this.model}`);
    this.begin.hidden = this.state === "running" || this.state === "done";
    this.cancel.hidden = this.state !== "running";
    if (focused) (this.begin.hidden ? this.element : this.begin).focus({ preventScroll: true });
  }

  #words(state, pull) {
    const asks = this.turn && pull?.asks.includes(this.turn) ? " This lane asks your question when it is here." : "";
    switch (state) {
      case "running": return `Pulling ${this.model}.${asks}`;
      case "done": return `${this.model} is here.`;
      case "cancelled": return `The pull of ${this.model} was cancelled. What came is kept.`;
      case "interrupted": return `The pull of ${this.model} was interrupted. What came is kept.`;
      case "failed": return `The pull of ${this.model} failed.`;
      default: return "";
    }
  }

  #begin() {
    this.past ??= "";
    const query = this.turn ? `?turn=${encodeURIComponent(this.turn)}` : "";
    return this.#command(`${this.#url}${query}`, "POST");
  }

  #cancel() {
    return this.#command(`${this.#url}?model=${encodeURIComponent(this.model)}`, "DELETE");
  }

  get #url() {
    return `/kimi/lanes/${encodeURIComponent(this.lane)}/pull`;
  }

  /** One at a time. The button is not disabled meanwhile, because that would take the focus from it. */
  async #command(url, method) {
    if (this.asking) return;
    this.asking = true;
    this.problem = "";
    try {
      await pulls.command(url, method);
    } catch (error) {
      this.problem = error.message;
      setText(this.said, error.message);
    }
    this.asking = false;
  }
}

/** How far it is; before anything is known of that, the server's own word. */
function figuresOf(pull) {
  return pull.figures || (pull.state === "running" ? pull.status : "");
}

function troubleOf({ problem, remedy, command, detail }) {
  return [h("p", { class: "card-title" }, problem), remedy ? h("p", {}, remedy) : null, command ? commandLine(command) : null,
    detail ? h("details", {}, h("summary", {}, "In its own words"), h("pre", {}, detail)) : null].filter(Boolean);
}
