/**
 * The Lanes tab: one row per lane with its provider, the result of a test and the provider's models; then how to get
 * the real models. Drawn when the tab is first shown, and again on "Look again" and after a pull.
 */
import { button, copyFrom, h, laneAccent, setText } from "../base/dom.js";
import { count } from "../base/format.js";
import { ask, rooted } from "../base/http.js";
import { commandLine, howToGet, priceLine } from "../lane/cards.js";
import { PullCard } from "../lane/pull.js";

const FINDINGS = [
  ["reachable", "reachable", "not reachable"],
  ["key_valid", "key valid", "key not accepted"],
  ["model_present", "model there", "model not there"],
  ["thinking", "shows its thinking", "does not think"],
];
const SHOWN = 60; // models of a long list; searching finds the others

export function mount(element) {
  const tab = new LanesTab(element.querySelector('[data-kimi="lanes-tab"]'));
  new IntersectionObserver((entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    tab.load();
  }).observe(element);
}

class LanesTab {
  constructor(element) {
    this.status = h("p", { class: "note", role: "status" }, "Looking up what serves each lane…");
    this.body = h("div", { class: "lt-body" });
    this.again = button("Look again", () => this.load(), { face: "Look again", class: "lt-button" });
    element.replaceChildren(h("div", { class: "lt" },
      h("div", { class: "lt-top" }, h("h2", {}, "Lanes"), this.status, this.again), this.body));
  }

  async load() {
    this.again.disabled = true;
    try {
      this.show(await ask("/kimi/lanes"));
    } catch (error) {
      setText(this.status, error.message);
    } finally {
      this.again.disabled = false;
    }
  }

  show(state) {
    const standIns = state.lanes.filter((lane) => lane.is_stand_in).length;
    setText(this.status, standIns ? `${standIns} of ${state.lanes.length} lanes are answered by a stand-in.` : "All lanes are real.");
    const rows = state.lanes.map((lane) => new LaneRow(lane, state, () => this.load()));
    this.body.replaceChildren(
      ...(state.problem ? [problemCard(state.problem)] : []),
      h("ul", { class: "lt-lanes" }, ...rows.map((row) => row.element)),
      ...(state.lanes_path ? [] : [sourcesBlock(state)]),
      fileBlock(state),
    );
    for (const row of rows) row.test(false);
  }
}

class LaneRow {
  constructor(lane, state, reload) {
    this.lane = lane;
    this.reload = reload;
    this.found = h("p", { class: "lt-found", role: "status" }, "Testing…");
    this.trouble = h("div", {});
    this.testButton = button(`Test ${lane.label}`, () => this.test(false), { face: "Test", class: "lt-button" });
    this.probeButton = button(`Test ${lane.label} with one request`, () => this.test(true), { face: "Test with a request", class: "lt-button" });
    this.probeButton.title = "Sends one tiny request, paid for like any other, and shows how thinking arrives";
    const actions = h("div", { class: "lt-actions" }, this.testButton, this.probeButton);
    const models = lane.has_models ? new Models(lane, state) : null;
    if (models) actions.append(models.toggle);
    this.element = h("li", { class: "lt-lane", style: `--lane: ${laneAccent(lane.index)}`, "data-lane-row": lane.lane, "data-ok": "" },
      h("div", { class: "lt-head" }, h("h3", {}, lane.label), h("code", { class: "lt-id" }, lane.lane),
        h("span", { class: lane.is_stand_in ? "badge" : "lt-real" }, lane.is_stand_in ? "Stand-in" : "Real")),
      h("dl", { class: "lt-facts" },
        ...fact("Served by", lane.via), ...fact("Model", lane.model), ...fact("Price", priceLine(lane.price))),
      h("p", {}, lane.why),
      lane.why_not_better ? h("p", { class: "lt-why-not" }, lane.why_not_better) : null,
      lane.how_to_get_real ? h("div", { class: "lt-line" }, h("span", { class: "note" }, howToGet(lane.stand_in_for || lane.label, lane.how_to_get_real)), commandLine(lane.how_to_get_real)) : null,
      lane.is_stand_in && lane.can_pull ? this.#pull() : null,
      this.found, this.trouble, actions, models?.panel ?? null);
  }

  #pull() {
    return new PullCard({ lane: this.lane.lane, model: this.lane.can_pull, ondone: this.reload }).element;
  }

  async test(probe) {
    this.testButton.disabled = this.probeButton.disabled = true;
    setText(this.found, probe ? "Sending one tiny request…" : "Testing…");
    try {
      const query = probe ? "?probe=1" : "";
      this.#showCheck(await ask(`/kimi/lanes/${encodeURIComponent(this.lane.lane)}/check${query}`, { method: "POST" }));
    } catch (error) {
      setText(this.found, error.message);
    } finally {
      this.testButton.disabled = this.probeButton.disabled = false;
    }
  }

  #showCheck(check) {
    const words = FINDINGS.filter(([name]) => check[name] !== null && check[name] !== undefined)
      .map(([name, yes, no]) => (check[name] ? yes : no));
    if (check.ok && (check.thinking ?? null) === null) words.push("whether it shows its thinking: test with a request");
    if (check.dialect) words.push(`thinking arrives as ${check.dialect}`);
    if (check.context_tokens) words.push(`context of ${count(check.context_tokens)} tokens`);
    if (check.trained_tokens) words.push(`trained for ${count(check.trained_tokens)}`);
    if (typeof check.latency_ms === "number") words.push(`answered in ${Math.round(check.latency_ms)} ms`);
    this.element.dataset.ok = String(check.ok);
    setText(this.found, `${check.ok ? "✓" : "✗"} ${words.join(" · ") || (check.ok ? "ready" : "would not answer")}`);
    this.trouble.replaceChildren(...(check.problem
      ? [h("div", { class: "card card-failure" }, h("p", { class: "card-title" }, check.problem),
          check.remedy ? h("p", {}, check.remedy) : null, check.command ? commandLine(check.command) : null,
          check.model_present === false && this.lane.can_pull ? this.#pull() : null)]
      : check.remedy ? [h("p", { class: "note" }, check.remedy)] : []),
      ...(check.warnings ?? []).map((words) => h("p", { class: "note lt-warning" }, words)));
  }
}

