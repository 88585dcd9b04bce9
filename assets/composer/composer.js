/**
 * The composer, one line until there is more to show: the prompt (`#prompt`), Send and Stop, attachments, the estimate of
 * the next prompt's cost and the sums spent, the question before a prompt over budget, drafts, editing an earlier prompt.
 *
 * Sending empties the box at once, so that the next text is another prompt. A prompt that could not be sent is put back
 * into the box, before the text typed meanwhile, with the reason. Nothing here processes the whole text at each
 * keystroke, only when the typing pauses.
 */
import { chat } from "../base/bus.js";
import { button, h, setAttribute, setText } from "../base/dom.js";
import { ask } from "../base/http.js";
import { isComposing } from "../base/keys.js";
import { Attachments } from "./attachments.js";
import { BlindMode } from "./blind.js";
import { draftOf, keepDraft, takeFromDraft } from "./drafts.js";
import { BudgetQuestion, EstimateLine, TotalsLine } from "./money.js";
import { openSettings } from "./settings.js";
import { openShortcuts } from "./shortcuts.js";
import { WhichModel } from "./which_model.js";

const DRAFT_PAUSE_MS = 250;
const UNREACHABLE = "The server cannot be reached, so the prompt was not sent. It stays here: start Kimi UI again, then send it.";
const TOUCH = matchMedia("(hover: none) and (pointer: coarse)");
const GROWS_BY_ITSELF = CSS.supports("field-sizing", "content");

let mounted = null;

/** Draw the composer into `element`. `page` sends, shows and stops turns (page.js). */
export function mountComposer(element, page) {
  mounted?.close();
  mounted = new Composer(element, page);
  return mounted;
}

/** The composer, once it is mounted. */
export const composer = () => mounted;

