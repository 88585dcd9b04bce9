/**
 * Money in the composer: the sums spent (`TotalsLine`), the estimated cost of the next prompt (`EstimateLine`), the
 * user's budget (`BudgetFields`) and the question before exceeding it (`BudgetQuestion`). All numbers are the server's.
 */
import { chat } from "../base/bus.js";
import { button, focusedElement, h, numberField, numeric, promptBox, setAttribute, setText } from "../base/dom.js";
import { UNKNOWN, about, seconds, usd } from "../base/format.js";
import { ask } from "../base/http.js";
import { Newest } from "../base/newest.js";
import { LiveCosts } from "./live_costs.js";

const PAUSE_MS = 300; // before an estimate of a prompt that is being written
const PAUSE_MS_PER_CHAR = 0.002; // longer texts are estimated less often

/**
 * One quiet line with the sums of this conversation and of today (UTC): read from the log whenever a turn has ended,
 * plus the cost of the shown turn so far. It is hidden if nothing has a price.
 */
export class TotalsLine {
  constructor() {
    this.requests = new Newest();
    this.element = h("p", { class: "totals", id: "totals", hidden: true });
    const back = () => document.hidden || this.refresh(); // another tab may have sent meanwhile
    document.addEventListener("visibilitychange", back);
    this.live = new LiveCosts();
    this.spent = null; // as the server last said; null: not known
    this.ends = ["conversation", "ended", "budget"].map((name) => chat.on(name, () => this.refresh()));
    this.ends.push(chat.on("costs", ({ detail }) => this.#costs(detail)));
    this.ends.push(() => document.removeEventListener("visibilitychange", back));
  }

  close() {
    for (const end of this.ends) end();
    this.requests.drop();
  }

  async refresh() {
    const signal = this.requests.begin();
    if (chat.conversation !== this.conversation) this.live.clear();
    this.conversation = chat.conversation;
    const ended = this.live.ended;
    try {
      const spent = await ask(`/kimi/spent?c=${encodeURIComponent(chat.conversation)}`, { signal });
      if (signal.aborted) return;
      this.live.forget(ended);
      this.#show(spent);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.spent = null;
      this.element.hidden = true; // show no sum rather than an old one
    }
  }

  #costs(costs) {
    const before = this.live.sum.usd;
    for (const cost of costs) this.live.see(cost);
    if (this.spent && this.live.sum.usd !== before) this.#show(this.spent);
  }

  #show(spent) {
    this.spent = spent;
    const { usd: more, estimated } = this.live.sum;
    const shown = [["This conversation", spent.conversation], ["today", spent.today]]
      .filter(([, one]) => one)
      .map(([name, one]) => [name, { ...one, usd: one.usd + more, n_estimated: one.n_estimated + Number(estimated) }]);
    this.element.hidden = !shown.some(([, { usd }]) => usd > 0);
    if (this.element.hidden) return;
    setText(this.element, shown.map(([name, spent]) => `${name} ${sum(spent)}`).join(" · "));
    setAttribute(this.element, "title", title(shown.map(([, spent]) => spent)));
  }
}

/** "$0.0123", "~$0.45 of $1.00 (+2 unpriced)". */
function sum({ usd: spent, n_estimated: estimated, n_unknown: unknown, limit_usd: limit }) {
  const parts = [`${estimated ? "~" : ""}${amount(spent)}`];
  if (limit !== null) parts.push(`of ${amount(limit)}`);
  if (unknown) parts.push(`(+${unknown} unpriced)`);
  return parts.join(" ");
}

function amount(dollars) {
  return dollars >= 0.1 ? `$${dollars.toFixed(2)}` : usd(dollars);
}

function title(spent) {
  const begins = new Date();
  begins.setUTCHours(0, 0, 0, 0);
  const here = begins.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const parts = ["What you have spent: all lanes, retries and edited prompts together, and the running answers so far.",
    `Today is the day in UTC: since ${here} here, in all your conversations.`];
  if (spent.some((one) => one.n_estimated)) parts.push("~: in part estimated, where a provider did not count the tokens.");
  const unknown = Math.max(...spent.map((one) => one.n_unknown));
  if (unknown) parts.push(unknown === 1 ? "One answer without a price is not included." : `${unknown} answers without a price are not included.`);
  return parts.join(" ");
}

/**
 * Tokens and cost of the next prompt: one quiet line that opens a table by lane. The numbers are the server's
 * (kimi_ui/chat/estimates.py): they include history and system prompt, and assume the usual length of answers.
 */
