/**
 * Files of the next prompt: picked, dropped or pasted, and uploaded at once; the server reads them as text, a PDF page by
 * page, and counts their tokens. An image is sent as one to the lanes whose models take images, which a line says of every
 * lane before. A long pasted text becomes a file too, so the prompt stays short enough to be read. What was refused is said
 * in one line, which goes with the next files or by its button.
 */
import { chat } from "../base/bus.js";
import { button, h, promptBox, setText } from "../base/dom.js";
import { about } from "../base/format.js";
import { ask, rooted } from "../base/http.js";
import { thumbnail } from "../base/thumbnail.js";

const LONG_PASTE_CHARS = 8000;
const LARGE = /\.(pdf|png|jpe?g|webp|gif)$|^image\//i; // kinds whose files are larger than what is sent of them
const CLIPBOARD = "image.png"; // how browsers name an image that was copied, not its file

export class Attachments {
  /**
   * `limits`: the most bytes of a file by its kind, as `maxText` and so on. `onchange()` is called whenever what would be
   * sent has changed.
   */
  constructor(limits, onchange) {
    this.limits = limits;
    this.onchange = onchange;
    this.files = []; // {name, id, size, tokens, is_image}; without id: still being uploaded
    this.pasted = 0;
    this.input = h("input", { type: "file", multiple: true, class: "kimi-offscreen", tabindex: "-1", "aria-hidden": "true",
                              "aria-label": "Files to attach", onchange: () => this.#picked() });
    this.list = h("ul", { class: "attachments", "aria-label": "Attachments", hidden: true });
    this.hint = h("div", { class: "drop-hint", hidden: true }, "Drop files to attach them");
    this.refusals = h("span", { role: "alert" });
    this.refused = h("p", { class: "attachments-refused", hidden: true }, this.refusals,
      button("Dismiss", () => this.#dismiss(), { face: "✕", class: "icon" }));
    this.lanes = h("p", { class: "attachments-lanes", role: "status", hidden: true });
    this.element = h("div", { class: "composer-files" }, this.input, this.list, this.lanes, this.refused, this.hint);
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

  /** Replace the files by these, which are on the server already: `[{id, name, size, tokens, is_image}]`. */
  replace(files) {
    this.files = files.filter((file) => !file.gone); // refused while another conversation was shown
    this.#refuse([]);
    this.#draw();
    this.tellLanes();
  }

  /** Say which lanes take the images, if there are any. */
  async tellLanes() {
    const n = this.files.filter((file) => file.is_image).length;
    if (!n) {
      this.lanes.hidden = true;
      return;
    }
    const found = await ask(`/kimi/images?c=${encodeURIComponent(chat.conversation)}`).catch(() => ({ lanes: [] }));
    if (!this.files.some((file) => file.is_image)) return;
    setText(this.lanes, laneWords(found.lanes, n > 1));
    this.lanes.hidden = !found.lanes.length;
  }

  /** Remove the files that were sent; files attached meanwhile stay. */
  sent(ids) {
    this.replace(this.files.filter((file) => !ids.includes(file.id)));
  }

  /** What is pasted into the prompt, or files pasted while no other field has the focus. */
  catchPastes(signal) {
    document.addEventListener("paste", (event) => {
      const { target } = event;
      const isPrompt = target === promptBox();
      const isElsewhere = target instanceof Element && target.closest("input, textarea, [contenteditable], dialog");
      if (isPrompt || (!isElsewhere && this.element.checkVisibility())) this.#paste(event, isPrompt);
    }, { signal });
  }

  #paste(event, isPrompt) {
    const text = event.clipboardData?.getData("text/plain") ?? "";
    const files = [...(event.clipboardData?.files ?? [])].filter((file) => !text.trim() || file.name !== CLIPBOARD); // a picture of the text
    if (!files.length && !(isPrompt && text.length >= LONG_PASTE_CHARS)) return;
    event.preventDefault();
    const named = (file) => (file.name === CLIPBOARD ? new File([file], `pasted-${++this.pasted}.png`, { type: file.type }) : file);
    this.#add(files.length ? files.map(named) : [new File([text], `pasted-${++this.pasted}.txt`, { type: "text/plain" })]);
    promptBox()?.focus();
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
      promptBox()?.focus();
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
    const limit = Number(LARGE.test(file.name) || LARGE.test(file.type) ? this.limits.maxLarge : this.limits.maxText);
    if (file.size > limit) return tooLarge(file, limit);
    const entry = { name: file.name };
    this.files.push(entry);
    this.#draw();
    let problem;
    try {
      const found = await ask(`/kimi/attachments?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file });
      Object.assign(entry, { ...found, id: undefined });
      if (found.is_image) await this.tellLanes(); // nothing is sent before it is said who gets it
      entry.id = found.id;
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
    this.tellLanes();
    this.onchange();
    promptBox()?.focus();
  }

  #draw() {
    this.list.hidden = !this.files.length;
    this.list.replaceChildren(...this.files.map((entry) =>
      h("li", { class: "attachment" },
        entry.is_image && entry.id && thumbnail(rooted(`/kimi/attachments/${entry.id}`), entry.name, entry.size),
        h("span", {}, h("b", {}, entry.name), ` · ${size(entry)}`),
        button(`Remove ${entry.name}`, () => this.#remove(entry), { face: "✕", class: "icon" }))));
  }
}

function size(entry) {
  if (!entry.id) return "reading…";
  return [entry.size, entry.tokens !== null && `${about(entry.tokens)} tokens`].filter(Boolean).join(" · ");
}

/** @param {{label: string, takes: boolean | null}[]} lanes */
function laneWords(lanes, several) {
  const named = (takes) => lanes.filter((lane) => lane.takes === takes).map((lane) => lane.label).join(", ");
  const it = several ? "The images" : "The image";
  return [
    named(true) && `${it} ${several ? "go" : "goes"} to ${named(true)}.`,
    named(false) && `${named(false)}: takes no images; a note in the prompt says so to the model.`,
    named(null) && `${named(null)}: not known whether the model takes images; sent, and left out if it is refused.`,
  ].filter(Boolean).join(" ");
}

function tooLarge(file, limit) {
  const mb = (bytes) => (bytes / 1e6).toFixed(1).replace(/\.0$/, "");
  return `${file.name} has ${mb(file.size)} MB; at most ${mb(limit)} MB can be attached. Attach the part that matters.`;
}
