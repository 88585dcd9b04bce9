/** A small menu that saves a turn or a conversation as a file, with or without its reasoning. */
import { h, setAttribute } from "./dom.js";

const FORMATS = [
  ["html", "HTML", "one page that replays by itself"],
  ["md", "Markdown", "to read and to paste"],
  ["json", "JSON", "complete, can be read back"],
];

let serial = 0;

/** `url` is the export route, `what` names it ("this turn"). Returns the element. */
export function exportMenu(url, what) {
  const id = `kimi-export-${++serial}`;
  const reasoning = h("input", { type: "checkbox", checked: true, onchange: () => aim() });
  const links = FORMATS.map(([format, name, note]) =>
    h("a", { class: "export-link", download: "", "data-format": format, onclick: () => close() }, h("b", {}, name), h("span", {}, note)));
  const panel = h("div", { class: "export-panel", id, role: "group", "aria-label": `Save ${what}`, hidden: true },
    ...links, h("label", { class: "export-reasoning" }, reasoning, "With reasoning"));
  const face = h("button", {
    type: "button", class: "quiet", "aria-expanded": "false", "aria-controls": id, title: `Save ${what} as a file`, onclick: () => toggle(),
  }, "Export");
  const element = h("div", { class: "export", onkeydown: (event) => {
    if (event.key !== "Escape" || panel.hidden) return;
    event.preventDefault();
    close();
    face.focus();
  }, onfocusout: (event) => {
    if (event.relatedTarget && !element.contains(event.relatedTarget)) close();
  } }, face, panel);
  const outside = (event) => element.contains(event.target) || close();

  function aim() {
    for (const link of links) link.href = `${url}?format=${link.dataset.format}&reasoning=${reasoning.checked ? 1 : 0}`;
  }

  function toggle() {
    if (!panel.hidden) return close();
    panel.hidden = false;
    setAttribute(face, "aria-expanded", "true");
    document.addEventListener("pointerdown", outside);
    return links[0].focus();
  }

  function close() {
    panel.hidden = true;
    setAttribute(face, "aria-expanded", "false");
    document.removeEventListener("pointerdown", outside);
  }

  aim();
  return element;
}