export class EstimateLine {
  /** `next()` returns the prompt that Send would send now, or null; `oncategory` takes the kind of prompt it is, or "". */
  constructor(next, oncategory) {
    this.next = next;
    this.oncategory = oncategory;
    this.requests = new Newest();
    this.line = h("button", { type: "button", class: "quiet estimate-line", "aria-expanded": "false", "aria-controls": "estimate-table",
                              onclick: () => this.#toggle() });
    this.rows = h("tbody");
    this.footnote = h("p", { class: "note" });
    this.table = h("div", { id: "estimate-table", class: "estimate-table", role: "region", "aria-label": "Estimate by lane", hidden: true },
      h("table", {}, h("thead", {}, h("tr", {}, ...["Lane", "Prompt", "Requests", "Cost"].map((name) => h("th", { scope: "col" }, name)))), this.rows),
      this.footnote);
    this.hint = h("p", { class: "note estimate-hint", hidden: true });
    this.element = h("div", { class: "estimate", id: "estimate", hidden: true }, this.line, this.table);
  }

  close() {
    clearTimeout(this.timer);
    this.requests.drop();
  }

  /** Fold the table; true if it was open. */
  fold() {
    const wasOpen = !this.table.hidden;
    this.#open(false);
    return wasOpen;
  }

  /** Something has changed: request an estimate once the typing pauses. */
  soon() {
    clearTimeout(this.timer);
    const length = promptBox()?.textLength ?? 0;
    this.timer = setTimeout(() => this.#ask(), PAUSE_MS + length * PAUSE_MS_PER_CHAR);
  }

  async #ask() {
    const signal = this.requests.begin();
    const next = this.next();
    if (!next) {
      this.oncategory("");
      return this.#hide();
    }
    try {
      const estimate = await ask("/kimi/estimate", { method: "POST", json: next, signal });
      if (signal.aborted) return undefined;
      this.oncategory(estimate.category ?? "");
      this.#show(estimate);
    } catch (error) {
      if (error.name !== "AbortError") this.#hide(); // sending will say what is wrong
    }
  }

  #hide() {
    this.element.hidden = true;
    this.hint.hidden = true;
    this.#open(false);
  }

  #show(estimate) {
    const { lanes } = estimate;
    this.element.hidden = !lanes.length;
    if (!lanes.length) return;
    const prompts = lanes.map((lane) => lane.prompt_tokens);
    const [fewest, most] = [Math.min(...prompts), Math.max(...prompts)];
    const requests = lanes.reduce((sum, lane) => sum + lane.requests, 0);
    const cost = money(estimate.usd, estimate.is_floor);
    const tokens = about(fewest) === about(most) ? `${about(most)} tokens` : `${about(fewest)}–${about(most).slice(1)} tokens`;
    const sent = requests > 1 ? `${mayStop(lanes) ? "at most " : ""}${requests} requests` : "";
    const images = lanes.some((lane) => lane.has_images) ? " + images" : "";
    setText(this.line, [tokens + images, [sent, cost].filter(Boolean).join(", ")].filter(Boolean).join(" · "));
    setAttribute(this.line, "title", "Size and cost of the next prompt with its history. Open for each lane.");
    this.rows.replaceChildren(...lanes.flatMap((lane) => [h("tr", {},
      h("th", { scope: "row" }, lane.label), h("td", {}, about(lane.prompt_tokens) + (lane.has_images ? " + images" : "")),
      h("td", {}, `${mayStop([lane]) ? "at most " : ""}${lane.requests}`),
      h("td", {}, `${mayStop([lane]) && lane.usd ? "at most " : ""}${money(lane.usd, lane.is_floor) || UNKNOWN}`)),
      ...(lane.presets ?? []).map((one) => presetRow(one, lane.preset))]));
    setText(this.footnote, footnote(estimate));
    setText(this.hint, lanes.map(({ hint }) => hint).filter(Boolean).join(" "));
    this.hint.hidden = !this.hint.textContent;
  }

  #toggle() {
    this.#open(this.table.hidden);
  }

  #open(open) {
    this.table.hidden = !open;
    setAttribute(this.line, "aria-expanded", String(open));
  }
}

/** Whether a heavy lane among these may be decided before all its trajectories were sent or have ended. */
function mayStop(lanes) {
  return lanes.some(({ preset }) => preset && preset !== "full");
}

/**
 * Heavy's estimate with one preset: requests, output tokens, cost from … to, and the time of its runs in the log.
 * `chosen`: the preset that it will run with.
 */
function presetRow({ preset, requests, tokens: output, usd: cost, seconds: time, n }, chosen) {
  const span = ([low, high], said) => (said(low) === said(high) ? said(high) : `${said(low)} to ${said(high)}`);
  const most = preset === "fast" ? "at most " : "";
  const took = time === null ? "time not known yet" : `${seconds(1000 * time)} (median of ${n})`;
  return h("tr", { class: "estimate-preset", "data-preset": preset, "data-chosen": preset === chosen },
    h("th", { scope: "row" }, preset === chosen ? `${preset} (chosen)` : preset), h("td", {}, took), h("td", {}, span(requests, String)),
    h("td", {}, [cost && `${most}${span(cost, (amount) => money(amount, false).replace("about ", ""))}`, output && `${most}${span(output, about)} tokens out`]
      .filter(Boolean).join(" · ") || UNKNOWN));
}

