/**
 * Files of the next prompt: picked, dropped or pasted, and uploaded at once; the server reads them as text and counts
 * their tokens. A long pasted text becomes a file too, so the prompt stays short enough to be read.
 */
import { button, h, promptBox } from "../base/dom.js";
import { about } from "../base/format.js";
import { ask } from "../base/http.js";

const LONG_PASTE_CHARS = 8000;

export class Attachments {
  /** `onchange()` is called whenever what would be sent has changed. */
  constructor(maxBytes, onchange) {
    this.maxBytes = maxBytes;
    this.onchange = onchange;
    this.files = []; // {name, id, tokens, problem}; without id and problem: still being uploaded
    this.pasted = 0;
    this.input = h("input", { type: "file", multiple: true, class: "kimi-offscreen", tabindex: "-1", "aria-hidden": "true",
                              "aria-label": "Text files to attach", onchange: () => this.#picked() });
    this.list = h("ul", { class: "attachments", "aria-label": "Attachments", hidden: true });
    this.hint = h("div", { class: "drop-hint", hidden: true }, "Drop text files to attach them");
    this.element = h("div", { class: "composer-files" }, this.input, this.list, this.hint);
  }

  get ids() {
    return this.files.filter((file) => file.id).map((file) => file.id);
  }

  get reading() {
    return this.files.some((file) => !file.id && !file.problem);
  }

  close() {
    this.files = [];
  }

  pick() {
    this.input.click();
  }

  /** Replace the files by these, which are on the server already: `[{id, name, tokens}]`. */
  replace(files) {
    this.files = files;
    this.#draw();
  }

  /** Remove the files that were sent; files attached meanwhile stay. */
  sent(ids) {
    this.replace(this.files.filter((file) => !file.problem && !ids.includes(file.id)));
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

  #add(files) {
    for (const file of files) this.#read(file);
  }

  async #read(file) {
    const entry = { name: file.name };
    this.files.push(entry);
    this.#draw();
    try {
      if (file.size > this.maxBytes) throw new Error(tooLarge(file, this.maxBytes));
      Object.assign(entry, await ask(`/kimi/attachments?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file }));
    } catch (error) {
      entry.problem = error.message;
    }
    this.#draw();
    this.onchange();
  }

  #remove(entry) {
    if (entry.id) ask(`/kimi/attachments/${entry.id}`, { method: "DELETE" }).catch(() => {});
    this.files = this.files.filter((other) => other !== entry);
    this.#draw();
    this.onchange();
    promptBox()?.focus();
  }

  #draw() {
    this.list.hidden = !this.files.length;
    this.list.replaceChildren(...this.files.map((entry) =>
      h("li", { class: entry.problem ? "attachment refused" : "attachment", role: entry.problem ? "alert" : null },
        entry.problem ? h("span", {}, entry.problem) : h("span", {}, h("b", {}, entry.name), ` · ${size(entry)}`),
        button(`Remove ${entry.name}`, () => this.#remove(entry), { face: "✕", class: "icon" }))));
  }
}

function size(entry) {
  return entry.id ? `${about(entry.tokens)} tokens` : "reading…";
}

function tooLarge(file, maxBytes) {
  const mb = (bytes) => (bytes / 1e6).toFixed(1).replace(/\.0$/, "");
  return `${file.name} has ${mb(file.size)} MB; at most ${mb(maxBytes)} MB can be attached, which is more than these models read at once. Attach the part that matters.`;
}
