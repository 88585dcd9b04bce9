/**
 * Two answers of a turn side by side, rendered as in their lanes, in a dialog with one scroll. The server aligns and
 * marks them (kimi_ui/core/compare) and sends HTML that passed its allow-list; all else is inserted as text.
 * `n` and `p` step through the marks.
 */
import { button, h, modal, reducedMotion, setFlag, setText } from "../base/dom.js";
import { count } from "../base/format.js";
import { ask } from "../base/http.js";
import { isComposing, latinKey } from "../base/keys.js";
import { Newest } from "../base/newest.js";
import { atPlace, folds, pairOf, stepped } from "./places.js";

/** `beside`: the element the dialog belongs to. */
export function openCompare(beside, turnId) {
  new Compare(beside, `/kimi/turns/${encodeURIComponent(turnId)}`);
}

class Compare {
  constructor(beside, url) {
    this.url = url;
    this.requests = new Newest(); // for the chosen pair
    this.left = this.#select("Left answer", "left");
    this.right = this.#select("Right answer", "right");
    this.summary = h("div", { class: "compare-summary", role: "status", tabindex: "0" }); // it scrolls in a low window
    this.place = h("span", { class: "compare-place", role: "status" });
    this.previous = button("Previous mark (p)", () => this.#step(-1), { face: "↑", class: "icon" });
    this.next = button("Next mark (n)", () => this.#step(1), { face: "↓", class: "icon" });
    this.rows = h("div", { class: "compare-rows", role: "region", "aria-label": "Both answers", tabindex: "0", autofocus: true });
    const swap = button("Swap sides", () => this.#swap(), { face: "⇄", class: "icon" });
    this.dialog = modal({ class: "compare", "aria-label": "Compare two answers", onkeydown: (event) => this.#pressed(event) },
      h("div", { class: "compare-page" },
        h("header", { class: "compare-head" }, this.left, swap, this.right,
          button("Close", () => this.dialog.close(), { face: "✕", class: "icon compare-close" })),
        h("div", { class: "compare-found" }, this.summary, h("div", { class: "compare-steps" }, this.place, this.previous, this.next)),
        this.rows));
    beside.append(this.dialog);
    this.#say("");
    this.dialog.showModal();
    this.#load();
  }

  #select(label, side) {
    return h("select", { class: "compare-source", "aria-label": label, "data-side": side, onchange: () => this.#show() });
  }

  async #load() {
    const sources = await this.#ask(`${this.url}/answers`);
    if (!sources) return;
    if (sources.length < 2) return this.#say("Comparing needs two answers; wait for another one.");
    for (const select of [this.left, this.right]) {
      const groups = Map.groupBy(sources, ({ lane }) => lane);
      for (const [lane, several] of groups) {
        const options = several.map(({ id, label, words }) => h("option", { value: id }, `${label} · ${count(words)} words`));
        select.append(...(several.length > 1 ? [h("optgroup", { label: lane }, ...options)] : options));
      }
    }
    [this.left.value, this.right.value] = pairOf(sources);
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
    this.found = found;
    this.at = 0; // number of the current mark, 0 before the first step
    this.summary.replaceChildren(...found.summary.map((sentence) => h("p", {}, sentence)));
    this.rows.replaceChildren(
      h("div", { class: "compare-row compare-names", "aria-hidden": "true" }, h("div", {}, found.left), h("div", {}, found.right)),
      ...folded(found.rows.map((row) => rowOf(row, found))));
    this.rows.scrollTop = 0;
    this.#showPlace();
  }

  #showPlace() {
    const { marks, unlike } = this.found;
    setText(this.place, atPlace(this.at, marks, unlike));
    for (const step of [this.previous, this.next]) setFlag(step, "disabled", marks === 0);
  }

  /** Go to the next or previous mark and give it the focus, so that a screen reader says it. */
  #step(by) {
    if (!this.found?.marks) return;
    this.at = stepped(this.at, by, this.found.marks);
    for (const mark of this.rows.querySelectorAll(".current")) mark.classList.remove("current");
    /** @type {NodeListOf<HTMLElement>} */
    const found = this.rows.querySelectorAll(`.md-d${this.at}`);
    const marks = [...found];
    for (const mark of marks) mark.classList.add("current");
    this.#showPlace();
    const first = marks.find((mark) => mark.checkVisibility());
    first?.setAttribute("tabindex", "-1");
    first?.focus({ preventScroll: true });
    first?.scrollIntoView({ block: "center", behavior: reducedMotion() ? "auto" : "smooth" });
  }

  #pressed(event) {
    event.stopPropagation(); // the page's shortcuts do not work beneath a dialog
    if (event.ctrlKey || event.metaKey || event.altKey || isComposing(event)) return;
    const by = { n: 1, p: -1 }[latinKey(event).toLowerCase()];
    if (!by) return;
    event.preventDefault();
    this.#step(by);
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
    this.found = null;
    this.summary.replaceChildren(...(sentence ? [h("p", {}, sentence)] : []));
    this.rows.replaceChildren();
    setText(this.place, "");
    for (const step of [this.previous, this.next]) setFlag(step, "disabled", true);
  }
}

function rowOf({ kind, left, right = left }, names) {
  const cells = [cell("left", left, names.left), cell("right", right, names.right)];
  if (kind === "same" && left && right) readOnce(cells[1]);
  return h("div", { class: "compare-row", "data-kind": kind }, ...cells);
}

/** `html` has passed the server's allow-list (kimi_ui/core/markdown/safe.py). */
function cell(side, html, name) {
  const made = h("div", { class: "compare-cell markdown", "data-side": side, "data-name": name });
  made.innerHTML = html;
  return made;
}

/** The right side of an equal part is visible, but assistive tools and the Tab key meet such a part once. */
function readOnce(made) {
  made.setAttribute("aria-hidden", "true");
  for (const one of made.querySelectorAll("a, button, [tabindex]")) one.setAttribute("tabindex", "-1");
}

/** The rows; of a long run of equal ones those in its middle are folded behind a button. */
function folded(rows) {
  const shape = rows.map((row) => ({ same: row.dataset.kind === "same", chars: row.firstElementChild.textContent.length }));
  for (const { first, last, chars } of folds(shape).reverse()) {
    const hidden = rows.slice(first, last + 1);
    for (const row of hidden) row.hidden = true;
    const more = button("Show all of this equal part", () => {
      for (const row of hidden) row.hidden = false;
      fold.remove();
      hidden[0].parentElement.focus({ preventScroll: true });
    }, { face: `… ${count(chars)} equal characters …`, class: "quiet" });
    const fold = h("div", { class: "compare-fold" }, more);
    rows.splice(first, 0, fold);
  }
  return rows;
}
