/**
 * LineLog: append-only plain text whose cost per appended character is flat, however long it has become.
 *
 * Text nodes in line elements, lines in pages; the browser skips a page out of sight (`content-visibility: auto`), so
 * an append lays out one line. A very long line is split into several elements. The text content of the whole is
 * exactly the text that was appended.
 */
import { h } from "../base/dom.js";

const PAGE_CHARS = 4000;
const LINE_CHARS = 1500;

export class LineLog {
  constructor(root) {
    this.root = root;
    this.clear();
  }

  clear() {
    this.root.replaceChildren();
    this.length = 0;
    this.parts = [];
    this.starts = []; // offset of each line's first character
    this.nodes = []; // each line's text node
    this.page = null;
    this.pageChars = 0;
    this.node = null;
  }

  append(text) {
    this.parts.push(text);
    let from = 0;
    while (from < text.length) {
      const newline = text.indexOf("\n", from);
      const until = newline < 0 ? text.length : newline + 1;
      this.#appendToLine(text.slice(from, until));
      if (newline >= 0) this.node = null;
      from = until;
    }
  }

  /** The whole text. */
  text() {
    if (this.parts.length > 1) this.parts = [this.parts.join("")];
    return this.parts[0] ?? "";
  }

  /** The text node that holds character `offset`, and the character's position in it. */
  locate(offset) {
    let low = 0;
    let high = this.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= offset) low = middle;
      else high = middle - 1;
    }
    const node = this.nodes[low];
    return node && { node, offset: Math.min(offset - this.starts[low], node.length) };
  }

  /** A DOM range over `[start, end)` of the text. */
  range(start, end) {
    const range = new Range();
    const from = this.locate(start);
    const to = this.locate(end - 1);
    range.setStart(from.node, from.offset);
    range.setEnd(to.node, Math.min(to.offset + 1, to.node.length));
    return range;
  }

  #appendToLine(piece) {
    while (piece) {
      if (!this.node) this.#newLine();
      const room = LINE_CHARS - this.node.length;
      if (piece.length <= room) {
        this.#put(piece);
        return;
      }
      const cut = Math.max(0, cutPoint(piece, room));
      if (cut) this.#put(piece.slice(0, cut));
      piece = piece.slice(cut);
      this.node = null;
    }
  }

  #put(piece) {
    this.node.appendData(piece);
    this.length += piece.length;
    this.pageChars += piece.length;
  }

  #newLine() {
    if (!this.page || this.pageChars >= PAGE_CHARS) {
      this.page = h("div", { class: "text-page" });
      this.pageChars = 0;
      this.root.append(this.page);
    }
    this.node = document.createTextNode("");
    this.page.append(h("div", { class: "text-line" }, this.node));
    this.starts.push(this.length);
    this.nodes.push(this.node);
  }
}

/** Where to split a piece that does not fit: after the last space that fits, never inside a surrogate pair. */
function cutPoint(piece, room) {
  const space = piece.lastIndexOf(" ", room - 1);
  if (room > 0 && space >= 0) return space + 1;
  const code = piece.charCodeAt(room - 1);
  return code >= 0xd800 && code < 0xdc00 ? room - 1 : room;
}