class Composer {
  constructor(element, page) {
    this.page = page;
    this.edits = null; // {conversation, seq, before: the text and files in the composer before the edit}
    this.opening = 0; // number of earlier prompts that were requested and have not arrived
    this.sendWhenOpen = false;
    this.taken = null; // the text that is being sent, or null
    this.conversation = null; // whose draft is in the box; null until the page knows
    this.files = new Map(); // attachments of the other conversations' drafts
    this.sent = null; // {from, to}: the conversation changes because a prompt was sent
    this.ends = new AbortController();
    this.box = h("textarea", { rows: "1", placeholder: "Ask every model at once", "aria-label": "Prompt", autocomplete: "off",
                               oninput: () => this.#typed(), onkeydown: (event) => this.#key(event), onpaste: (event) => this.attachments.paste(event) });
    this.attachments = new Attachments(Number(element.dataset.maxBytes), () => this.#changed());
    this.which = new WhichModel();
    this.estimate = new EstimateLine(() => this.#next(), (category) => this.which.follow(category));
    this.totals = new TotalsLine();
    this.blind = new BlindMode(() => this.#changed());
    this.question = new BudgetQuestion();
    this.banner = h("p", { class: "composer-banner", id: "edit-banner", hidden: true },
      h("span", {}, "Editing an earlier prompt. Sending begins a new branch; the old one stays."),
      button("Cancel editing", () => this.cancelEdit(), { face: "Cancel", class: "quiet" }));
    this.note = h("p", { class: "composer-note", role: "alert", hidden: true });
    this.settings = button("Settings for this conversation", () => openSettings(), { face: "Settings", class: "quiet", id: "settings" });
    this.toolsButton = button("Attach, settings and more", () => this.#showTools(!this.toolsOpen), {
      face: "⋯", class: "icon composer-more", "aria-expanded": "false", "aria-controls": "composer-tools" });
    this.element = element;
    element.replaceChildren(
      this.banner, this.blind.banner, this.attachments.element, this.note, this.question.element, this.estimate.hint,
      h("div", { class: "composer-line" },
        this.toolsButton,
        h("div", { class: "composer-tools", id: "composer-tools" },
          button("Attach text files", () => this.attachments.pick(), { face: "Attach", class: "quiet", id: "attach" }),
          this.settings,
          this.blind.switch,
          this.blind.waiting,
          button("New conversation", () => this.#begin(), { face: "New", class: "quiet", id: "new-conversation" }),
          button("Keyboard shortcuts", () => openShortcuts(), { face: "?", class: "quiet", id: "shortcuts" }),
          h("button", { type: "button", class: "quiet appearance-open", popovertarget: "kimi-appearance", "aria-label": "Appearance" }, "Aa")),
        h("div", { id: "prompt" }, this.box),
        this.which.element,
        h("div", { class: "composer-figures" }, this.totals.element, this.estimate.element),
        h("button", { type: "button", id: "stop", onclick: () => page.stop() }, "Stop"),
        h("button", { type: "button", id: "send", onclick: () => this.send() }, "Send")),
    );
    this.#showTools(false);
    this.#listen();
    if (document.activeElement === document.body) this.box.focus();
  }

  close() {
    this.ends.abort();
    clearTimeout(this.draftTimer);
    this.attachments.close();
    this.estimate.close();
    this.which.close();
    this.totals.close();
    this.blind.close();
  }

  /** Put a text into the prompt, as if the user had typed it. */
  fill(text) {
    this.#write(text);
    this.box.focus();
  }

  /** Edit an earlier prompt: the next prompt replaces it, in a new branch. */
  async edit(turnId) {
    this.opening++;
    try {
      const { text, attachments, seq } = await ask(`/kimi/turns/${turnId}/edit`, { method: "POST" });
      const before = this.edits?.before ?? { text: this.box.value, files: this.attachments.files };
      this.edits = { conversation: chat.conversation, seq, before };
      this.attachments.replace(attachments);
      this.banner.hidden = false;
      this.fill(text);
      this.#changed();
    } catch (error) {
      this.sendWhenOpen = false;
      this.#say(error.message);
    }
    if (--this.opening || !this.sendWhenOpen) return;
    this.sendWhenOpen = false;
    this.send();
  }

  /** Close the question, the estimate's table, the advice or the tools; true if one was open. */
  closeOpen() {
    return this.question.close() || this.estimate.fold() || this.which.fold() || (this.toolsOpen && this.#showTools(false));
  }

  /** Ask the user whether to send something over budget; resolves to the answer. */
  mayPass(question) {
    return this.question.ask(question);
  }

  get editing() {
    return this.edits !== null;
  }

  cancelEdit() {
    const { before } = this.edits;
    this.#endEdit();
    this.attachments.replace(before.files);
    this.fill(before.text);
    this.#changed();
  }

  /** Send the prompt in the box; over budget only if the user has agreed. */
  async send(overBudget = false) {
    if (this.opening) {
      this.sendWhenOpen = true;
      return undefined;
    }
    if (this.attachments.reading) return this.#say("A file is still being read. Send once it has been read.");
    if (this.taken !== null || !this.#next()) return undefined;
    const { edits, attachments: { ids: attachments } } = this;
    const text = this.box.value;
    const from = this.conversation;
    this.taken = text;
    this.#write("");
    let sent;
    try {
      sent = await this.page.send({
        text, attachments, blind: this.blind.on, over_budget: overBudget,
        edit: edits && { conversation: edits.conversation, seq: edits.seq },
      });
    } catch (error) {
      return this.#giveBack(text, from, error);
    }
    this.taken = null;
    this.#endEdit();
    this.attachments.sent(attachments);
    this.#showTools(false);
    if (this.conversation !== from) takeFromDraft(from, text);
    this.#saveDraft();
    this.#changed();
    this.sent = { from: from ?? this.conversation, to: sent.conversation };
    await sent.show();
    this.sent = null;
    return undefined;
  }

  /** The prompt was not sent: put it back. If the budget is the reason, the user may send it anyway. */
  async #giveBack(text, from, error) {
    this.taken = null;
    if (from === null || this.conversation === from) this.#write([text, this.box.value].filter(Boolean).join("\n"));
    if (error.code !== "over_budget") return this.#say(error.code === "unreachable" ? UNREACHABLE : error.message);
    return (await this.mayPass(error.message)) ? this.send(true) : undefined;
  }

  /** Where the line has no room for the tools, they are a line of their own on demand. Returns whether they changed. */
  #showTools(open) {
    const had = document.activeElement?.closest(".composer-tools");
    const changes = open !== this.toolsOpen && this.toolsButton.checkVisibility();
    this.toolsOpen = open;
    this.element.toggleAttribute("data-tools", open);
    setAttribute(this.toolsButton, "aria-expanded", String(open));
    if (had && changes) this.toolsButton.focus();
    return changes;
  }

  #begin() {
    this.#showTools(false);
    chat.emit("open", "");
    this.box.focus();
  }

  #endEdit() {
    this.edits = null;
    this.banner.hidden = true;
  }

  #listen() {
    const { signal } = this.ends;
    window.addEventListener("pagehide", () => this.#saveDraft(), { signal });
    this.attachments.catchDrops(document.querySelector("#chat") ?? document.body, signal);
    const on = (name, listener) => chat.addEventListener(name, listener, { signal });
    on("ended", () => this.estimate.soon());
    on("conversation", () => {
      if (this.edits && this.edits.conversation !== chat.conversation) this.cancelEdit();
      this.#changeDraft();
      this.sendWhenOpen = false;
      this.question.close();
      this.#describeSettings();
      this.estimate.soon();
    });
    on("settings", () => {
      this.#describeSettings();
      this.estimate.soon();
    });
  }

  /**
   * Enter sends, unless an input method is composing: then it chooses a letter. On a touch screen, whose keyboard has
   * no Shift+Enter, it begins a new line and the button sends. Ctrl or Cmd with Enter sends everywhere.
   */
  #key(event) {
    if (event.key !== "Enter" || event.shiftKey || isComposing(event)) return;
    if (TOUCH.matches && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    this.send();
  }

  #typed() {
    this.#fit();
    this.#say("");
    this.question.close(); // it was about the text before
    this.estimate.soon();
    clearTimeout(this.draftTimer);
    this.draftTimer = setTimeout(() => this.#saveDraft(), DRAFT_PAUSE_MS);
  }

  #changed() {
    this.#say("");
    this.question.close();
    this.estimate.soon();
  }

  /** Make the box as high as its text; the style sheet sets the limit. */
  #fit() {
    if (GROWS_BY_ITSELF) return;
    this.box.style.height = "auto";
    this.box.style.height = `${this.box.scrollHeight}px`;
  }

  /** Set the text, as if the user had typed it. */
  #write(text) {
    this.box.value = text;
    this.#typed();
  }