/** The provider's own list of models; choosing one shows the lanes file that uses it. */
class Models {
  constructor(lane, state) {
    this.lane = lane;
    this.state = state;
    const id = `lt-models-${lane.lane}`;
    this.toggle = h("button", { type: "button", class: "lt-button", "aria-expanded": "false", "aria-controls": id, onclick: () => this.open() }, "Models");
    this.search = h("input", { type: "search", placeholder: "Search models", "aria-label": `Search models of ${lane.label}`, oninput: () => this.list() });
    this.items = h("ul", { class: "lt-models" });
    this.status = h("p", { class: "note", role: "status" });
    this.chosen = h("div", {});
    this.panel = h("div", { class: "lt-panel", id, hidden: true }, this.search, this.items, this.status, this.chosen);
  }

  async open() {
    this.panel.hidden = !this.panel.hidden;
    this.toggle.setAttribute("aria-expanded", String(!this.panel.hidden));
    if (this.panel.hidden || this.models) return;
    setText(this.status, "Requesting the provider's models…");
    try {
      this.models = (await ask(`/kimi/lanes/${encodeURIComponent(this.lane.lane)}/models`)).models;
      this.list();
    } catch (error) {
      setText(this.status, error.message);
    }
  }

  list() {
    if (!this.models) return;
    const words = this.search.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    const found = this.models.filter((model) => words.every((word) => model.toLocaleLowerCase().includes(word)));
    this.items.replaceChildren(...found.slice(0, SHOWN).map((model) =>
      h("li", {}, h("button", { type: "button", "aria-pressed": String(model === this.lane.model), onclick: () => this.choose(model) }, model))));
    setText(this.status, found.length > SHOWN ? `${count(found.length - SHOWN)} more: search to find them.` : found.length ? "" : "No model of that name.");
  }

  async choose(model) {
    for (const item of this.items.querySelectorAll("button")) item.setAttribute("aria-pressed", String(item.textContent === model));
    const query = new URLSearchParams({ lane: this.lane.lane, model });
    this.chosen.replaceChildren(
      h("p", {}, `To use ${model} in this lane, save this as `, h("code", {}, this.state.lanes_path || this.state.default_lanes_path),
        ". It takes effect at once. For one conversation only, choose it in the chat's settings."),
      codeBlock(await fileText(query)));
  }
}

function sourcesBlock(state) {
  const rows = state.sources.map((source) => h("tr", {},
    h("th", { scope: "row" }, source.name),
    h("td", {}, source.gives),
    h("td", {}, priceLine(source.price)),
    h("td", {}, source.is_set ? h("span", { class: "lt-set" }, source.name === "Ollama" ? "✓ running" : "✓ set") : null, commandLine(source.line))));
  return h("section", { class: "lt-section" },
    h("h3", {}, "Where to get the real models"),
    h("p", {}, "Put a key's line into ", h("code", {}, state.env_path),
      " or into the environment; it takes effect with the next prompt. The first one that is set serves Kimi. Keys are never typed into this page and never shown by it."),
    h("div", { class: "lt-scroll", tabindex: "0", role: "region", "aria-label": "Where to get the real models" },
      h("table", {}, h("thead", {}, h("tr", {}, ...["Source", "Gives", "Price", "Line to set or run"].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, ...rows))));
}

function fileBlock(state) {
  const place = h("div", {});
  const details = h("details", { class: "lt-section" }, h("summary", {}, state.lanes_path ? "The current lanes as a lanes file" : "Lanes of your own"),
    h("p", {}, state.lanes_path ? "These lanes come from " : "Any OpenAI-compatible or Ollama model can be a lane, 1 to 6 of them. Begin with the current ones, saved as ",
      h("code", {}, state.lanes_path || state.default_lanes_path), state.lanes_path ? ". Changes take effect at once." : "; it takes effect at once."),
    place);
  details.addEventListener("toggle", async () => {
    if (details.open) place.replaceChildren(codeBlock(await fileText(new URLSearchParams())));
  });
  return details;
}

async function fileText(query) {
  try {
    const response = await fetch(rooted(`/kimi/lanes-file?${query}`));
    if (response.ok) return await response.text();
  } catch { /* reported below */ }
  return "# The server did not answer. Try again once it runs.";
}

function codeBlock(text) {
  const copy = button("Copy the file", () => copyFrom(text, copy), { face: "Copy", class: "quiet" });
  return h("div", { class: "lt-code" }, copy, h("pre", { tabindex: "0" }, text));
}

function problemCard(problem) {
  return h("div", { class: "card card-failure", role: "alert" },
    h("p", { class: "card-title" }, "The lanes file has a mistake; the lanes below are those from before."), h("p", {}, problem));
}

function fact(name, value) {
  return [h("dt", {}, name), h("dd", {}, value)];
}
