/**
 * The composer beside its text: attachments, what the next prompt will cost and what was spent, the question before the
 * budget is passed, drafts, editing an earlier prompt.
 *
 * The text itself is Gradio's textbox (`#prompt`), Send and Stop are its buttons; this element's value tells Python
 * what the text does not: `{attachments: [ids], edits: {conversation, seq} | null, blind, over_budget}`, and at a send the `text`
 * as it stood then, whatever is typed after. Python sets it back, with `sent` and the text that was `taken`, which is
 * then removed from the box, or with a `question` to be asked before it goes out. Nothing here works through the text at
 * a keystroke: it is looked at when the typing pauses.
 */
import { chat } from "../base/bus.js";
import { button, h, setText } from "../base/dom.js";
import { ask } from "../base/http.js";
import { Attachments } from "./attachments.js";
import { blindSwitch, isBlind } from "./blind.js";
import { BudgetQuestion, EstimateLine, TotalsLine } from "./money.js";
import { openSettings } from "./settings.js";
import { openShortcuts } from "./shortcuts.js";

const DRAFT = "kimi.draft";
const DRAFT_PAUSE_MS = 250;
const MAX_DRAFT_CHARS = 1_000_000;
const SENT_BY_MS = 3000;

let mounted = null;

/** Called by the component's js_on_load with what Gradio gives it. */
export function mount(element, props, watch) {
  mounted?.close();
  mounted = new Composer(element, props);
  watch("value", () => mounted.valueChanged());
}

/** The composer, once it is there. */
export const composer = () => mounted;

class Composer {
  constructor(element, props) {
    this.props = props;
    this.edits = null; // {conversation, seq, before: the text and files that were there}
    this.opening = 0; // earlier prompts that were asked for and have not come yet
    this.sendWhenOpen = false;
    this.ends = new AbortController();
    this.attachments = new Attachments(Number(element.dataset.maxBytes), () => this.#changed());
    this.estimate = new EstimateLine(() => this.#next());
    this.totals = new TotalsLine();
    this.question = new BudgetQuestion();
    this.banner = h("p", { class: "composer-banner", hidden: true },
      h("span", {}, "Editing an earlier prompt. Sending begins a new branch; the old one stays."),
      button("Cancel editing", () => this.cancelEdit(), { face: "Cancel", class: "quiet" }));
    this.note = h("p", { class: "composer-note", role: "alert", hidden: true });
    this.settings = button("Settings for this conversation", () => openSettings(), { face: "Settings", class: "quiet", id: "settings" });
    element.replaceChildren(
      this.banner, this.attachments.element, this.note, this.question.element,
      h("div", { class: "composer-tools" },
        button("Attach text files", () => this.attachments.pick(), { face: "Attach", class: "quiet", id: "attach" }),
        this.settings,
        blindSwitch(() => this.#changed()),
        button("New conversation", () => this.#begin(), { face: "New", class: "quiet", id: "new-conversation" }),
        button("Keyboard shortcuts", () => openShortcuts(), { face: "?", class: "quiet", id: "shortcuts" }),
        h("div", { class: "composer-figures" }, this.totals.element, this.estimate.element)),
    );
    this.#listen();
    this.totals.refresh();
    if (isBlind()) this.#changed();
    this.#restoreDraft();
    this.#describeSettings();
  }

  get box() {
    return document.querySelector("#prompt textarea");
  }

  close() {
    this.ends.abort();
    clearTimeout(this.sendTimer);
    this.attachments.close();
    this.estimate.close();
    this.totals.close();
  }

  /** Put a text into the prompt, as if it had been typed. */
  fill(text) {
    this.#write(text);
    this.box?.focus();
  }

  /** Take an earlier prompt up again: what is sent next replaces it, in a branch of its own. */
  async edit(turnId) {
    this.opening++;
    try {
      const { text, attachments, seq } = await ask(`/kimi/turns/${turnId}/edit`, { method: "POST" });
      const before = this.edits?.before ?? { text: this.box?.value ?? "", files: this.attachments.files };
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
    document.querySelector("#send")?.click();
  }

  /** Close what is open here; true if something was. */
  closeOpen() {
    return this.question.close() || this.estimate.fold();
  }

  /** Ask whether something may pass the budget; resolves to the answer. */
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

  /** Python has set the value: something was sent, or is not before the person has been asked. */
  valueChanged() {
    const { sent, taken, question } = this.props.value ?? {};
    if (question) return void this.#askThenSend(question);
    if (!sent) return;
    clearTimeout(this.sendTimer);
    this.#endEdit();
    this.attachments.replace([]);
    this.#write(this.box.value.startsWith(taken) ? this.box.value.slice(taken.length) : this.box.value);
    this.#saveDraft();
    this.#changed();
  }

  async #askThenSend(question) {
    const yes = await this.mayPass(question);
    this.#changed(yes);
    if (yes) document.querySelector("#send")?.click();
  }

  #begin() {
    chat.tell("open", "");
    this.box?.focus();
  }

  #endEdit() {
    this.edits = null;
    this.banner.hidden = true;
  }

  #listen() {
    const { signal } = this.ends;
    const inPrompt = (event) => event.target.closest?.("#prompt") !== null && event.target.tagName === "TEXTAREA";
    document.addEventListener("input", (event) => inPrompt(event) && this.#typed(), { signal });
    for (const key of ["keydown", "keypress"]) {
      document.addEventListener(key, (event) => inPrompt(event) && this.#key(event), { signal, capture: true });
    }
    document.addEventListener("click", (event) => event.target.closest?.("#send") && this.#hold(event), { signal, capture: true });
    document.addEventListener("paste", (event) => inPrompt(event) && this.attachments.paste(event), { signal, capture: true });
    window.addEventListener("pagehide", () => this.#saveDraft(), { signal });
    this.attachments.catchDrops(document.querySelector("#chat") ?? document.body, signal);
    const told = (name, listener) => chat.addEventListener(name, listener, { signal });
    told("ended", () => this.estimate.soon());
    told("conversation", () => {
      if (this.edits && this.edits.conversation !== chat.conversation) this.cancelEdit();
      this.sendWhenOpen = false;
      this.question.close();
      this.#describeSettings();
      this.estimate.soon();
    });
    told("settings", () => {
      this.#describeSettings();
      this.estimate.soon();
    });
  }

  /** A letter that an input method is still composing is not a letter yet: its Enter chooses, it does not send. */
  #key(event) {
    if (event.key !== "Enter") return;
    if (event.isComposing || event.keyCode === 229) event.stopPropagation();
    else if (!event.shiftKey) this.#hold(event);
  }

  /** Sending waits for an earlier prompt that is still on its way here, and for files that are still being read. */
  #hold(event) {
    if (!this.opening && !this.attachments.reading) return this.#take();
    event.preventDefault();
    event.stopImmediatePropagation();
    this.sendWhenOpen = this.opening > 0;
    if (this.sendWhenOpen) return undefined;
    return this.#say("A file is still being read. Send once it is there.");
  }

  /** What is sent is the text as it stands now; the next key goes after it, so that it can be told apart. */
  #take() {
    const { box } = this;
    box?.setSelectionRange(box.value.length, box.value.length);
    this.#tell({ over_budget: this.props.value?.over_budget === true, text: box?.value ?? "" });
    this.#watchSend();
  }

  /** Gradio only says that it lost the server; what became of the prompt is said here. */
  #watchSend() {
    clearTimeout(this.sendTimer);
    if (!this.#next()) return;
    this.sendTimer = setTimeout(() => {
      if (!this.#next()) return;
      fetch("/kimi/state?new=1").catch(() => this.#say("The server cannot be reached, so the prompt was not sent. It stays here: start Kimi UI again, then send it."));
    }, SENT_BY_MS);
  }

  #typed() {
    this.#say("");
    this.question.close(); // it was about another text
    this.estimate.soon();
    clearTimeout(this.draftTimer);
    this.draftTimer = setTimeout(() => this.#saveDraft(), DRAFT_PAUSE_MS);
  }

  #changed(overBudget = false) {
    this.#say("");
    this.question.close();
    this.#tell({ over_budget: overBudget });
    this.estimate.soon();
  }

  /** Let Python know what a send would take along. */
  #tell(once) {
    const { edits } = this;
    this.props.value = {
      attachments: this.attachments.ids,
      edits: edits && { conversation: edits.conversation, seq: edits.seq },
      blind: isBlind(),
      ...once,
    };
  }

  /** As if it had been typed. */
  #write(text) {
    const { box } = this;
    if (!box) return;
    box.value = text;
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }

  /** What would be sent now; null if that is nothing. */
  #next() {
    const text = this.box?.value ?? "";
    const attachments = this.attachments.ids;
    if (!text.trim() && !attachments.length) return null;
    return { conversation: chat.conversation, before: this.edits?.seq ?? null, text, attachments };
  }