/** "about $0.19", "at least $0.02" without the output, "" without a price. */
function money(amount, isFloor) {
  if (amount === null || amount === undefined) return "";
  if (amount === 0) return "$0";
  const small = amount < 0.0001 ? usd(amount) : `$${Number(amount.toPrecision(2))}`;
  const rounded = amount < 0.01 ? small : `$${amount.toFixed(2)}`;
  return `${isFloor ? "at least" : "about"} ${rounded}`;
}

function footnote({ lanes, is_floor: isFloor, unpriced }) {
  const parts = ["Tokens are counted here, history and system prompt included; the provider's count may differ."];
  const images = lanes.some((lane) => lane.has_images);
  if (images) parts.push("The tokens of images are not known before the provider has counted them.");
  if (isFloor)
    parts.push(
      images
        ? "At least: what is known of it."
        : "At least: the prompt alone, because the length of this model's answers is not known yet.",
    );
  if (unpriced) parts.push(unpriced === 1 ? "One lane has no price." : `${unpriced} lanes have no price.`);
  return parts.join(" ");
}

/** The user's budget in the settings drawer: for a day and for each conversation. */
export class BudgetFields {
  /** `say(state, problem)` shows in the drawer whether saving worked. */
  constructor(say) {
    this.say = say;
    this.day = amountField("setting-budget-day");
    this.conversation = amountField("setting-budget-conversation");
    this.element = h("fieldset", { class: "budget-settings", onchange: (event) => this.#save(event) },
      h("legend", {}, "Your budget"),
      h("div", { class: "field-pair" },
        h("div", { class: "field" }, h("label", { for: this.day.id }, "USD a day"), this.day),
        h("div", { class: "field" }, h("label", { for: this.conversation.id }, "USD a conversation"), this.conversation)),
      h("p", { class: "note", id: "setting-budget-note" },
        "In all your conversations. You are asked before a prompt would exceed it. A day begins at 00:00 UTC."));
  }

  async load() {
    this.#show(await ask("/kimi/budget"));
  }

  #show({ day_usd: day, conversation_usd: conversation, server_day_usd: server }) {
    this.day.value = day ?? "";
    this.conversation.value = conversation ?? "";
    this.day.placeholder = server === null ? "no limit" : `${server} (this server's)`;
    this.conversation.placeholder = "no limit";
  }

  async #save(event) {
    event.stopPropagation(); // else the drawer would save the conversation's settings
    try {
      const budget = { day_usd: numeric(this.day), conversation_usd: numeric(this.conversation) };
      await ask("/kimi/budget", { method: "PUT", json: budget }); // its answer is not shown: the other field may be written in
      this.say("Saved. It applies from the next prompt on.", "");
      chat.emit("budget");
    } catch (error) {
      this.say("Not saved.", error.message);
    }
  }
}

function amountField(id) {
  return numberField(id, { min: "0", step: "any", "aria-describedby": "setting-budget-note" });
}

/**
 * The question before exceeding the budget: a sentence with the sum, "Send anyway" and "Not now", inside the composer.
 * It takes the focus as a whole, so that an Enter meant for the prompt presses no button; it is announced politely, and
 * Esc means "Not now".
 */
export class BudgetQuestion {
  constructor() {
    this.text = h("p", { role: "status" });
    this.buttons = h("div", { class: "question-buttons", hidden: true },
      button("Send anyway", () => this.#answer(true), { class: "question-yes" }),
      button("Not now", () => this.#answer(false), { class: "quiet" }));
    this.element = h("div", { class: "budget-question", role: "group", "aria-label": "Over budget", tabindex: "-1",
                              onkeydown: (event) => this.#key(event) }, this.text, this.buttons);
  }

  get open() {
    return !this.buttons.hidden;
  }

  /** Resolves to whether to send; to false if the question is closed or another one replaces it. */
  ask(sentence) {
    this.close();
    this.before = focusedElement();
    setText(this.text, sentence);
    this.buttons.hidden = false;
    this.element.focus();
    return new Promise((resolve) => (this.resolve = resolve));
  }

  /** Close the question; true if it was open. */
  close() {
    if (!this.open) return false;
    const had = this.element.contains(document.activeElement);
    this.buttons.hidden = true;
    setText(this.text, "");
    if (had) this.before?.focus();
    this.resolve(false);
    return true;
  }

  #answer(yes) {
    this.resolve(yes);
    this.close();
  }

  #key(event) {
    if (event.key !== "Escape") return;
    event.preventDefault(); // the page's own Esc would stop the lanes
    this.close();
  }
}
