/**
 * The earlier turns of the conversation shown, above its current one. Of a turn that had ended when it was
 * loaded only the prompt is drawn; the rest is requested and drawn when the turn comes near the window.
 */
import { h } from "../base/dom.js";

export class EarlierTurns {
  /** `root`: the element that scrolls; `filled(row)` is called once a row near the window is drawn. */
  constructor(root, filled) {
    this.filled = filled;
    this.rows = [];
    this.element = h("div", { class: "turns-past" });
    this.near = new IntersectionObserver((entries) => this.#came(entries), { root, rootMargin: "600px" });
  }

  /** Keep a row that is drawn already: the current turn's, once another one follows it. */
  keep(row) {
    row.retire();
    this.rows.push(row);
    this.element.append(row.element);
  }

  /** Add a row that is drawn when it comes near the window (see turn.js). */
  add(row) {
    this.keep(row);
    this.near.observe(row.element);
  }

  /** Replace the row of the same turn by `row`. */
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
