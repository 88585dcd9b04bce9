/** Words in the text of an element: finding them as ranges, scrolling to them, marking them. */

const EDGE = 1 / 6; // of a view's height
const STILL_FRAMES = 4; // a place that has not moved for so long stays
const MOST_FRAMES = 30;
const LETTER = /[\p{L}\p{N}]/u;

/** Whether no letter or digit stands before this place of a text. */
export const beginsWord = (text, offset) => !LETTER.test(text[offset - 1] ?? "");

/**
 * The places of any of `words` in the text of `root`, in order: where any begins a word, only these. Case is ignored, and
 * so is what stands between the letters and digits of several words, which Markdown may not show.
 *
 * @param {Node} root
 * @param {string[]} words
 * @param {number} most
 * @returns {Range[]}
 */
function rangesOf(root, words, most = 200) {
  const patterns = words.map((word) => (word.match(/[\p{L}\p{M}\p{N}]+/gu) ?? []).join("[^\\p{L}\\p{N}]*")).filter(Boolean);
  if (!patterns.length) return [];
  /** @type {{ node: Text, from: number }[]} */
  const nodes = [];
  let text = "";
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = /** @type {Text} */ (walker.currentNode);
    nodes.push({ node, from: text.length });
    text += node.data;
  }
  const starts = new Set(nodes.map(({ from }) => from));
  const all = [...text.matchAll(new RegExp(patterns.join("|"), "giu"))];
  const whole = all.filter(({ index }) => starts.has(index) || beginsWord(text, index));
  return (whole.length ? whole : all).slice(0, most).map(({ index, 0: { length } }) => {
    const range = document.createRange();
    range.setStart(...place(nodes, index));
    range.setEnd(...place(nodes, index + length - 1, 1));
    return range;
  });
}

/** Mark these words in `root` and scroll to the first; without them to the beginning of `root`. */
export async function showWords(root, words) {
  if (!root.isConnected) return; // something else was opened meanwhile
  const found = rangesOf(root, words);
  mark(found);
  if (found.length) await bringIntoSight(found[0]);
  else root.scrollIntoView({ block: "start" });
}

/**
 * Scroll to the range. Text that was out of sight has its own height only once it is drawn, a frame or two later, and then
 * the range moves.
 */
export async function bringIntoSight(range) {
  for (let frames = 0, still = 0; still < STILL_FRAMES && frames < MOST_FRAMES; frames += 1) {
    scrollTo(range);
    const { top } = range.getBoundingClientRect();
    await new Promise(requestAnimationFrame);
    still = range.getBoundingClientRect().top === top ? still + 1 : 0;
  }
}

/**
 * Scroll what is around the range, from the inside out, so that it stands in the middle where it was out of sight; in the
 * innermost view also where it was near an edge.
 */
function scrollTo(range) {
  const within = range.startContainer.parentElement;
  within.scrollIntoView({ block: "nearest" });
  let edge = EDGE;
  for (let view = within; view; view = view.parentElement) {
    if (!/auto|scroll/.test(getComputedStyle(view).overflowY)) continue;
    const [place, seen] = [range.getBoundingClientRect(), view.getBoundingClientRect()];
    const [above, below] = [place.top - seen.top, seen.bottom - place.bottom];
    if (Math.min(above, below) < edge * seen.height) view.scrollTop += (above - below) / 2;
    edge = 0;
  }
}

/** Paint the ranges, the first one as the present one. Without the Highlight API nothing is painted. */
export function mark(ranges) {
  const [here, ...others] = ranges;
  CSS.highlights?.set("kimi-found", new Highlight(...others));
  if (here) CSS.highlights?.set("kimi-found-here", new Highlight(here));
}

/** @returns {[Text, number]} */
function place(nodes, offset, after = 0) {
  const { node, from } = nodes.findLast((one) => one.from <= offset);
  return [node, offset - from + after];
}
