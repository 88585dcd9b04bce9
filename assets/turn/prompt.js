/**
 * A prompt that was sent: its text as plain text, its attachments folded to their names and sizes, with
 * buttons to copy it, edit it (which begins a branch), and show its other versions.
 */
import { chat } from "../base/bus.js";
import { button, copyFrom, h, setAttribute, setText } from "../base/dom.js";
import { about, count } from "../base/format.js";
import { ask, rooted } from "../base/http.js";
import { composer } from "../composer/composer.js";
import { LineLog } from "../lane/lines.js";

const PREVIEW_CHARS = 600;

export class PromptBlock {
  /** `turn`: turn_id, prompt, attachments ({name, tokens}). */
  constructor(turn) {
    this.turn = turn;
    this.text = h("div", { class: "prompt-text" });
    this.versions = h("span", { class: "prompt-versions", role: "group", "aria-label": "Versions of this prompt", hidden: true });
    this.copy = button("Copy prompt", () => copyFrom(this.#whole(), this.copy), { face: "Copy", class: "quiet" });
    this.tools = h("div", { class: "prompt-tools" }, this.versions,
      button("Edit this prompt and send it again", () => composer()?.edit(turn.turn_id), { face: "Edit", class: "quiet prompt-edit" }), this.copy);
    this.element = h("div", { class: "turn-prompt" },
      h("div", { class: "prompt-body" }, ...(turn.attachments ?? []).map((one, place) => this.#attachment(one, place)), this.text, this.#more()),
      this.tools);
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

  /** A button that shows all of a long text. */
  #more() {
    const { prompt } = this.turn;
    const short = prompt.length > PREVIEW_CHARS ? `${prompt.slice(0, PREVIEW_CHARS)}…` : prompt;
    setText(this.text, short);
    this.text.hidden = !prompt;
    if (short === prompt) return null;
    const face = `Show all ${count(prompt.length)} characters`;
    const more = h("button", { type: "button", class: "quiet", "aria-expanded": "false", onclick: () => {
      const open = more.getAttribute("aria-expanded") === "false";
      setAttribute(more, "aria-expanded", String(open));
      setText(more, open ? "Show less" : face);
      if (!open) return setText(this.text, short);
      this.text.replaceChildren();
      new LineLog(this.text).append(prompt);
    } }, face);
    return more;
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
