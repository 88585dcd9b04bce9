/**
 * What the trajectories say together: a bar of one cell each, the count in words, how many answers differ in effect, why
 * heavy stopped early, and what the final answer made of the majority. All words are the server's
 * (kimi_ui/view/heavy_words.py).
 *
 * @import { HeavyPart } from "../base/protocol"
 */
import { button, h, setFlag, setText } from "../base/dom.js";
import { colour } from "./letters.js";

export class Consensus {
  /** `actions`: aggregate(strategy) or null where nothing can be sent, pointed(members or null). */
  constructor(name, actions) {
    this.actions = actions;
    this.drawn = "";
    this.bar = h("ol", { class: "consensus-bar", "aria-label": "Trajectories by answer" });
    this.says = h("p", { class: "consensus-says" });
    this.lines = h("ul", { class: "consensus-lines" });
    this.strategy = h("select", { "aria-label": "Strategy" });
    this.again = button(`Aggregate the same answers of ${name} again`, () => actions.aggregate(this.strategy.value),
      { face: "Aggregate again", class: "quiet" });
    this.redo = h("div", { class: "consensus-again", hidden: true }, this.strategy, this.again);
    this.element = h("div", { class: "consensus", "data-part": "consensus", hidden: true }, this.bar, this.says, this.lines, this.redo);
  }

  clear() {
    this.drawn = "";
    this.element.hidden = true;
  }

  /** @param {HeavyPart} part */
  apply({ cells, says, lines, strategies }) {
    const drawn = JSON.stringify([cells, says, lines, strategies]);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    this.element.hidden = false;
    this.bar.replaceChildren(...cells.map((cell) => this.#cell(cell)));
    setText(this.says, says);
    this.lines.replaceChildren(...lines.map(line));
    setFlag(this.redo, "hidden", !strategies?.length || !this.actions.aggregate);
    if (strategies) this.strategy.replaceChildren(...strategies.map(({ id, label }) => h("option", { value: id }, label)));
  }

  /** Mark the cells of these trajectories; null: none is pointed at. */
  mark(members) {
    for (const cell of this.bar.children) cell.classList.toggle("pointed", members?.has(cell.getAttribute("data-k")) ?? false);
  }

  #cell({ k, letter, state, says }) {
    const cell = h("li", { class: "consensus-cell", "data-k": k, "data-state": state, title: says,
                           onpointerenter: () => this.actions.pointed(new Set([String(k)])), onpointerleave: () => this.actions.pointed(null) },
      h("span", { "aria-hidden": "true" }, letter), h("span", { class: "kimi-offscreen" }, says));
    colour(cell, letter);
    return cell;
  }
}

/** A sentence with its badge and, beside it, what a number in it means. */
function line({ kind, text, means = "" }) {
  return h("li", { "data-kind": kind }, h("span", {}, text), means ? h("span", { class: "consensus-means" }, means) : null);
}
