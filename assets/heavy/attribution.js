/**
 * Which trajectories each part of the final answer matches: the parts in order, a dot for each trajectory beside them.
 * Pointing at a part (with the pointer or the keyboard) marks its trajectories and its place in the answer; pointing at a
 * trajectory marks its parts.
 *
 * @import { HeavyPart } from "../base/protocol"
 */
import { h, setAttribute, setText } from "../base/dom.js";
import { paint } from "./places.js";

export class Attribution {
  /** `actions.pointed(set of trajectory numbers from "0", or null)`; `answer()` is the element of the final answer. */
  constructor(actions, answer) {
    this.actions = actions;
    this.answer = answer;
    /** @type {{ element: HTMLElement, members: string[], text: string }[]} */
    this.items = [];
    this.list = h("ol", { class: "parts-list", hidden: true });
    this.face = h("span", {});
    this.toggle = h("button", { type: "button", class: "parts-toggle", "aria-expanded": "false", onclick: () => this.#toggle() },
      h("span", { class: "chevron", "aria-hidden": "true" }), this.face);
    this.element = h("section", { class: "parts", "data-part": "attribution", "aria-label": "Which trajectories match the answer", hidden: true },
      this.toggle, this.list);
  }

  clear() {
    this.items = [];
    this.list.replaceChildren();
    this.element.hidden = true;
  }

  /** Parts that stay keep their elements, so that the reader's focus stays. @param {HeavyPart} part */
  apply({ parts, parts_at: at = 0, parts_say: says = "", cells }) {
    if (parts) {
      const numbers = cells.map(({ k }) => k).sort((a, b) => a - b);
      const items = parts.map((part) => this.#item(part, numbers));
      for (const { element } of this.items.splice(at, Infinity, ...items)) element.remove();
      this.list.append(...items.map(({ element }) => element));
    }
    this.element.hidden = !this.items.length;
    setText(this.face, says);
  }

  /** Mark the parts that match one of these trajectories, here and in the answer; null: none is pointed at. */
  mark(members) {
    const marked = this.items.filter((item) => members && item.members.some((k) => members.has(k)));
    for (const item of this.items) item.element.classList.toggle("pointed", marked.includes(item));
    paint(this.answer(), marked.map((item) => this.#place(item)));
  }

  #toggle() {
    this.list.hidden = !this.list.hidden;
    setAttribute(this.toggle, "aria-expanded", String(!this.list.hidden));
  }

  /** @param {NonNullable<HeavyPart["parts"]>[number]} part @param {number[]} numbers */
  #item({ text, html = "", kind, label, members }, numbers) {
    const at = members.map((member) => String(member - 1));
    const dots = h("span", { class: "parts-dots", "aria-hidden": "true" },
      ...numbers.map((k) => h("span", { "data-on": at.includes(String(k)) })));
    const point = () => {
      this.actions.pointed(new Set(at));
      paint(this.answer(), [this.#place(item)]);
    };
    const leave = () => this.actions.pointed(null);
    const shown = h("span", { class: "parts-text" }, text);
    if (html) shown.innerHTML = html; // from the server's allow-list, as answers are
    const element = h("li", { class: "parts-item", "data-kind": kind, tabindex: "0",
                              onpointerenter: point, onpointerleave: leave, onfocus: point, onblur: leave },
      dots, h("span", { class: "parts-label" }, label), shown);
    const item = { element, members: at, text };
    return item;
  }

  /** What `paint` finds a part by: its text, or of a display formula its number. */
  #place(item) {
    return isFormula(item) ? this.items.filter(isFormula).indexOf(item) : item.text;
  }
}

function isFormula({ text }) {
  return text.startsWith("$$") || text.startsWith("\\[");
}
