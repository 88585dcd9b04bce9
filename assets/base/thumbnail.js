/** A small image that opens as large as the window allows. */
import { button, h, modal } from "./dom.js";

/**
 * @param {string} src
 * @param {string} name of its file
 * @param {string} size in words
 * @param {{ width?: number, height?: number }} [shape] in pixels, so that nothing moves when it is loaded
 */
export function thumbnail(src, name, size, { width, height } = {}) {
  return button(`Open ${name}, ${size}`, () => openLarge(src, name, size), {
    class: "thumbnail", face: h("img", { src, alt: "", loading: "lazy", width, height }) });
}

/** Show an image until Escape, the button or a click beside it. */
function openLarge(src, name, size) {
  const close = button("Close", () => dialog.close(), { face: "✕", class: "icon" });
  const dialog = modal({ class: "kimi image-large", "aria-label": name },
    h("div", { class: "image-large-head" }, h("span", {}, h("b", {}, name), ` · ${size}`), close),
    h("img", { src, alt: name }));
  document.body.append(dialog);
  dialog.showModal();
}
