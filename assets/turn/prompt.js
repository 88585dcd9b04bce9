/**
 * A prompt that was sent: the first lines of its text, as plain text, and all of it on demand; its attachments folded to
 * their names and sizes, its images as thumbnails that open large; buttons to copy it, edit it (which begins a branch), and show its other versions.
 */
import { chat } from "../base/bus.js";
import { button, copyFrom, h, setAttribute, setFlag, setText } from "../base/dom.js";
import { about, count, pixels } from "../base/format.js";
import { ask, rooted } from "../base/http.js";
import { showWords } from "../base/ranges.js";
import { thumbnail } from "../base/thumbnail.js";
import { composer } from "../composer/composer.js";
import { LineLog } from "../lane/lines.js";

const PREVIEW_CHARS = 600;

export class PromptBlock {
  /**
   * `turn`: turn_id, prompt, attachments ({name, tokens}), images ({name, width, height, src}); `basis`: the label of the
   * lane that all lanes went on from.
   */
  constructor(turn, basis = "") {
    this.turn = turn;
    this.text = h("div", { class: "prompt-text" });
    this.versions = h("span", { class: "prompt-versions", role: "group", "aria-label": "Versions of this prompt", hidden: true });
    this.copy = button("Copy prompt", () => copyFrom(this.#whole(), this.copy), { face: "Copy", class: "quiet" });
    this.more = h("button", { type: "button", class: "quiet prompt-more", "aria-expanded": "false", hidden: true,
                              title: `All ${count(turn.prompt.length)} characters`, onclick: () => this.#open(!this.open) }, "Show all");
    this.tools = h("div", { class: "prompt-tools" }, this.versions, this.more,
      button("Edit this prompt and send it again", () => composer()?.edit(turn.turn_id), { face: "Edit", class: "quiet prompt-edit" }), this.copy);
    this.element = h("div", { class: "turn-prompt" },
      h("div", { class: "prompt-body" }, basis ? h("p", { class: "note prompt-basis" }, `All lanes went on from ${basis}’s answer.`) : null,
        ...(turn.attachments ?? []).map((one, place) => this.#attachment(one, place)),
        turn.images?.length > 0 && h("div", { class: "prompt-images" }, ...turn.images.map((one, place) => this.#image(one, place))), this.text),
      this.tools);
    this.text.hidden = !turn.prompt;
    this.#open(false);
    this.sizes = new ResizeObserver(() => requestAnimationFrame(() => this.#offerMore()));
    this.sizes.observe(this.text);
  }

  close() {
    this.sizes.disconnect();
  }

  /**
   * This prompt is version `place` (from 0) of those that `conversations` hold.
   *
   * @param {{ place?: number, conversations?: string[] }} [versions]
   */
  showVersions({ place, conversations } = {}) {
    this.versions.hidden = !conversations;
    if (!conversations) return;
    const step = (by, label, face) => button(label, () => chat.emit("open", conversations[place + by]),
      { face, class: "quiet", disabled: !conversations[place + by] });
    this.versions.replaceChildren(
      step(-1, "Earlier version of this prompt", "◂"),
      h("span", { "aria-label": `Version ${place + 1} of ${conversations.length}` }, `${place + 1}/${conversations.length}`),
      step(1, "Later version of this prompt", "▸"));
  }

  async #whole() {
    if (!this.turn.attachments?.length) return this.turn.prompt;
    const response = await fetch(rooted(`/kimi/turns/${this.turn.turn_id}/prompt`));
    return response.ok ? response.text() : this.turn.prompt;
  }

  /** Show these words of the prompt, and mark them. */
  reveal(words) {
    if (!this.more.hidden && !this.open) this.#open(true);
    showWords(this.text, words);
    return true;
  }

  #open(open) {
    const { prompt } = this.turn;
    this.open = open;
    this.cut = !open && prompt.length > PREVIEW_CHARS;
    this.element.toggleAttribute("data-open", open);
    setAttribute(this.more, "aria-expanded", String(open));
    setText(this.more, open ? "Show less" : "Show all");
    this.text.replaceChildren();
    if (open) new LineLog(this.text).append(prompt);
    else setText(this.text, this.cut ? `${prompt.slice(0, PREVIEW_CHARS)}…` : prompt);
  }

  /** Offer the rest where the window has no room for all of the text. */
  #offerMore() {
    setFlag(this.more, "hidden", !this.open && !this.cut && this.text.scrollHeight <= this.text.clientHeight + 1);
  }

  #image(image, place) {
    const { src = rooted(`/kimi/turns/${this.turn.turn_id}/images/${place}`) } = image;
    return thumbnail(src, image.name, pixels(image), image);
  }

  /** An attached file: its text is requested when it is opened. */
  #attachment({ name, tokens, chars }, place) {
    const id = `prompt-file-${this.turn.turn_id}-${place}`;
    const size = tokens === undefined ? `${count(chars)} characters` : `${about(tokens)} tokens`;
    const body = h("div", { class: "prompt-file-text", id, tabindex: "0", role: "region", "aria-label": `Text of ${name}`, hidden: true });
    const toggle = h("button", { type: "button", class: "prompt-file", "aria-expanded": "false", "aria-controls": id, onclick: async () => {
      const open = body.hidden;
      body.hidden = !open;
      setAttribute(toggle, "aria-expanded", String(open));
      if (!open || body.hasChildNodes()) return;
      const response = await fetch(rooted(`/kimi/turns/${this.turn.turn_id}/attachments/${place}`));
      new LineLog(body).append(response.ok ? await response.text() : "The text could not be loaded. Reload the page.");
    } }, h("span", { class: "chevron", "aria-hidden": "true" }), h("b", {}, name), h("span", {}, `· ${size}`));
    return h("div", { class: "prompt-file-block" }, toggle, body);
  }
}

/** The edited prompts of a conversation: by turn number, the version's index and all versions' conversations. */
export async function versionsOf(conversation) {
  return conversation ? ask(`/kimi/versions?c=${encodeURIComponent(conversation)}`).catch(() => ({})) : {};
}
