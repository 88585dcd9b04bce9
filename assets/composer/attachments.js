/**
 * Files of the next prompt: picked, dropped or pasted, and uploaded at once; the server reads them as text, a PDF page by
 * page, and counts their tokens. A long pasted text becomes a file too, so the prompt stays short enough to be read. What
 * was refused is said in one line, which goes with the next files or by its button.
 */
import { button, h, promptBox, setText } from "../base/dom.js";
import { about } from "../base/format.js";
import { ask } from "../base/http.js";

const LONG_PASTE_CHARS = 8000;
const PDF = /\.pdf$/i;

export class Attachments {
  /**
   * `limits`: the most bytes of a file by its kind, as `maxText` and so on. `onchange()` is called whenever what would be
   * sent has changed.
   */
  constructor(limits, onchange) {
    this.limits = limits;
    this.onchange = onchange;
    this.files = []; // {name, id, tokens, pages}; without id: still being uploaded
    this.pasted = 0;
    this.input = h("input", { type: "file", multiple: true, class: "kimi-offscreen", tabindex: "-1", "aria-hidden": "true",
                              "aria-label": "Files to attach", onchange: () => this.#picked() });
    this.list = h("ul", { class: "attachments", "aria-label": "Attachments", hidden: true });
    this.hint = h("div", { class: "drop-hint", hidden: true }, "Drop files to attach them");
    this.refusals = h("span", { role: "alert" });
    this.refused = h("p", { class: "attachments-refused", hidden: true }, this.refusals,
      button("Dismiss", () => this.#dismiss(), { face: "✕", class: "icon" }));
    this.element = h("div", { class: "composer-files" }, this.input, this.list, this.refused, this.hint);
  }

  get ids() {
    return this.files.filter((file) => file.id).map((file) => file.id);
  }

  get reading() {
    return this.files.some((file) => !file.id);
  }

  close() {
    this.files = [];
  }

  pick() {
    this.input.click();
  }

  /** Replace the files by these, which are on the server already: `[{id, name, tokens, pages}]`. */
  replace(files) {
    this.files = files.filter((file) => !file.gone); // refused while another conversation was shown
    this.#refuse([]);
    this.#draw();
  }

  /** Remove the files that were sent; files attached meanwhile stay. */
  sent(ids) {
    this.replace(this.files.filter((file) => !ids.includes(file.id)));
  }

  paste(event) {
    const files = [...(event.clipboardData?.files ?? [])];
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (!files.length && text.length < LONG_PASTE_CHARS) return;
    event.preventDefault();
    if (files.length) this.#add(files);
    else this.#add([new File([text], `pasted-${++this.pasted}.txt`, { type: "text/plain" })]);
  }

  /** Attach files dropped anywhere on `place`. */
  catchDrops(place, signal) {
    const carriesFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    let depth = 0; // enter and leave are fired for every element on the way
    const show = (by) => {
      depth = by === 0 ? 0 : Math.max(0, depth + by);
      this.hint.hidden = depth === 0;
    };
    place.addEventListener("dragenter", (event) => carriesFiles(event) && show(1), { signal });
    place.addEventListener("dragleave", (event) => carriesFiles(event) && show(-1), { signal });
    place.addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault(), { signal });
    place.addEventListener("drop", (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      event.stopPropagation();
      show(0);
      this.#add([...event.dataTransfer.files]);
    }, { signal, capture: true });
  }

  #picked() {
    this.#add([...this.input.files]);
    this.input.value = "";
  }

  async #add(files) {
    this.#refuse([]);
    const problems = (await Promise.all(files.map((file) => this.#read(file)))).filter(Boolean);
    if (problems.length) this.#refuse(problems);
  }

  /** Upload a file. Resolves to the reason why it cannot be attached, or to nothing. */
  async #read(file) {
    const limit = Number(PDF.test(file.name) ? this.limits.maxPdf : this.limits.maxText);
    if (file.size > limit) return tooLarge(file, limit);
    const entry = { name: file.name };
    this.files.push(entry);
    this.#draw();
    let problem;
    try {
      Object.assign(entry, await ask(`/kimi/attachments?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file }));
    } catch (error) {
      problem = error.message;
    }
    if (problem || entry.gone) this.#forget(entry);
    this.#draw();
    this.onchange();
    return problem;
  }

  #refuse(problems) {
    this.refused.hidden = !problems.length;
    setText(this.refusals, problems.join(" "));
  }

  #dismiss() {
    this.#refuse([]);
    promptBox()?.focus();
  }

  /** Take a file out, here and on the server, if it is there already. */
  #forget(entry) {
    entry.gone = true;
    if (entry.id) ask(`/kimi/attachments/${entry.id}`, { method: "DELETE" }).catch(() => {});
    this.files = this.files.filter((other) => other !== entry);
  }

  #remove(entry) {
    this.#forget(entry);
    this.#draw();
    this.onchange();
    promptBox()?.focus();
  }

  #draw() {
    this.list.hidden = !this.files.length;
    this.list.replaceChildren(...this.files.map((entry) =>
      h("li", { class: "attachment" },
        h("span", {}, h("b", {}, entry.name), ` · ${size(entry)}`),
        button(`Remove ${entry.name}`, () => this.#remove(entry), { face: "✕", class: "icon" }))));
  }
}

function size(entry) {
  if (!entry.id) return "reading…";
  return [entry.pages, `${about(entry.tokens)} tokens`].filter(Boolean).join(" · ");
}

function tooLarge(file, limit) {
  const mb = (bytes) => (bytes / 1e6).toFixed(1).replace(/\.0$/, "");
  return `${file.name} has ${mb(file.size)} MB; at most ${mb(limit)} MB can be attached. Attach the part that matters.`;
}
