/**
 * "Which model?": what the user's own finished benchmark runs say about prompts like the next one. A chip shows the kind of
 * prompt, which the server proposes by fixed rules (kimi_ui/bench/prompt_category.py) and the user may change; beside it
 * one line opens the figures. Without a result that still holds nothing is shown. Nothing is chosen by itself: a button
 * switches the conversation to the recommended lane.
 *
 * @typedef {{ state: string, lane: string, short: string, sentence: string, pairs: string[], not_compared: string[],
 *   figures: { lane: string, label: string, n: number, value: number | null, interval: [number, number] | null, unit: string }[] }} Advice
 */
import { chat } from "../base/bus.js";
import { button, h, setAttribute, setText } from "../base/dom.js";
import { UNKNOWN, count, seconds } from "../base/format.js";
import { ask } from "../base/http.js";
import { Newest } from "../base/newest.js";

const KEY = "kimi.priority";

export class WhichModel {
  constructor() {
    this.requests = new Newest();
    this.known = null; // the server's advice for this conversation's settings; null: there is none
    this.proposed = ""; // the category of the prompt in the box; empty: no prompt
    this.chosen = ""; // the user's, until the box is empty
    this.preferred = stored((storage) => storage.getItem(KEY)) ?? ""; // the user's priority; empty: the first with a result
    this.kind = h("select", {
      class: "quiet which-kind",
      id: "which-kind",
      "aria-label": "Kind of prompt",
      title: "The kind of prompt, by fixed rules on its text. Change it if it is another.",
      onchange: () => this.#choose(),
    });
    this.line = h("button", {
      type: "button",
      class: "quiet which-line",
      id: "which-line",
      "aria-expanded": "false",
      "aria-controls": "which-panel",
      onclick: () => this.#open(this.panel.hidden),
    });
    this.panel = h("div", {
      id: "which-panel",
      class: "which-panel",
      role: "region",
      "aria-label": "Which model?",
      hidden: true,
    });
    this.element = h(
      "div",
      { class: "which", id: "which", hidden: true },
      h("span", { class: "which-chip" }, this.kind),
      this.line,
      this.panel,
    );
    this.ends = ["conversation", "settings", "benchmarked"].map((name) => chat.on(name, () => this.#load()));
  }

  close() {
    this.requests.drop();
    for (const end of this.ends) end();
  }

  /** Fold the panel; true if it was open. */
  fold() {
    const wasOpen = !this.panel.hidden;
    this.#open(false);
    return wasOpen;
  }

  /** The category that the server proposes for the prompt in the box; empty: there is no prompt. */
  follow(category) {
    this.proposed = category;
    if (!category) this.chosen = "";
    this.#show();
  }

  async #load() {
    const signal = this.requests.begin();
    try {
      const found = await ask(`/kimi/advice?c=${encodeURIComponent(chat.conversation)}`, { signal });
      if (signal.aborted) return;
      this.known = found.advice ? found : null;
    } catch (error) {
      if (error.name === "AbortError") return;
      this.known = null;
    }
    this.#show();
  }

  /** Of the shown kind, by priority. @returns {Record<string, Advice>} */
  get #ofKind() {
    return this.known?.advice[this.chosen || this.proposed] ?? {};
  }

  get #priority() {
    const [first] = Object.entries(this.#ofKind).find(([, one]) => one.state !== "silent") ?? ["accuracy"];
    return this.preferred in this.#ofKind ? this.preferred : first;
  }

