/** A choice of model from the provider's own list, which is requested when it is opened. */
import { h, setAttribute, setText } from "../base/dom.js";
import { ask } from "../base/http.js";
import { matching, searchKey, searchStatus } from "../base/model_search.js";

const SHOWN = 100; // of a long list; searching finds the others

export class ModelChoice {
  /** `lane`: id, label, model (as configured), has_models. `chosen` empty: the configured one. */
  constructor(lane, chosen, id, onchange) {
    this.lane = lane;
    this.value = chosen;
    this.onchange = onchange;
    this.models = null;
    this.toggle = h("button", { type: "button", class: "model-toggle", id, "aria-expanded": "false", "aria-controls": `${id}-list`,
                                disabled: !lane.has_models, onclick: () => this.#open(this.panel.hidden) });
    this.search = h("input", { type: "search", placeholder: "Search models", "aria-label": `Search models of ${lane.label}`,
                               oninput: () => this.#list(), onchange: (event) => event.stopPropagation(),
                               onkeydown: (event) => this.#key(event) });
    this.list = h("ul", { class: "model-list", id: `${id}-list` });
    this.status = h("p", { class: "note", role: "status" });
    this.panel = h("div", { class: "model-panel", hidden: true }, this.search, this.list, this.status);
    this.element = h("div", { class: "field" }, h("label", { for: id }, "Model"), this.toggle, this.panel);
    this.#face();
  }

  choose(model) {
    this.value = model === this.lane.model ? "" : model;
    this.#face();
    this.#open(false);
  }

  #face() {
    const name = this.value || this.lane.model;
    setText(this.toggle, this.value ? name : `${name} (as configured)`);
  }

  async #open(open) {
    this.panel.hidden = !open;
    setAttribute(this.toggle, "aria-expanded", String(open));
    if (!open) return;
    this.search.value = "";
    this.search.focus();
    if (!this.models) {
      setText(this.status, "Requesting the provider's models…");
      try {
        const { models } = await ask(`/kimi/lanes/${encodeURIComponent(this.lane.id)}/models`);
        this.models = models;
      } catch (error) {
        setText(this.status, error.message);
        return;
      }
    }
    this.#list();
  }

  #list() {
    if (!this.models) return;
    const found = matching(this.models, this.search.value);
    this.list.replaceChildren(...found.slice(0, SHOWN).map((model) => {
      const isChosen = model === (this.value || this.lane.model);
      return h("li", {}, h("button", { type: "button", "aria-pressed": String(isChosen), onclick: () => this.#chosen(model) },
        model, model === this.lane.model ? h("span", { class: "note" }, " as configured") : null));
    }));
    setText(this.status, searchStatus(this.models, found, SHOWN));
  }

  #chosen(model) {
    this.choose(model);
    this.toggle.focus();
    this.onchange();
  }

  #key(event) {
    searchKey(event, this.list, () => {
      this.#open(false);
      this.toggle.focus();
    });
  }
}
