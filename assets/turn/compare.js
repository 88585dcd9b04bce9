/**
 * The diff of two answers of a turn, in a dialog: first the two conclusions, then the texts by sentence, and code by
 * line. Model text is inserted as text only. Long equal parts are folded.
 */
import { button, h } from "../base/dom.js";
import { count } from "../base/format.js";
import { ask } from "../base/http.js";
import { Newest } from "../base/newest.js";

const FOLD_CHARS = 600; // of a longer equal part only the ends are shown
const SHOWN_CHARS = 160;

/** `beside`: the element the dialog belongs to. */
export function openCompare(beside, turnId) {
  new Compare(beside, `/kimi/turns/${encodeURIComponent(turnId)}`);
}

class Compare {
  constructor(beside, url) {
    this.url = url;
    this.requests = new Newest(); // for the chosen pair
    this.left = this.#select("Left answer", 0);
    this.right = this.#select("Right answer", 1);
    this.summary = h("div", { class: "compare-summary", role: "status" });
    this.rows = h("div", { class: "compare-rows", role: "region", "aria-label": "Both answers", tabindex: "0" });
    const swap = button("Swap sides", () => this.#swap(), { face: "⇄", class: "icon" });
    this.dialog = h("dialog", { class: "compare", "aria-label": "Compare two answers", onclose: () => this.dialog.remove(),
                                onkeydown: (event) => event.stopPropagation(),
                                onclick: (event) => event.target === this.dialog && this.dialog.close() },
      h("div", { class: "compare-page" },
        h("header", { class: "compare-head" }, this.left, swap, this.right,
          button("Close", () => this.dialog.close(), { face: "✕", class: "icon compare-close" })),
        this.summary, this.rows));
    beside.append(this.dialog);
    this.dialog.showModal();
    this.#load();
  }

  #select(label, side) {
    return h("select", { class: "compare-source", "aria-label": label, "data-side": side ? "right" : "left", onchange: () => this.#show() });
  }

  async #load() {
    const sources = await this.#ask(`${this.url}/answers`);
    if (!sources) return;
    if (sources.length < 2) return this.#say("Comparing needs two answers; wait for another one.");
    for (const select of [this.left, this.right]) {
      select.append(...sources.map(({ id, label, words }) => h("option", { value: id }, `${label} · ${count(words)} words`)));
    }
    this.right.selectedIndex = 1;
    await this.#show();
  }

  #swap() {
    [this.left.value, this.right.value] = [this.right.value, this.left.value];
    this.#show();
  }

  /** Show the chosen pair. A comparison that arrives after the next choice is dropped. */
  async #show() {
    const request = this.requests.begin();
    const query = new URLSearchParams({ left: this.left.value, right: this.right.value });
    const found = await this.#ask(`${this.url}/diff?${query}`);
    if (!found || request.aborted) return;
    this.summary.replaceChildren(...found.summary.map((sentence) => h("p", {}, sentence)));
    this.rows.replaceChildren(
      h("div", { class: "compare-row compare-names", "aria-hidden": "true" }, h("div", {}, found.left), h("div", {}, found.right)),
      ...rows(found.segments, found));
  }

  async #ask(url) {
    try {
      return await ask(url);
    } catch (error) {
      this.#say(error.message);
      return null;
    }
  }

  #say(sentence) {
    this.summary.replaceChildren(h("p", {}, sentence));
    this.rows.replaceChildren();
  }
}

/** A part only in the left answer and the part only in the right one after it share a row. */
function rows(segments, names) {
  const made = [];
  for (let i = 0; i < segments.length; i += 1) {
    const segment = segments[i];
    const next = segments[i + 1];
    if (segment.kind === "left" && next?.kind === "right" && next.code === segment.code) {
      made.push(row("apart", only(segment, "left", names.left), only(next, "right", names.right)));
      i += 1;
    } else if (segment.kind === "left") made.push(row("left", only(segment, "left", names.left), cell(segment, "right")));
    else if (segment.kind === "right") made.push(row("right", cell(segment, "left"), only(segment, "right", names.right)));
    else if (segment.kind === "same") made.push(sameRow(segment));
    else made.push(row("changed", cell(segment, "left", ...marked(segment, "left", "del")), cell(segment, "right", ...marked(segment, "right", "ins"))));
  }
  return made;
}

function row(kind, ...cells) {
  return h("div", { class: "compare-row", "data-kind": kind }, ...cells);
}

function cell({ code }, side, ...content) {
  return h("div", { class: `compare-cell${code ? " compare-code" : ""}`, "data-side": side }, ...content);
}

function only(segment, side, name) {
  const note = h("span", { class: "kimi-offscreen" }, `only in ${name}: `);
  return cell(segment, side, h(side === "left" ? "del" : "ins", {}, note, segment[side]));
}

/** One side of a changed pair. Changed white space is marked in code only: in prose it would be noise. */
function marked({ words, code }, side, tag) {
  return words.filter(([kind]) => kind === "same" || kind === side)
    .map(([kind, text]) => (kind === side && (code || text.trim()) ? h(tag, {}, text) : text));
}

/** An equal part, on both sides: whole if short, else its ends and a button that shows the rest. */
function sameRow(segment) {
  const { left, right = left } = segment;
  if (left.length <= FOLD_CHARS) return row("same", cell(segment, "left", left), twin(segment, right));
  const face = `… ${count(left.length - 2 * SHOWN_CHARS)} equal characters …`;
  const more = button("Show all of this equal part", () => {
    folded.replaceWith(row("same", cell(segment, "left", left), twin(segment, right)));
  }, { face, class: "quiet" });
  const ends = (text, between) => [text.slice(0, SHOWN_CHARS), between, text.slice(-SHOWN_CHARS)];
  const folded = row("same", cell(segment, "left", ...ends(left, more)), twin(segment, ...ends(right, " … ")));
  return folded;
}

/**
 * The right side of an equal part: visible beside the left one, but hidden from assistive tools, which read it once.
 */
function twin(segment, ...content) {
  const made = cell(segment, "right", ...content);
  made.setAttribute("aria-hidden", "true");
  return made;
}
