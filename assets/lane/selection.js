/**
 * Keeps text selected while its answer is rendered again: a rendering replaces nodes, and a selection refers to nodes.
 * It is stored as positions in the text and set again where the same words still are.
 */

/** Call `change`, which changes the DOM below `root`, and restore a selection there as far as its words still exist. */
export function keepingSelection(root, change) {
  const selection = document.getSelection();
  if (!selection || selection.isCollapsed || !root.contains(selection.anchorNode) || !root.contains(selection.focusNode)) {
    change();
    return;
  }
  const anchor = placeOf(root, selection.anchorNode, selection.anchorOffset);
  const focus = placeOf(root, selection.focusNode, selection.focusOffset);
  const start = Math.min(anchor, focus);
  const words = root.textContent.slice(start, Math.max(anchor, focus));
  change();
  const now = nearest(root.textContent, words, start);
  if (now < 0) return;
  const [from, to] = [nodeAt(root, now + anchor - start), nodeAt(root, now + focus - start)];
  const current = document.getSelection();
  if (current.anchorNode === from.node && current.anchorOffset === from.offset && current.focusNode === to.node && current.focusOffset === to.offset) return;
  current.setBaseAndExtent(from.node, from.offset, to.node, to.offset);
}

/** The number of characters of `root`'s text before this point of the DOM. */
function placeOf(root, node, offset) {
  const range = document.createRange();
  range.setStart(root, 0);
  range.setEnd(node, offset);
  return range.toString().length;
}

/** The position of `words` in `text` nearest to `place`, since rendered marks move text; -1 if they are gone. */
export function nearest(text, words, place) {
  const before = text.lastIndexOf(words, place);
  const after = text.indexOf(words, place);
  if (before < 0 || after < 0) return Math.max(before, after);
  return place - before <= after - place ? before : after;
}

/** The text node and offset at a position in `root`'s text. */
function nodeAt(root, place) {
  const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  let node = null;
  let left = place;
  while (texts.nextNode()) {
    node = texts.currentNode;
    if (left <= node.length) return { node, offset: left };
    left -= node.length;
  }
  return node ? { node, offset: node.length } : { node: root, offset: 0 };
}