  /** @returns {Advice} */
  get #advice() {
    return this.#ofKind[this.#priority];
  }

  #show() {
    this.element.hidden = !this.known || !this.proposed;
    if (this.element.hidden) return this.#open(false);
    const { categories } = this.known;
    if (this.kind.options.length !== categories.length)
      this.kind.replaceChildren(...categories.map(({ id, label }) => h("option", { value: id }, label)));
    this.kind.value = this.chosen || this.proposed;
    const said = Object.values(this.#ofKind).some((one) => one.state !== "silent");
    this.line.hidden = !said;
    if (!said) return this.#open(false);
    setText(this.line, this.#advice.short || "too little measured");
    setAttribute(this.line, "title", this.#advice.sentence);
    return this.panel.hidden || this.#fill();
  }

  #choose() {
    this.chosen = this.kind.value;
    this.#show();
  }

  #open(open) {
    this.panel.hidden = !open;
    setAttribute(this.line, "aria-expanded", String(open));
    if (open) this.#fill();
  }

  #fill() {
    const advice = this.#advice;
    const priorities = this.known.priorities.map(({ id, label }) =>
      h(
        "button",
        {
          type: "button",
          class: "quiet",
          "aria-pressed": String(id === this.#priority),
          "data-priority": id,
          onclick: () => this.#prefer(id),
        },
        label,
      ),
    );
    this.problem = h("p", { class: "composer-note", role: "alert", hidden: true });
    const parts = [
      h("div", { class: "which-priorities", role: "group", "aria-label": "What matters most" }, ...priorities),
      h("p", { class: "which-sentence", role: "status" }, advice.sentence),
      advice.figures.length ? figures(advice.figures) : null,
      list("", advice.pairs),
      this.#switch(advice),
      this.problem,
      list("Not compared", advice.not_compared),
      list("Your blind votes in chat, counted apart", this.known.votes),
      h("p", { class: "note" }, "From your own finished benchmark runs of the lanes as they are configured for this conversation."),
    ];
    this.panel.replaceChildren(...parts.filter(Boolean));
  }

  /** Switch to the recommended lane only, or back to all. */
  #switch({ lane }) {
    const { lanes } = this.known;
    const on = lanes.filter((one) => one.on);
    if (on.length === 1 && lanes.length > 1 && (!lane || on[0].id === lane))
      return button("Use all lanes again", () => this.#use(lanes.map((one) => one.id)), { class: "which-use", id: "which-use" });
    const label = lanes.find((one) => one.id === lane)?.label;
    return label ? button(`Use only ${label}`, () => this.#use([lane]), { class: "which-use", id: "which-use" }) : null;
  }

  async #use(on) {
    const url = `/kimi/settings?c=${encodeURIComponent(chat.conversation)}`;
    try {
      const { settings, lanes } = await ask(url);
      const chosen = Object.fromEntries(lanes.map(({ id }) => [id, { ...settings.lanes?.[id], on: on.includes(id) }]));
      await ask(url, { method: "PUT", json: { system: settings.system ?? "", lanes: chosen } });
      chat.emit("settings");
    } catch (error) {
      this.problem.hidden = false;
      setText(this.problem, error.message);
    }
  }

  #prefer(priority) {
    this.preferred = priority;
    stored((storage) => storage.setItem(KEY, priority));
    this.#show();
    /** @type {HTMLElement | null} */ (this.panel.querySelector(`[data-priority="${priority}"]`))?.focus();
  }
}

function figures(rows) {
  const head = rows[0].unit === "share" ? "Right" : "Median";
  return h("table", {},
    h("thead", {}, h("tr", {}, ...["Lane", head, "95 % interval", "Cases"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, ...rows.map(({ label, n, value, interval, unit }) => {
      const said = (one) => (one === null ? UNKNOWN : unit === "share" ? `${Math.round(100 * one)} %` : seconds(one));
      return h("tr", {}, h("th", { scope: "row" }, label), h("td", {}, said(value)),
        h("td", {}, interval ? `${said(interval[0])} to ${said(interval[1])}` : UNKNOWN), h("td", {}, count(n)));
    })));
}

function list(heading, sentences) {
  if (!sentences.length) return null;
  return h("div", { class: "which-list" }, heading && h("h4", {}, heading), h("ul", {}, ...sentences.map((one) => h("li", {}, one))));
}

/** Use localStorage, which a browser may refuse; then the priority is not remembered. */
function stored(use) {
  try {
    return use(localStorage);
  } catch {
    return null;
  }
}
