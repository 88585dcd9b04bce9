/**
 * The page's part of rendered answers (kimi_ui/core/markdown): text appended between two renderings of the open tail,
 * and the copy buttons of code blocks.
 */

import { h } from "../base/dom.js";

const INLINE = new Set(["a", "br", "button", "code", "del", "em", "math", "s", "span", "strong"]);

const SECTION_LINES = 100; // as in kimi_ui/core/markdown/code.py

/** Append plain text at the visible end of the tail: in the code of an open code block, else in the last block. */
export function appendToTail(tail, text) {
  let node = tail;
  while (node.lastElementChild && !INLINE.has(node.lastElementChild.localName)) node = node.lastElementChild;
  const code = node.localName === "pre" ? node.querySelector("code") : null;
  if (code) appendCode(code, text);
  else appendText(node, text);
}

/**
 * The lines of a long block are in sections, as in a finished one: the browser lays out only those in sight, so a line
 * costs the same after five thousand as after ten.
 */
function appendCode(code, text) {
  let rest = text;
  while (rest) {
    const section = code.lastElementChild ?? code; // the first lines may stand in the code itself
    const until = placeAfter(rest, SECTION_LINES - section.textContent.split("\n").length + 1);
    if (until) appendText(section, rest.slice(0, until));
    rest = rest.slice(until);
    if (rest) code.append(h("span", { class: "md-lines" }));
  }
}

/** Where the `n`-th line of a text ends; the end of the text if it has fewer. */
export function placeAfter(text, n) {
  let at = 0;
  for (let i = 0; i < n; i += 1) {
    const newline = text.indexOf("\n", at);
    if (newline < 0) return text.length;
    at = newline + 1;
  }
  return at;
}

function appendText(node, text) {
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
