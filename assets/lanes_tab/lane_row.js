/** A lane's card: what serves it, the result of a test, and what can be changed of it. */
import { button, h, laneAccent, setText } from "../base/dom.js";
import { count } from "../base/format.js";
import { ask } from "../base/http.js";
import { ModelSearch } from "../base/model_search.js";
import { commandLine, howToGet, priceLine } from "../lane/cards.js";
import { PullCard } from "../lane/pull.js";
import { codeBlock, fileText } from "./file_text.js";
import { changeModel, modelsButton, modelsOf, thinkingSwitch } from "./lane_switches.js";

export const MOST_LANES = 6; // in use

const FINDINGS = [
  ["reachable", "reachable", "not reachable"],
  ["key_valid", "key valid", "key not accepted"],
  ["model_present", "model there", "model not there"],
  ["thinking", "shows its thinking", "does not think"],
];

export class LaneRow {
  /** `tab`: makes the changes (lanes_tab.js). */
  constructor(lane, state, tab) {
    this.lane = lane;
    this.tab = tab;
    this.mayEdit = !state.editing.not_here;
    this.state = state;
    this.found = h("p", { class: "lt-found", role: "status" }, "Testing…");
    this.trouble = h("div", {});
    this.problem = h("p", { class: "lt-problem", role: "alert", hidden: true });
    this.testButton = button(`Test ${lane.label}`, () => this.test(false), { face: "Test", class: "lt-button" });
    this.probeButton = button(`Test ${lane.label} with one request`, () => this.test(true), { face: "Test with a request", class: "lt-button" });
    this.probeButton.title = "Sends one tiny request, paid for like any other, and shows how thinking arrives";
    const models = lane.has_models ? this.#models() : null;
    const form = this.mayEdit ? tab.formOf(lane.lane, lane.label, state.editing.values[lane.lane] ?? {}) : null;
    this.element = h(
      "li",
      {
        class: form ? "lt-lane lt-editing" : "lt-lane",
        style: `--lane: ${laneAccent(lane.index)}`,
        "data-lane-row": lane.lane,
        "data-ok": "",
      },
      h(
        "div",
        { class: "lt-head" },
        h("h3", {}, lane.label),
        h("code", { class: "lt-id" }, lane.lane),
        h("span", { class: lane.is_stand_in ? "badge" : "lt-real" }, lane.is_stand_in ? "Stand-in" : "Real"),
      ),
      h(
        "div",
        { class: "lt-switches" },
        models?.toggle ?? null,
        this.mayEdit
          ? thinkingSwitch(lane, `lt-thinking-${lane.index}`, (changes, words) => this.#change(changes, words))
          : null,
      ),
      models?.element ?? null,
      this.problem,
      h("dl", { class: "lt-facts" },
        ...fact("Served by", lane.via), ...fact("Model", lane.model), ...fact("Price", priceLine(lane.price))),
      h("p", {}, lane.why),
      lane.why_not_better ? h("p", { class: "lt-why-not" }, lane.why_not_better) : null,
      lane.how_to_get_real
        ? h(
            "div",
            { class: "lt-line" },
            h("span", { class: "note" }, howToGet(lane.stand_in_for || lane.label, lane.how_to_get_real)),
            commandLine(lane.how_to_get_real),
          )
        : null,
      lane.is_stand_in && lane.can_pull ? this.#pull() : null,
      this.found, this.trouble, h("div", { class: "lt-actions" }, this.testButton, this.probeButton),
      form ? form.element : this.mayEdit ? this.#editing() : null);
  }

  /** The provider's own models; choosing one saves it, or shows the lanes file where this page may not. */
  #models() {
    const { lane } = this;
    const after = h("div", {});
    const search = new ModelSearch({
      id: `lt-models-${lane.lane}`, label: lane.label, toggle: modelsButton(lane.label, { "data-focus": `${lane.lane}/models` }),
      list: () => modelsOf(lane),
      onchoose: async (model) => {
        search.toggle.focus();
        if (this.mayEdit) return changeModel(lane, model, (changes, words) => this.#change(changes, words));
        const query = new URLSearchParams({ lane: lane.lane, model });
        return after.replaceChildren(
          h("p", {}, `To use ${model} in this lane, save this as `, h("code", {}, this.state.lanes_path || this.state.default_lanes_path),
            ". It takes effect at once. For one conversation only, choose it in the chat's settings."),
          codeBlock(await fileText(query)));
      },
    });
    search.mark(lane.model);
    search.element.append(after);
    return search;
  }

  #editing() {
    const { lane, label, index } = this.lane;
    const last = this.state.lanes.length - 1;
    const { use } = this.state.editing;
    const one = (name, face, focus, onclick, disabled = false) =>
      button(name, onclick, { face, class: "lt-button", "data-focus": `${lane}/${focus}`, disabled });
    return h(
      "div",
      { class: "lt-actions lt-edit", role: "group", "aria-label": `Change the lane ${label}` },
      one(`Edit ${label}`, "Edit", "edit", () => this.tab.edit(lane)),
      one(
        `Duplicate ${label}`,
        "Duplicate",
        "duplicate",
        () => this.#change([{ op: "duplicate", lane }], `Duplicated ${label}.`),
        this.state.lanes.length >= MOST_LANES,
      ),
      one(
        `Move ${label} before the lane before it`,
        "←",
        "earlier",
        () => this.#change([{ op: "move", lane, to: index - 1 }], `${label} is lane ${index} now.`),
        index === 0,
      ),
      one(
        `Move ${label} behind the next lane`,
        "→",
        "later",
        () => this.#change([{ op: "move", lane, to: index + 1 }], `${label} is lane ${index + 2} now.`),
        index === last,
      ),
      one(
        `Remove ${label}`,
        "Remove",
        "remove",
        () =>
          this.#change(
            [{ op: "remove", lane }],
            use
              ? `Removed ${label} from the set; it is still in the file.`
              : `Removed ${label}. Its conversations and figures stay. Undo puts it back.`,
          ),
        last === 0,
      ),
    );
  }

