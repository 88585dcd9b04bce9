/**
 * The line that offers to take back what was deleted or archived. It is shown for a while, and for as long as the pointer
 * or the keyboard focus is on it. The newest offer is shown; the one before it returns once that is over.
 */
import { button, h, setText } from "../base/dom.js";

const LATER_MS = 2000;

export class UndoLine {
  constructor() {
    this.offers = new Map(); // key -> { text, undo(), over() }, the newest last
    this.text = h("span", { class: "history-undo-text", role: "status", dir: "auto" });
    this.element = h("div", { class: "history-undo", hidden: true }, this.text,
      button("Undo", () => this.undo(), { class: "quiet history-undo-yes", "aria-keyshortcuts": "Control+Z" }),
      button("Dismiss", () => this.#end(this.#newest?.[0]), { face: "✕", class: "icon" }));
  }

  get keys() {
    return [...this.offers.keys()];
  }

  has(key) {
    return this.offers.has(key);
  }

  /**
   * Offer to take something back, for `ms`. `undo()` does that; `over()` is called when it is not offered any more.
   *
   * @param {string} key
   * @param {number} ms
   * @param {{ text: string, undo: () => void, over?: () => void }} offer
   */
  offer(key, ms, { text, undo, over = () => {} }) {
    this.withdraw(key);
    this.offers.set(key, { text, undo, over, timer: 0 });
    this.#endAfter(key, ms);
    this.#show();
  }

  /** End an offer without its consequence: it was taken back, or another page decided. */
  withdraw(key) {
    clearTimeout(this.offers.get(key)?.timer);
    this.offers.delete(key);
    this.#show();
  }

  /** Take the newest offer; false if there is none. */
  undo() {
    const [key, offer] = this.#newest ?? [];
    if (!offer) return false;
    this.withdraw(key);
    offer.undo();
    return true;
  }

  /** End all offers without their consequences: the page is closed. */
  close() {
    for (const { timer } of this.offers.values()) clearTimeout(timer);
  }

  get #newest() {
    return [...this.offers].at(-1);
  }

  #endAfter(key, ms) {
    this.offers.get(key).timer = setTimeout(() => {
      if (this.element.matches(":hover, :focus-within")) this.#endAfter(key, LATER_MS);
      else this.#end(key);
    }, ms);
  }

  #end(key) {
    const offer = this.offers.get(key);
    if (!offer) return;
    this.withdraw(key);
    offer.over();
  }

  #show() {
    const offer = this.#newest?.[1];
    this.element.hidden = !offer;
    setText(this.text, offer?.text ?? "");
  }
}
