/**
 * Find in a LineLog: count, next, previous. Matches are painted with the CSS Custom Highlight API, so the text's
 * elements do not change; a browser without it still shows the count and scrolls to matches. Text that arrives
 * meanwhile is searched too. Case and the kind of white space are ignored character by character, so a match is as long
 * as the query.
 */
import { button, h, setAttribute, setText } from "../base/dom.js";
import { count } from "../base/format.js";
import { beginsWord } from "../base/ranges.js";

const PAINTED = 2000; // matches beyond this are counted and can be reached, but are not painted

export class Find {
  /** `log` is the LineLog to search; `onjump(range)` shows a match; `onclose` returns the focus. */
  constructor(log, onjump, onclose) {
    this.log = log;
    this.onjump = onjump;
    this.onclose = onclose;
    this.painted = null; // the Highlight of all matches
    this.#forget();
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

  /** `words`: what a search has found, of which the first that begins a word is shown. */
  open(words = "") {
    if (words) this.input.value = words;
    this.element.hidden = false;
    this.input.focus();
    this.input.select();
    this.search(words !== "");
  }

  close() {
    if (this.element.hidden) return;
    this.element.hidden = true;
    this.#clearPaint();
    this.onclose();
  }

  search(fromWord = false) {
    this.#forget();
    this.#clearPaint();
    this.#searchOn();
    setAttribute(this.status, "aria-live", "polite");
    if (fromWord) this.at = Math.max(0, this.offsets.findIndex((offset) => beginsWord(this.log.text(), offset))) - 1;
    if (this.offsets.length) this.step(1);
    else this.#showCount();
  }

  /** Search the text that was appended; the current match and the announcement stay the same. */
  grew() {
    if (this.element.hidden || !this.input.value) return;
    this.#searchOn();
    setAttribute(this.status, "aria-live", "off");
    this.#showCount();
  }

  step(by) {
    if (!this.offsets.length) return;
    setAttribute(this.status, "aria-live", "polite");
    this.at = this.at < 0 && by < 0 ? this.offsets.length - 1 : (this.at + by + this.offsets.length) % this.offsets.length;
    const range = this.#range(this.offsets[this.at]);
    CSS.highlights?.set("kimi-found-here", new Highlight(range));
    this.onjump(range);
    this.#showCount();
  }

  #range(offset) {
    return this.log.range(offset, offset + this.input.value.length);
  }

  #forget() {
    this.offsets = [];
    this.at = -1;
    this.searched = 0; // characters searched so far
  }

  /** Find and paint the matches in the text not searched yet; a match may begin in text already searched. */
  #searchOn() {
    const query = this.input.value;
    if (!query) return;
    const pattern = new RegExp(query.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&").replace(/\s/g, "\\s"), "giu");
    const text = this.log.text();
    pattern.lastIndex = this.searched;
    for (let match = pattern.exec(text); match; match = pattern.exec(text)) {
      this.offsets.push(match.index);
      this.#paint(match.index);
    }
    this.searched = Math.max((this.offsets.at(-1) ?? -query.length) + query.length, text.length - query.length + 1);
  }

  #paint(offset) {
    if (!CSS.highlights || this.offsets.length > PAINTED) return;
    this.painted ??= new Highlight();
    CSS.highlights.set("kimi-found", this.painted);
    this.painted.add(this.#range(offset));
  }

  #clearPaint() {
    this.painted = null;
    CSS.highlights?.delete("kimi-found");
    CSS.highlights?.delete("kimi-found-here");
  }

  #showCount() {
    const n = this.offsets.length;
    const found = this.at < 0 ? `${count(n)} found` : `${count(this.at + 1)} of ${count(n)}`;
    setText(this.status, !this.input.value ? "" : n ? found : "no match");
  }

  #key(event) {
    if (event.key === "Enter") this.step(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape") this.close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
