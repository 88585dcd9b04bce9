/**
 * Find in a LineLog: count, next, previous. Matches are painted with the CSS Custom Highlight API, so the text's
 * elements are left alone; a browser without it still gets the count and the jumps.
 */
import { button, h, setText } from "./dom.js";
import { count } from "./format.js";

const PAINTED = 2000; // more matches than this are counted and reachable, but not painted

export class Find {
  /** `log` is the LineLog searched; `onjump(range)` shows a match; `onclose` gives the focus back. */
  constructor(log, onjump, onclose) {
    this.log = log;
    this.onjump = onjump;
    this.onclose = onclose;
    this.offsets = [];
    this.at = -1;
    this.input = h("input", {
      type: "search", class: "find-input", placeholder: "Find in reasoning", "aria-label": "Find in reasoning",
      oninput: () => this.search(),
      onkeydown: (event) => this.#key(event),
    });
    this.status = h("output", { class: "find-count", "aria-live": "polite" });
    this.element = h(
      "div", { class: "find", role: "search", hidden: true },
      this.input, this.status,
      button("Previous match", () => this.step(-1), { face: "↑", class: "icon" }),
      button("Next match", () => this.step(1), { face: "↓", class: "icon" }),
      button("Close find", () => this.close(), { face: "✕", class: "icon" }),
    );
  }

  open() {
    this.element.hidden = false;
    this.input.focus();
    this.input.select();
    this.search();
  }

  close() {
    if (this.element.hidden) return;
    this.element.hidden = true;
    this.#clearPaint();
    this.onclose();
  }

  search() {
    const query = this.input.value.toLocaleLowerCase();
    this.offsets = [];
    this.at = -1;
    if (query) {
      const text = this.log.text().toLocaleLowerCase();
      for (let i = text.indexOf(query); i >= 0; i = text.indexOf(query, i + query.length)) this.offsets.push(i);
    }
    this.#paint();
    if (this.offsets.length) this.step(1);
    else this.#tell();
  }

  step(by) {
    if (!this.offsets.length) return;
    this.at = (this.at + by + this.offsets.length) % this.offsets.length;
    const range = this.#range(this.offsets[this.at]);
    CSS.highlights?.set("kimi-found-here", new Highlight(range));
    this.onjump(range);
    this.#tell();
  }

  #range(offset) {
    return this.log.range(offset, offset + this.input.value.length);
  }

  #paint() {
    this.#clearPaint();
    if (!this.offsets.length || !CSS.highlights) return;
    const ranges = this.offsets.slice(0, PAINTED).map((offset) => this.#range(offset));
    CSS.highlights.set("kimi-found", new Highlight(...ranges));
  }

  #clearPaint() {
    CSS.highlights?.delete("kimi-found");
    CSS.highlights?.delete("kimi-found-here");
  }

  #tell() {
    const n = this.offsets.length;
    setText(this.status, !this.input.value ? "" : n ? `${count(this.at + 1)} of ${count(n)}` : "no match");
  }

  #key(event) {
    if (event.key === "Enter") this.step(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape") this.close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
