/**
 * The page's part of rendered answers (kimi_ui/core/markdown): text appended between two renderings of the open tail,
 * and the copy buttons of code blocks.
 */

const INLINE = new Set(["a", "br", "button", "code", "del", "em", "math", "s", "span", "strong"]);

/** Append plain text at the visible end of the tail: in the code of an open code block, else in the last block. */
export function appendToTail(tail, text) {
  let node = tail;
  while (node.lastElementChild && !INLINE.has(node.lastElementChild.localName)) node = node.lastElementChild;
  if (node.localName === "pre") node = node.querySelector("code") ?? node;
  const last = node.lastChild;
  if (last?.nodeType === Node.TEXT_NODE && last.length < 4096) last.appendData(text);
  else node.append(text);
}

/** One listener for every code block in `root`, now and later. `copy(text, button)` does the copying. */
export function copyCodeOnClick(root, copy) {
  root.addEventListener("click", (event) => {
    const button = event.target.closest?.("button.md-copy");
    if (button && root.contains(button)) copy(codeOf(button.closest(".md-code")), button);
  });
}

/** The code of a block as the model wrote it, without what marks of a comparison add. */
function codeOf(block) {
  const code = block.querySelector("code").cloneNode(true);
  for (const added of code.querySelectorAll(".md-say, .md-blank")) added.remove();
  return code.textContent;
}