  /** The prompt that Send would send now; null if it is empty. */
  #next() {
    const text = this.box.value;
    const attachments = this.attachments.ids;
    if (!text.trim() && !attachments.length) return null;
    return { conversation: chat.conversation, before: this.edits?.seq ?? null, text, attachments };
  }

  /** Save the draft, with the text that is being sent, since that may be refused. */
  #saveDraft() {
    if (this.edits || this.conversation === null) return;
    keepDraft(this.conversation, [this.taken, this.box.value].filter(Boolean).join("\n"));
  }

  /**
   * Every conversation has its own draft, which the first prompt of a new one takes along. What was written before the
   * page knew which conversation it shows belongs to that one.
   */
  #changeDraft() {
    const { conversation: before } = this;
    const now = chat.conversation;
    if (before === now) return;
    clearTimeout(this.draftTimer);
    const goesOn = before === this.sent?.from && now === this.sent?.to;
    if (goesOn) keepDraft(before, "");
    else this.#saveDraft();
    this.conversation = now;
    if (goesOn) return this.#saveDraft();
    if (before !== null) {
      this.files.set(before, this.attachments.files);
      this.attachments.replace(this.files.get(now) ?? []);
    }
    const typed = before === null ? this.box.value : "";
    return this.#write([draftOf(now), typed].filter(Boolean).join("\n"));
  }

  /** Show on the settings button whether settings differ from the lanes' configuration. */
  async #describeSettings() {
    try {
      const { settings, lanes } = await ask(`/kimi/settings?c=${encodeURIComponent(chat.conversation)}`);
      const off = lanes.filter((lane) => settings.lanes?.[lane.id]?.on === false).length;
      const changed = Object.keys(settings).length > 0;
      setText(this.settings, off ? `Settings · ${lanes.length - off} of ${lanes.length} lanes` : changed ? "Settings · changed" : "Settings");
    } catch {
      setText(this.settings, "Settings"); // the server cannot be reached; the page says so elsewhere
    }
  }

  #say(sentence) {
    this.note.hidden = !sentence;
    setText(this.note, sentence);
  }
}
