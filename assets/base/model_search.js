/** The search in a list of a provider's models: of the settings drawer, the Lanes tab, and the menu at a lane's head. */
import { h, setAttribute, setText } from "./dom.js";
import { count } from "./format.js";
import { isComposing } from "./keys.js";

const SHOWN = 100; // of a long list; searching finds the others

/** The models whose names have every word of the search. */
function matching(models, search) {
  const words = search.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  return models.filter((model) => words.every((word) => model.toLocaleLowerCase().includes(word)));
}

export class ModelSearch {
  /**
   * `list()` resolves to `{models}` and is called whenever the search is opened; an error's sentence takes the list's place.
   * `onchoose(model)`. `note(model)`: words beside its name. `toggle`: the button that opens and closes the search; without
   * one `onclose()` is called by Escape.
   *
   * @param {{ id: string, label: string, list: () => Promise<{ models: string[] }>, onchoose: (model: string) => void,
   *   note?: (model: string) => string, toggle?: HTMLElement | null, onclose?: () => void }} options
   */
  constructor({ id, label, list, onchoose, note = () => "", toggle = null, onclose = () => this.#close() }) {
    this.request = list;
    this.onchoose = onchoose;
    this.note = note;
    this.toggle = toggle;
    this.onclose = onclose;
    this.current = ""; // the model in use, which is marked
    /** @type {string[] | null} */
    this.models = null;
    this.input = h("input", { type: "search", placeholder: "Search models", "aria-label": `Search models of ${label}`,
                              oninput: () => this.#list(), onchange: (event) => event.stopPropagation(), onkeydown: (event) => this.#key(event) });
    this.items = h("ul", { class: "model-list" });
    this.status = h("p", { class: "note", role: "status" });
    this.element = h("div", { class: "model-panel", id, hidden: true }, this.input, this.items, this.status);
    if (!toggle) return;
    setAttribute(toggle, "aria-controls", id);
    setAttribute(toggle, "aria-expanded", "false");
    toggle.addEventListener("click", () => this.open(Boolean(this.element.hidden)));
  }

  async open(open = true) {
    this.element.hidden = !open;
    if (this.toggle) setAttribute(this.toggle, "aria-expanded", String(open));
    if (!open) return;
    this.input.value = "";
    this.input.focus();
    this.models = null;
    this.items.replaceChildren();
    setText(this.status, "Requesting the provider's models…");
    try {
      this.models = (await this.request()).models;
      this.#list();
    } catch (error) {
      setText(this.status, error.message);
    }
  }

  /** Mark the model in use. */
  mark(model) {
    this.current = model;
    for (const item of this.items.querySelectorAll("button")) setAttribute(item, "aria-pressed", String(item.dataset.model === model));
  }

  #close() {
    this.open(false);
    this.toggle?.focus();
  }

  #list() {
    if (!this.models) return;
    const found = matching(this.models, this.input.value);
    this.items.replaceChildren(...found.slice(0, SHOWN).map((model) => h("li", {}, this.#item(model))));
    setText(this.status, statusOf(this.models, found));
  }

  #item(model) {
    const note = this.note(model);
    return h("button", { type: "button", "data-model": model, "aria-pressed": String(model === this.current), onclick: () => this.onchoose(model) },
      model, note ? h("span", { class: "note" }, ` ${note}`) : null);
  }

  /** Enter takes the first of the list, Escape closes it; neither is the form's. */
  #key(event) {
    if (isComposing(event)) return;
    if (event.key === "Enter") this.items.querySelector("button")?.click();
    else if (event.key === "Escape") this.onclose();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function statusOf(models, found) {
  if (!models.length) return "The provider lists no models.";
  if (!found.length) return "No model of that name.";
  return found.length > SHOWN ? `${count(found.length - SHOWN)} more: search to find them.` : "";
}
