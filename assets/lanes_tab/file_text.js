/** Lanes as the text of a lanes file, to read and to copy. */
import { button, copyFrom, h } from "../base/dom.js";
import { rooted } from "../base/http.js";

export async function fileText(query) {
  try {
    const response = await fetch(rooted(`/kimi/lanes-file?${query}`));
    if (response.ok) return await response.text();
  } catch { /* reported below */ }
  return "# The server did not answer. Try again once it runs.";
}

export function codeBlock(text) {
  const copy = button("Copy the file", () => copyFrom(text, copy), { face: "Copy", class: "quiet" });
  return h("div", { class: "lt-code" }, copy, h("pre", { tabindex: "0" }, text));
}
