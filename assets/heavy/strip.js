/**
 * The width × time strip: a row per trajectory, time to the right, each stretch coloured and lettered by the answer that
 * the trajectory's text states so far. Grey: none yet; hatched: it failed. So consensus can be watched forming.
 *
 * Widths are flex shares: as time goes on only the newest stretch of a row and the rest of the time are changed.
 *
 * @import { Trajectory } from "./trajectory"
 */
import { h, setAttribute, setText } from "../base/dom.js";
import { seconds } from "../base/format.js";
import { colour } from "./letters.js";

const EVERY_MS = 250;

export class Strip {
  /** @type {Map<string, { element: HTMLElement, drawn: string }>} */
  rows = new Map();
  drawnAt = -Infinity;

  constructor() {
    this.lines = h("div", { class: "strip-rows", "aria-hidden": "true" });
    this.from = h("span", {}, "0 s");
    this.until = h("span", {});
    this.element = h("div", { class: "answers-strip", role: "img", hidden: true },
      this.lines, h("div", { class: "strip-axis", "aria-hidden": "true" }, this.from, this.until));
  }

  clear() {
    this.rows.clear();
    this.lines.replaceChildren();
    this.drawnAt = -Infinity;
    this.element.hidden = true;
  }

  /**
   * @param {Trajectory[]} trajectories in order
   * @param {number | null} now the turn's clock in ms, null for a stored turn
   * @param {Record<string, string>} labels what the letters stand for
   * @param {boolean} running
   */
  draw(trajectories, now, labels, running) {
    if (!trajectories.length || (running && now !== null && now - this.drawnAt < EVERY_MS)) return;
    this.drawnAt = now ?? -Infinity;
    this.element.hidden = false;
    const begin = Math.min(...trajectories.map(({ sent }) => sent));
    const ends = trajectories.map((one) => (one.running ? now ?? one.sent : one.sent + (one.stamps.end_ms ?? 0)));
    const end = Math.max(...ends, begin + 1);
    for (const [i, one] of trajectories.entries()) this.#drawRow(one, begin, ends[i], end, labels);
    setText(this.until, seconds(end - begin));
    setAttribute(this.element, "aria-label", spoken(trajectories, labels));
  }

  /** Mark the rows of these trajectories; null: none is pointed at. */
  mark(members) {
    for (const [k, { element }] of this.rows) element.classList.toggle("pointed", members?.has(k) ?? false);
  }

  #drawRow(one, begin, until, end, labels) {
    if (!this.rows.has(one.k)) {
      const element = h("div", { class: "strip-row", "data-strip": one.k });
      this.rows.set(one.k, { element, drawn: "" });
      const after = [...this.lines.children].find((row) => Number(row.getAttribute("data-strip")) > Number(one.k));
      this.lines.insertBefore(element, after ?? null);
    }
    const row = this.rows.get(one.k);
    const stretches = stretchesOf(one, until);
    const key = stretches.map(([letter, kind]) => `${letter}${kind}`).join() + JSON.stringify(labels);
    if (key !== row.drawn) {
      row.drawn = key;
      row.element.replaceChildren(h("span", { class: "strip-gap" }), ...stretches.map(([letter, kind, from]) => {
        const stretch = h("span", { class: "strip-stretch", "data-kind": kind, title: titleOf(one, letter, kind, from, labels) }, letter);
        colour(stretch, letter);
        return stretch;
      }), h("span", { class: "strip-gap" }));
    }
    const [before, ...drawn] = /** @type {HTMLElement[]} */ ([...row.element.children]);
    before.style.flexGrow = String(one.sent - begin);
    for (const [i, [, , from, to]] of stretches.entries()) drawn[i].style.flexGrow = String(Math.max(1, to - from));
    drawn.at(-1).style.flexGrow = String(Math.max(0, end - until));
  }
}

/**
 * A trajectory's stretches as [letter, kind, from, to] in ms of the turn; kind: none | answer | failed.
 *
 * @returns {[string, string, number, number][]}
 */
function stretchesOf({ sent, letters, failed }, until) {
  const changes = [[0, ""], ...letters].map(([at, letter]) => [sent + Number(at), String(letter)]);
  /** @type {[string, string, number, number][]} */
  const found = [];
  changes.forEach(([from, letter], i) => {
    const to = Math.min(i + 1 < changes.length ? Number(changes[i + 1][0]) : until, until);
    if (Number(from) < to || i + 1 === changes.length) found.push([String(letter), letter ? "answer" : "none", Number(from), to]);
  });
  if (failed) found[found.length - 1][1] = "failed";
  return found;
}

function titleOf(one, letter, kind, from, labels) {
  const what = letter ? `says ${labels[letter] ?? letter}` : kind === "failed" ? "failed" : "states no result";
  return `T${Number(one.k) + 1} from ${seconds(from - one.sent)}: ${what}${letter && kind === "failed" ? ", then failed" : ""}`;
}

function spoken(trajectories, labels) {
  const each = trajectories.map((one) => {
    const letter = one.letters.at(-1)?.[1];
    return `T${Number(one.k) + 1} ${one.failed ? "failed" : letter ? `says ${labels[letter] ?? letter}` : one.running ? "no result yet" : "states no result"}`;
  });
  return `Answers over time. ${each.join(", ")}`;
}
