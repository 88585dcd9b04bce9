/**
 * "Was heavy worth it?": heavy beside the single answer of the same model, as the server words it
 * (kimi_ui/view/heavy_worth.py). Hidden until both have ended.
 */
import { h } from "../base/dom.js";

export class Worth {
  constructor() {
    this.facts = h("p", { class: "worth-facts" });
    this.judged = h("div", {});
    this.element = h("section", { class: "worth", "data-part": "worth", "aria-label": "Was heavy worth it?", hidden: true },
      h("p", { class: "worth-title" }, "Was heavy worth it?"), this.facts, this.judged);
  }

  clear() {
    this.element.hidden = true;
  }

  /** @param {{ facts: string[], judged: string[] }} worth */
  show({ facts, judged }) {
    this.facts.textContent = facts.join(" · ");
    this.judged.replaceChildren(...judged.map((sentence) => h("p", {}, sentence)));
    this.element.hidden = false;
  }
}
