/**
 * The composer: the prompt (`#prompt`), Send and Stop, attachments, the estimate of the next prompt's cost and the sums
 * spent, the question before a prompt over budget, drafts, editing an earlier prompt.
 *
 * Sending empties the box at once, so that the next text is another prompt. A prompt that could not be sent is put back
 * into the box, before the text typed meanwhile, with the reason. Nothing here processes the whole text at each
 * keystroke, only when the typing pauses.
 */
import { chat } from "../base/bus.js";
import { button, h, setText } from "../base/dom.js";
import { ask } from "../base/http.js";
import { isComposing } from "../base/keys.js";
import { Attachments } from "./attachments.js";
import { BlindMode } from "./blind.js";
import { BudgetQuestion, EstimateLine, TotalsLine } from "./money.js";
import { openSettings } from "./settings.js";
import { openShortcuts } from "./shortcuts.js";
import { WhichModel } from "./which_model.js";

const DRAFT = "kimi.draft";
const DRAFT_PAUSE_MS = 250;
const MAX_DRAFT_CHARS = 1_000_000;
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
    element.replaceChildren(
      h("div", { id: "prompt" }, this.box),
      h("div", { class: "composer-foot" },
        h("div", { class: "composer-extras" },
          this.banner, this.blind.banner, this.attachments.element, this.note, this.question.element, this.estimate.hint,
          h("div", { class: "composer-tools" },
            button("Attach text files", () => this.attachments.pick(), { face: "Attach", class: "quiet", id: "attach" }),
            this.settings,
            this.blind.switch,
            this.blind.waiting,
            button("New conversation", () => this.#begin(), { face: "New", class: "quiet", id: "new-conversation" }),
            button("Keyboard shortcuts", () => openShortcuts(), { face: "?", class: "quiet", id: "shortcuts" }),
            h("div", { class: "composer-figures" }, this.which.element, this.totals.element, this.estimate.element))),
        h("button", { type: "button", id: "stop", onclick: () => page.stop() }, "Stop"),
        h("button", { type: "button", id: "send", onclick: () => this.send() }, "Send")),
    );
    this.#listen();
    this.#restoreDraft();
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

  /** Close the question, the estimate's table or the advice; true if one was open. */
  closeOpen() {
    return this.question.close() || this.estimate.fold() || this.which.fold();
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
    this.taken = text;
    this.#write("");
    let show;
    try {
      show = await this.page.send({
        text, attachments, blind: this.blind.on, over_budget: overBudget,
        edit: edits && { conversation: edits.conversation, seq: edits.seq },
      });
    } catch (error) {
      return this.#giveBack(text, error);
    }
    this.taken = null;
    this.#endEdit();
    this.attachments.sent(attachments);
    this.#saveDraft();
    this.#changed();
    return show();
  }

  /** The prompt was not sent: put it back. If the budget is the reason, the user may send it anyway. */
  async #giveBack(text, error) {
    this.taken = null;
    this.#write([text, this.box.value].filter(Boolean).join("\n"));
    if (error.code !== "over_budget") return this.#say(error.code === "unreachable" ? UNREACHABLE : error.message);
    return (await this.mayPass(error.message)) ? this.send(true) : undefined;
  }

  #begin() {
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
    if (this.edits || this.box.textLength > MAX_DRAFT_CHARS) return;
    const draft = [this.taken, this.box.value].filter(Boolean).join("\n");
    storage((drafts) => (draft ? drafts.setItem(DRAFT, draft) : drafts.removeItem(DRAFT)));
  }

  #restoreDraft() {
    const draft = storage((drafts) => drafts.getItem(DRAFT));
    if (draft) this.#write(draft);
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

/** Use sessionStorage, which a browser may refuse; then drafts are not kept. */
function storage(use) {
  try {
    return use(sessionStorage);
  } catch {
    return null;
  }
}
