/** A choice of model from the provider's own list, or of the lane's configured one. */
import { h, setText } from "../base/dom.js";
import { ask } from "../base/http.js";
import { ModelSearch } from "../base/model_search.js";

export class ModelChoice {
  /** `lane`: id, label, model (as configured), has_models. `chosen` empty: the configured one. */
  constructor(lane, chosen, id, onchange) {
    this.lane = lane;
    this.value = chosen;
    this.toggle = h("button", { type: "button", class: "model-toggle", id, disabled: !lane.has_models });
    this.search = new ModelSearch({
      id: `${id}-list`, label: lane.label, toggle: this.toggle,
      list: () => ask(`/kimi/lanes/${encodeURIComponent(lane.id)}/models`),
      onchoose: (model) => {
        this.choose(model);
        this.toggle.focus();
        onchange();
      },
      note: (model) => (model === lane.model ? "as configured" : ""),
    });
    this.element = h("div", { class: "field" }, h("label", { for: id }, "Model"), this.toggle, this.search.element);
    this.#face();
  }

  choose(model) {
    this.value = model === this.lane.model ? "" : model;
    this.#face();
    this.search.open(false);
  }

  #face() {
    const name = this.value || this.lane.model;
    this.search.mark(name);
    setText(this.toggle, this.value ? name : `${name} (as configured)`);
  }
}
