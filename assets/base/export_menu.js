/** A small menu that saves a turn or a conversation as a file, with or without its reasoning, or shares it by a link. */
import { focusAsPopoverOpens, h, placeBeside, setAttribute } from "./dom.js";
import { rooted } from "./http.js";
import { openShare } from "./share.js";

const FORMATS = [
  ["html", "HTML", "one page that replays on its own"],
  ["md", "Markdown", "to read and to paste"],
  ["json", "JSON", "complete, can be read back"],
];

let serial = 0;

/**
 * `url` is the export route, or returns it when the panel opens; `what` names it ("this turn"). `shared`: what a
 * link may show, as for `openShare`; without it no link is offered. Returns the button; its panel is a popover beside it.
 */
export function exportMenu(url, what, shared = null) {
  const id = `kimi-export-${++serial}`;
  const reasoning = h("input", { type: "checkbox", checked: true, onchange: () => aim() });
  const links = FORMATS.map(([format, name, note]) =>
    h("a", { class: "export-link", download: "", "data-format": format, onclick: () => panel.hidePopover() }, h("b", {}, name), h("span", {}, note)));
  const panel = h("div", { class: "export-panel", id, popover: "auto", role: "group", "aria-label": `Save ${what}` },
    ...links, h("label", { class: "export-reasoning" }, reasoning, "With reasoning"),
    shared ? h("button", { type: "button", class: "export-share", onclick: () => share() }, "Share…") : null);
  const face = h("button", { type: "button", class: "quiet", popovertarget: id, "aria-expanded": "false", title: `Save ${what} as a file` }, "Export");
  panel.addEventListener("beforetoggle", () => {
    aim();
    focusAsPopoverOpens(links[0]);
  });
  panel.addEventListener("toggle", ({ newState }) => {
    setAttribute(face, "aria-expanded", String(newState === "open"));
    if (newState === "open") placeBeside(panel, face.getBoundingClientRect());
  });

  function aim() {
    const path = rooted(typeof url === "function" ? url() : url);
    const mark = path.includes("?") ? "&" : "?";
    for (const link of links) link.href = `${path}${mark}format=${link.dataset.format}&reasoning=${reasoning.checked ? 1 : 0}`;
  }

  function share() {
    panel.hidePopover();
    openShare(shared);
  }

  return h("span", { class: "export" }, face, panel);
}
