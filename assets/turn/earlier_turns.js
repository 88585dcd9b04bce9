/**
 * The earlier turns of the conversation shown, above its current one. A turn that was over when it was loaded is its
 * prompt only, until it comes near the window: then it is drawn and its frame is requested.
 */
import { h } from "../base/dom.js";

export class EarlierTurns {
  /** `root`: the element that scrolls; `filled(row)` is called once a row that came near is drawn. */
  constructor(root, filled) {
    this.filled = filled;
    this.rows = [];
    this.element = h("div", { class: "turns-past" });
    this.near = new IntersectionObserver((entries) => this.#came(entries), { root, rootMargin: "600px" });
  }

  /** A row that is there already: the current turn's, once another one follows it. */
  keep(row) {
    row.retire();
    this.rows.push(row);
    this.element.append(row.element);
  }

  /** A row that is to be drawn when it comes near (see turn.js). */
  add(row) {
    this.keep(row);
    this.near.observe(row.element);
  }

  /** Put `row` in the place of the one of its turn. */
  replace(row) {
    const place = this.rows.findIndex(({ id }) => id === row.id);
    const [before] = this.rows.splice(place, 1, row);
    row.retire();
    before.close();
    this.near.unobserve(before.element);
    before.element.replaceWith(row.element);
  }

  drop() {
    this.near.disconnect();
    for (const row of this.rows) row.close();
    this.rows = [];
    this.element.replaceChildren();
  }

  #came(entries) {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      this.near.unobserve(target);
      const row = this.rows.find(({ element }) => element === target);
      row?.fetch().then(() => this.filled(row));
    }
  }
}