  #saveDraft() {
    const { box } = this;
    if (!box || this.edits || box.textLength > MAX_DRAFT_CHARS) return;
    storage((drafts) => (box.value ? drafts.setItem(DRAFT, box.value) : drafts.removeItem(DRAFT)));
  }

  /** The textbox may be drawn later than this element. */
  #restoreDraft(tries = 100) {
    const draft = storage((drafts) => drafts.getItem(DRAFT));
    if (!draft) return;
    if (this.box) {
      if (!this.box.value) this.fill(draft);
    } else if (tries) {
      setTimeout(() => this.#restoreDraft(tries - 1), 50);
    }
  }

  /** Settings that differ from the lanes' configuration show on their button. */
  async #describeSettings() {
    try {
      const { settings, lanes } = await ask(`/kimi/settings?c=${encodeURIComponent(chat.conversation)}`);
      const off = lanes.filter((lane) => settings.lanes?.[lane.id]?.on === false).length;
      const changed = Object.keys(settings).length > 0;
      setText(this.settings, off ? `Settings · ${lanes.length - off} of ${lanes.length} lanes` : changed ? "Settings · changed" : "Settings");
    } catch {
      setText(this.settings, "Settings"); // the server is away; the page says so elsewhere
    }
  }

  #say(sentence) {
    this.note.hidden = !sentence;
    setText(this.note, sentence);
  }
}

/** sessionStorage, which a browser may refuse; then drafts are not kept. */
function storage(use) {
  try {
    return use(sessionStorage);
  } catch {
    return null;
  }
}
