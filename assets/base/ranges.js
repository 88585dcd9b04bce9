/** Words in the text of an element: finding them as ranges, scrolling to them, marking them. */

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
export function rangesOf(root, words, most = 200) {
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
  if (!found.length) return void root.scrollIntoView({ block: "start" });
  bringIntoSight(found[0]);
  for (let frames = 0; frames < 2; frames += 1) { // text that was out of sight has its own height only once it is drawn
    await new Promise(requestAnimationFrame);
    bringIntoSight(found[0]);
  }
}

/** Scroll what is around the range, from the inside out, so that it stands in the middle where it was out of sight. */
function bringIntoSight(range) {
  const within = range.startContainer.parentElement;
  within.scrollIntoView({ block: "nearest" });
  for (let view = within; view; view = view.parentElement) {
    if (!/auto|scroll/.test(getComputedStyle(view).overflowY)) continue;
    const [place, seen] = [range.getBoundingClientRect(), view.getBoundingClientRect()];
    if (place.top < seen.top || place.bottom > seen.bottom) view.scrollTop += place.top - seen.top - (seen.height - place.height) / 2;
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