  async #change(changes, words) {
    const error = await this.tab.change(changes, words);
    if (!error || !this.element.isConnected) return;
    this.problem.hidden = false;
    setText(this.problem, error.message);
  }

  #pull() {
    return new PullCard({ lane: this.lane.lane, model: this.lane.can_pull, ondone: () => this.tab.load(true) }).element;
  }

  /** Test the lane, or show what a test of the same lane has found: `known`. */
  async test(probe, known = null) {
    const what = JSON.stringify(this.lane);
    if (known?.has(what)) return this.#showCheck(known.get(what));
    this.testButton.disabled = this.probeButton.disabled = true;
    setText(this.found, probe ? "Sending one tiny request…" : "Testing…");
    try {
      const query = probe ? "?probe=1" : "";
      const check = await ask(`/kimi/lanes/${encodeURIComponent(this.lane.lane)}/check${query}`, { method: "POST" });
      this.tab.checks.set(what, check);
      this.#showCheck(check);
    } catch (error) {
      setText(this.found, error.message);
    } finally {
      this.testButton.disabled = this.probeButton.disabled = false;
    }
  }

  #showCheck(check) {
    this.element.dataset.ok = String(check.ok);
    setText(this.found, foundWords(check));
    const servers = Object.entries(check.servers ?? {});
    this.trouble.replaceChildren(
      ...(servers.length
        ? [h("ul", { class: "lt-servers", "aria-label": `Servers of ${this.lane.label}` }, ...servers.map(serverItem))]
        : []),
      ...(check.problem
      ? [h("div", { class: "card card-failure" }, h("p", { class: "card-title" }, check.problem),
          check.remedy ? h("p", {}, check.remedy) : null, check.command ? commandLine(check.command) : null,
          check.model_present === false && this.lane.can_pull ? this.#pull() : null)]
      : check.remedy ? [h("p", { class: "note" }, check.remedy)] : []),
      ...(check.warnings ?? []).map((words) => h("p", { class: "note lt-warning" }, words)));
  }
}

function serverItem([server, check]) {
  return h("li", { "data-ok": String(check.ok) }, h("code", {}, server), ` ${foundWords(check)}${check.problem ? `. ${check.problem}` : ""}`);
}

/** What a test has found, in one line. */
function foundWords(check) {
  const words = FINDINGS.filter(([name]) => check[name] !== null && check[name] !== undefined)
    .map(([name, yes, no]) => (check[name] ? yes : no));
  if (check.ok && (check.thinking ?? null) === null) words.push("whether it shows its thinking: test with a request");
  if (check.dialect) words.push(`thinking arrives as ${check.dialect}`);
  if (check.context_tokens) words.push(`context of ${count(check.context_tokens)} tokens`);
  if (check.trained_tokens) words.push(`trained for ${count(check.trained_tokens)}`);
  if (typeof check.latency_ms === "number") words.push(`answered in ${Math.round(check.latency_ms)} ms`);
  return `${check.ok ? "✓" : "✗"} ${words.join(" · ") || (check.ok ? "ready" : "would not answer")}`;
}

function fact(name, value) {
  return [h("dt", {}, name), h("dd", {}, value)];
}
