/**
 * An answer: HTML blocks that the server has rendered and passed through its allow-list (kimi_ui/core/markdown).
 * Finished blocks are inserted once and never changed; only the open tail after them is replaced or appended to. Beside
 * this the page only inserts the markup of steps' labels (steps.js) and of a benchmark's report (benchmark_tab/result.js).
 *
 * Blocks are grouped in chunks: the layout of a frame visits the chunks, not all earlier blocks. While the answer
 * streams, and for good once it is long, chunks out of sight are skipped (lane/lane.css). A block costs the same after
 * ten thousand words as after ten.
 *
 * @import { AnswerNews } from "../base/protocol"
 */
import { h } from "../base/dom.js";
import { appendToTail } from "./markdown.js";
import { keepingSelection } from "./selection.js";

const CHUNK_BLOCKS = 12;
const LONG_CHUNKS = 8;

export class Answer {
  constructor(props = {}) {
    this.isContinued = false; // it goes on with a cut answer, with a mark where that ends
    this.element = h("div", { class: "answer markdown", "aria-live": "off", ...props });
    this.clear();
  }

  get empty() {
    return !this.chunk && !this.tail.hasChildNodes();
  }

  clear() {
    this.chunk = null; // the newest one; further blocks go into it
    this.element.classList.remove("long");
    this.tail = h("div", { class: "answer-tail" });
    this.element.replaceChildren(this.tail);
  }

  /** @param {AnswerNews} part */
  apply(part) {
    keepingSelection(this.element, () => this.#apply(part));
  }

  /** @param {AnswerNews} part */
  #apply({ blocks, tail, append, whole }) {
    if (whole) {
      this.clear();
      this.#add(whole);
      return;
    }
    if (blocks) this.#add(blocks.join(""));
    if (tail !== undefined) {
      this.tail.innerHTML = tail;
      if (this.isContinued) drawMark(this.tail);
    }
    if (append) appendToTail(this.tail, append);
  }

  #add(html) {
    const made = document.createElement("template");
    made.innerHTML = html;
    if (this.isContinued) drawMark(made.content);
    for (const block of [...made.content.childNodes]) {
      if (!this.chunk || this.chunk.childElementCount >= CHUNK_BLOCKS) {
        this.chunk = h("div", { class: "answer-chunk" });
        this.tail.before(this.chunk);
      }
      this.chunk.append(block);
    }
    if (this.element.childElementCount > LONG_CHUNKS) this.element.classList.add("long");
  }
}

const MARK = "\ue0c0"; // kimi_ui/view/attempt_view.py

/** Draw the mark that says where an answer goes on that was cut. */
function drawMark(within) {
  const texts = document.createTreeWalker(within, NodeFilter.SHOW_TEXT);
  for (let node = /** @type {Text | null} */ (texts.nextNode()); node; node = /** @type {Text | null} */ (texts.nextNode())) {
    const at = node.data.indexOf(MARK);
    if (at < 0) continue;
    const rest = node.splitText(at);
    rest.data = rest.data.slice(MARK.length);
    rest.before(h("span", { class: "continued-here", role: "img", "aria-label": "continued here", title: "The answer was cut here; the continuation begins" }));
    return;
  }
}
