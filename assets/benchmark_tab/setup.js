/** The form of a new run: which lanes and cases, how often, for how much; and what that will take. */
import { h, laneAccent, numberField, numeric, setText } from "../base/dom.js";
import { ask } from "../base/http.js";
import { Newest } from "../base/newest.js";
import { priceLine } from "../lane/cards.js";

const SIZES = [
  ["quick", "Quick", "a first look: it can show differences of about 40 points and more in right answers"],
  ["full", "Full", "about 15 points and more over all cases, 30 within a category"],
  ["chosen", "Only these categories", ""],
];

export class Setup {
  /** `onstart(run)` starts a run as described; it resolves to a sentence if it was refused. */
  constructor(state, onstart) {
    this.state = state;
    this.onstart = onstart;
    this.requests = new Newest();
    this.lanes = state.lanes.map((lane) =>
      this.#check(lane.label, true, { value: lane.id, style: `--lane: ${laneAccent(lane.index)}` }, laneNote(lane)),
    );
    this.sizes = SIZES.map(([id, , note]) =>
      h("input", {
        type: "radio",
        name: "bench-size",
        value: id,
        id: `bench-size-${id}`,
        checked: id === "quick",
        "aria-describedby": note ? `bench-size-${id}-note` : null,
      }),
    );
    this.categories = state.categories.map(({ id, label, cases }) =>
      this.#check(`${label} (${cases})`, false, { value: id }),
    );
    this.epochs = numberField("bench-epochs", { min: "1", max: String(state.max_epochs), step: "1" });
    this.budget = numberField("bench-budget", { min: "0", step: "any", placeholder: "no limit" });
    this.estimate = h("p", { class: "bt-estimate", id: "bench-estimate", role: "status" });
    this.problem = h("p", { class: "bt-problem", role: "alert", hidden: true });
    this.start = h("button", { type: "button", class: "primary", id: "bench-start", onclick: () => this.#start() }, "Start the benchmark");
    const categories = h("div", { class: "bt-checks bt-categories" }, ...this.categories.map((one) => one.element));
    this.form = h("form", { class: "bt-form", onsubmit: (event) => event.preventDefault(), onchange: () => this.#changed(), oninput: () => this.#changed() },
      h("fieldset", {}, h("legend", {}, "Lanes"), h("div", { class: "bt-checks" }, ...this.lanes.map((one) => one.element))),
      h("fieldset", {}, h("legend", {}, "Cases"),
        ...SIZES.map(([id, label, note], at) => h("div", { class: "bt-size" }, h("label", { class: "bt-check" }, this.sizes[at], `${label}${this.#cases(id)}`),
          note ? h("span", { class: "note", id: `bench-size-${id}-note` }, note) : null)), categories),
      h("div", { class: "bt-fields" },
        h("div", { class: "field" }, h("label", { for: "bench-epochs" }, "Times each case is sent"), this.epochs),
        h("div", { class: "field" }, h("label", { for: "bench-budget" }, "Stop before it costs more than (USD)"), this.budget)));
    this.element = h("section", { class: "bt-section", "aria-label": "A new run" },
      h("details", { class: "bt-choose", open: state.runs.length > 0 }, h("summary", {}, "Lanes, cases and budget"), this.form),
      this.estimate, h("p", { class: "note" }, state.sandbox), this.problem,
      h("div", { class: "bt-actions" }, this.start));
    this.#changed();
  }

  #check(label, on, props, note = "") {
    const input = h("input", { type: "checkbox", value: props.value });
    input.checked = on;
    return {
      input,
      element: h(
        "label",
        { class: "bt-check", style: props.style },
        input,
        h("span", {}, label),
        note ? h("span", { class: "note" }, note) : null,
      ),
    };
  }

  #cases(size) {
    const n = { quick: this.state.n_quick, full: this.state.n_full }[size];
    return n ? `, ${n} cases` : "";
  }

  get #run() {
    const size = this.sizes.find((one) => one.checked).value;
    const ticked = (boxes) => boxes.filter(({ input }) => input.checked).map(({ input }) => input.value);
    return {
      lanes: ticked(this.lanes),
      size,
      categories: size === "chosen" ? ticked(this.categories) : [],
      epochs: numeric(this.epochs),
      budget_usd: numeric(this.budget),
    };
  }

  async #changed() {
    const run = this.#run;
    this.form.toggleAttribute("data-chosen", run.size === "chosen");
    this.epochs.placeholder = String(this.state.epochs[run.size]);
    const signal = this.requests.begin();
    try {
      const { sentence } = await ask("/kimi/benchmark/estimate", { method: "POST", json: run, signal });
      if (signal.aborted) return;
      setText(this.estimate, sentence);
      this.#say("");
    } catch (error) {
      if (error.name === "AbortError") return;
      setText(this.estimate, "");
      this.#say(error.message);
    }
  }

  async #start() {
    this.start.disabled = true;
    this.#say((await this.onstart(this.#run)) ?? "");
    this.start.disabled = false;
  }

  #say(sentence) {
    this.problem.hidden = !sentence;
    setText(this.problem, sentence);
  }
}

function laneNote({ model, stand_in: standIn, price, of }) {
  return [model, standIn ? "stand-in" : "", priceLine(price), of ? `heavy on ${of}` : ""].filter(Boolean).join(" · ");
}
