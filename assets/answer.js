/**
 * An answer: HTML blocks the server has rendered and passed through its allow-list (kimi_ui/core/markdown). Finished
 * blocks are put in once and never touched again; only the open tail behind them is replaced or appended to. This is the
 * only place of the page that takes markup.
 */
import { h } from "./dom.js";
import { appendToTail } from "./markdown.js";

export class Answer {
  constructor(props = {}) {
    this.element = h("div", { class: "answer markdown", "aria-live": "off", ...props });
    this.clear();
  }

  get empty() {
    return this.element.childElementCount === 1 && !this.tail.hasChildNodes();
  }

  clear() {
    this.tail = h("div", { class: "answer-tail" });
    this.element.replaceChildren(this.tail);
  }

  /** `part` is a frame's part of this answer: blocks, tail, append, or whole. */
  apply({ blocks, tail, append, whole }) {
    if (whole) {
      this.clear();
      this.tail.insertAdjacentHTML("beforebegin", whole);
      return;
    }
    if (blocks) this.tail.insertAdjacentHTML("beforebegin", blocks.join(""));
    if (tail !== undefined) this.tail.innerHTML = tail;
    if (append) appendToTail(this.tail, append);
  }
}
