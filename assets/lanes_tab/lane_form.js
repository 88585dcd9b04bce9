/**
 * The form of a lane, made of the fields of its provider's lanes as the server describes them (kimi_ui/lanes_form.py).
 * Only changed fields are sent. A mistake has the sentence of the lanes file's reader and is shown at its field.
 */
import { button, h, setAttribute, setText } from "../base/dom.js";
import { ask } from "../base/http.js";
import { ModelSearch } from "../base/model_search.js";
import { modelsButton } from "./lane_switches.js";

const FIRST = ["id", "label", "provider"];
const NEW_LANE = { provider: "openai" };

export class LaneForm {
  /**
   * `lane`: the lane's id, empty for a new one. `values`: its keys as texts; `draft`: texts of a form that could not be
   * saved. `onsave(values)` saves it, and calls `say` if that fails; `oncancel()`.
   */
  constructor({ lane, label, values, draft = null, fields, lanes, onsave, oncancel }) {
    this.lane = lane;
    this.old = lane ? values : {};
    this.texts = { ...(lane ? values : NEW_LANE), ...draft };
    this.fields = fields;
    this.lanes = lanes;
    this.onsave = onsave;
    this.prefix = `lt-form-${lane || "new"}`;
    this.inputs = new Map();
    this.problem = h("p", { class: "lt-problem", role: "alert", hidden: true });
    this.rows = h("div", { class: "lt-fields" });
    this.more = h("div", { class: "lt-fields" });
    this.save = h("button", { type: "submit", class: "lt-button lt-primary" }, lane ? "Save" : "Add");
    this.foot = h("div", { class: "lt-actions" }, this.save, button("Cancel", oncancel, { face: "Cancel", class: "lt-button" }));
    this.element = h("form", { class: "lt-form", novalidate: true, "aria-label": lane ? `Edit ${label}` : "A new lane",
                               onsubmit: (event) => this.#submit(event), onkeydown: (event) => event.key === "Escape" && this.#cancel(event, oncancel) },
      this.rows, h("details", { class: "lt-more" }, h("summary", {}, "More keys"), this.more), this.problem, this.foot);
    this.#draw();
  }

  focus() {
    (this.inputs.get(this.lane ? "label" : "provider") ?? this.inputs.get("id"))?.focus();
  }

  /** The changed fields as texts; a field that the chosen provider does not have is not sent. */
  get changes() {
    const changed = {};
    for (const [key, input] of this.inputs) if (input.value !== (this.old[key] ?? "")) changed[key] = input.value;
    return changed;
  }

  /** Everything that is in the form now. */
  get all() {
    return Object.fromEntries([...this.inputs].map(([key, input]) => [key, input.value]));
  }

  #draw() {
    this.foot.before(this.problem);
    const found = this.fields[this.texts.provider] ?? this.fields[NEW_LANE.provider];
    const sorted = [...FIRST.map((key) => found.find((field) => field.key === key)).filter(Boolean), ...found.filter(({ key }) => !FIRST.includes(key))];
    this.inputs.clear();
    const isFirst = (field) =>
      FIRST.includes(field.key) ||
      field.needed ||
      this.texts[field.key] ||
      ["model", "base_url", "api_key_env", "gguf", "of"].includes(field.key);
    this.rows.replaceChildren(...sorted.filter(isFirst).map((field) => this.#row(field)));
    this.more.replaceChildren(...sorted.filter((field) => !isFirst(field)).map((field) => this.#row(field)));
    this.more.parentElement.hidden = !this.more.children.length;
  }

  #row(field) {
    const { key, meaning, needed } = field;
    const id = `${this.prefix}-${key}`;
    const input = this.#input(field, { id, name: key, "aria-describedby": meaning ? `${id}-note` : null, required: needed });
    input.value = this.texts[key] ?? "";
    if (field.kind === "lines") showLines(input);
    input.addEventListener("input", () => this.#typed(key, input));
    this.inputs.set(key, input);
    const models = key === "model" ? this.#models(id, input) : [];
    return h("div", { class: field.kind === "table" || field.is_long ? "lt-field lt-wide" : "lt-field" },
      h("label", { for: id }, h("code", {}, key), needed ? h("span", { class: "note" }, " needed") : null),
      input, ...models, meaning ? h("p", { class: "note", id: `${id}-note` }, meaning) : null);
  }

  #input(field, props) {
    if (field.key === "provider") return select(props, Object.keys(this.fields).map((name) => [name, name]));
    if (field.key === "of") return select(props, [["", ""], ...this.lanes.map(({ lane, label }) => [lane, label])]);
    if (field.kind === "choice")
      return select(props, [
        ["", field.default ? `left out: ${field.default}` : "left out"],
        ...field.choices.map((word) => [word, word]),
      ]);
    if (field.is_long) return h("textarea", { ...props, rows: "3" });
    if (field.kind === "lines") return h("textarea", { ...props, class: "lt-lines", autocomplete: "off", spellcheck: "false" });
    return h("input", { type: "text", autocomplete: "off", spellcheck: "false", placeholder: field.default, ...props });
  }

  #models(id, input) {
    const label = this.texts.label || "this lane";
    const search = new ModelSearch({
      id: `${id}-list`, label, toggle: modelsButton(label),
      list: () => ask("/kimi/lanes/models", { method: "POST", json: { values: this.all } }),
      onchoose: (model) => {
        input.value = model;
        this.#typed("model", input);
        search.mark(model);
        input.focus();
      },
    });
    return [search.toggle, search.element];
  }

  #typed(key, input) {
    this.texts[key] = input.value;
    if (input.classList.contains("lt-lines")) showLines(input);
    if (input.hasAttribute("aria-invalid")) {
      input.removeAttribute("aria-invalid");
      this.problem.hidden = true;
    }
    if (key !== "provider") return;
    this.#draw();
    this.inputs.get("provider").focus();
  }

  async #submit(event) {
    event.preventDefault();
    this.save.disabled = true;
    await this.onsave(this.lane ? this.changes : this.all);
    this.save.disabled = false;
  }

  #cancel(event, oncancel) {
    event.stopPropagation();
    oncancel();
  }

  say(error) {
    this.save.disabled = false;
    this.problem.hidden = false;
    setText(this.problem, error.message);
    const input = this.inputs.get(error.key);
    if (!input) {
      this.foot.before(this.problem);
      return this.save.focus();
    }
    input.parentElement.append(this.problem);
    setAttribute(input, "aria-invalid", "true");
    const details = input.closest("details");
    if (details) details.open = true;
    input.focus();
  }
}

/** As high as its text has lines. */
function showLines(input) {
  input.rows = input.value.split("\n").length;
}

function select(props, options) {
  return h("select", props, ...options.map(([value, face]) => h("option", { value }, face || "…")));
}
