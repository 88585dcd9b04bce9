/**
 * What the next prompt is, in tokens and money: one quiet line, opened to a table by lane. The numbers are the server's
 * (kimi_ui/chat/estimates.py): history and system prompt included, output as long as such answers have been.
 */
import { ask } from "./chat.js";
import { h, setAttribute, setText } from "./dom.js";
import { UNKNOWN, about, usd } from "./format.js";

const PAUSE_MS = 300;
const PAUSE_MS_PER_CHAR = 0.002; // longer texts are looked at less often

export class EstimateLine {
  /** `next()` gives what would be sent now, or null. */
  constructor(next) {
    this.next = next;
    this.line = h("button", { type: "button", class: "quiet estimate-line", "aria-expanded": "false", "aria-controls": "estimate-table",
                              onclick: () => this.#toggle() });
    this.rows = h("tbody");
    this.footnote = h("p", { class: "note" });
    this.table = h("div", { id: "estimate-table", class: "estimate-table", role: "region", "aria-label": "Estimate by lane", hidden: true },
      h("table", {}, h("thead", {}, h("tr", {}, ...["Lane", "Prompt", "Requests", "Cost"].map((name) => h("th", { scope: "col" }, name)))), this.rows),
      this.footnote);
    this.element = h("div", { class: "estimate", id: "estimate", hidden: true }, this.line, this.table);
  }

  close() {
    clearTimeout(this.timer);
    this.asking?.abort();
  }

  /** Fold the table; true if it was open. */
  fold() {
    const wasOpen = !this.table.hidden;
    this.#open(false);
    return wasOpen;
  }

  /** Something has changed: ask again when it rests. */
  soon() {
    clearTimeout(this.timer);
    const length = document.querySelector("#prompt textarea")?.textLength ?? 0;
    this.timer = setTimeout(() => this.#ask(), PAUSE_MS + length * PAUSE_MS_PER_CHAR);
  }

  async #ask() {
    this.asking?.abort();
    const next = this.next();
    if (!next) return this.#hide();
    const asking = (this.asking = new AbortController());
    try {
      const estimate = await ask("/kimi/estimate", { method: "POST", json: next, signal: asking.signal });
      if (!asking.signal.aborted) this.#show(estimate);
    } catch (error) {
      if (error.name !== "AbortError") this.#hide(); // sending will say what is wrong
    }
  }

  #hide() {
    this.element.hidden = true;
    this.#open(false);
  }

  #show(estimate) {
    const { lanes } = estimate;
    this.element.hidden = !lanes.length;
    if (!lanes.length) return;
    const prompts = lanes.map((lane) => lane.prompt_tokens);
    const [fewest, most] = [Math.min(...prompts), Math.max(...prompts)];
    const requests = Math.max(...lanes.map((lane) => lane.requests));
    const cost = money(estimate.usd, estimate.is_floor);
    const fold = requests > 1 ? `${requests}×` : "";
    const tokens = about(fewest) === about(most) ? `${about(most)} tokens` : `${about(fewest)}–${about(most).slice(1)} tokens`;
    setText(this.line, [tokens, [cost, fold].filter(Boolean).join(", ")].filter(Boolean).join(" · "));
    setAttribute(this.line, "title", "What the next prompt is in each lane, with its history. Open for the lanes.");
    this.rows.replaceChildren(...lanes.map((lane) => h("tr", {},
      h("th", { scope: "row" }, lane.label), h("td", {}, about(lane.prompt_tokens)),
      h("td", {}, lane.requests > 1 ? `${lane.requests}×` : "1"), h("td", {}, money(lane.usd, lane.is_floor) || UNKNOWN))));
    setText(this.footnote, footnote(estimate));
  }

  #toggle() {
    this.#open(this.table.hidden);
  }

  #open(open) {
    this.table.hidden = !open;
    setAttribute(this.line, "aria-expanded", String(open));
  }
}

/** "≈ $0.19", "≥ $0.02" where the output is not in it, "" where no price is known. */
function money(amount, isFloor) {
  if (amount === null || amount === undefined) return "";
  if (amount === 0) return "$0";
  const small = amount < 0.0001 ? usd(amount) : `$${Number(amount.toPrecision(2))}`;
  const rounded = amount < 0.01 ? small : `$${amount.toFixed(2)}`;
  return `${isFloor ? "≥" : "≈"} ${rounded}`;
}

function footnote({ is_floor: isFloor, unpriced }) {
  const parts = ["Tokens are counted here, history and system prompt included; the provider's count may differ."];
  if (isFloor) parts.push("≥: the prompt alone, because nothing is known yet of how long this model's answers are.");
  if (unpriced) parts.push(unpriced === 1 ? "One lane has no price." : `${unpriced} lanes have no price.`);
  return parts.join(" ");
}
