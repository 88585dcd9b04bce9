/** Words in the text of an element, as ranges, and marking them. */

/**
 * The places of any of `words` in the text of `root`, in order. Case is ignored, and any white space is like a space.
 *
 * @param {Node} root
 * @param {string[]} words
 * @param {number} most
 * @returns {Range[]}
 */
export function rangesOf(root, words, most = 200) {
  if (!words.length) return [];
  /** @type {{ node: Text, from: number }[]} */
  const nodes = [];
  let text = "";
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = /** @type {Text} */ (walker.currentNode);
    nodes.push({ node, from: text.length });
    text += node.data;
  }
  const pattern = new RegExp(words.map((word) => word.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&").replace(/\s+/g, "\\s+")).join("|"), "giu");
  const found = [];
  for (let match = pattern.exec(text); match && found.length < most; match = pattern.exec(text)) {
    const range = document.createRange();
    range.setStart(...place(nodes, match.index));
    range.setEnd(...place(nodes, match.index + match[0].length - 1, 1));
    found.push(range);
  }
  return found;
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
