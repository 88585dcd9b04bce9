/** A list of a provider's models that is requested when it is opened. */
import { h, setText } from "../base/dom.js";
import { matching, searchKey, searchStatus } from "../base/model_search.js";

const SHOWN = 60; // of a long list; searching finds the others

export class ModelList {
  /** `list()` resolves to `{models}`; `onchoose(model)`; `current`: the lane's own model, which is marked. */
  constructor(id, label, list, onchoose, { current = "", focus = "" } = {}) {
    this.request = list;
    this.onchoose = onchoose;
    this.current = current;
    this.toggle = h("button", { type: "button", class: "lt-button", "aria-expanded": "false", "aria-controls": id, "aria-label": `Models of ${label}`, "data-focus": focus || null, onclick: () => this.open(this.panel.hidden) }, "Models");
    this.search = h("input", { type: "search", placeholder: "Search models", "aria-label": `Search models of ${label}`, oninput: () => this.#list(), onkeydown: (event) => this.#key(event) });
    this.items = h("ul", { class: "lt-models" });
    this.status = h("p", { class: "note", role: "status" });
    this.after = h("div", {});
    this.panel = h("div", { class: "lt-panel", id, hidden: true }, this.search, this.items, this.status, this.after);
  }

  async open(open) {
    this.panel.hidden = !open;
    this.toggle.setAttribute("aria-expanded", String(open));
    if (!open) return;
    this.search.focus();
    setText(this.status, "Requesting the provider's models…");
    try {
      this.models = (await this.request()).models;
      this.#list();
    } catch (error) {
      setText(this.status, error.message);
    }
  }

  #list() {
    if (!this.models) return;
    const found = matching(this.models, this.search.value);
    this.items.replaceChildren(...found.slice(0, SHOWN).map((model) =>
      h("li", {}, h("button", { type: "button", "aria-pressed": String(model === this.current), onclick: () => this.#choose(model) }, model))));
    setText(this.status, searchStatus(this.models, found, SHOWN));
  }

  #choose(model) {
    for (const item of this.items.querySelectorAll("button")) item.setAttribute("aria-pressed", String(item.textContent === model));
    this.onchoose(model);
  }

  #key(event) {
    searchKey(event, this.items, () => {
      this.open(false);
      this.toggle.focus();
    });
  }
}
