/**
 * The composer, one line until there is more to show: the prompt (`#prompt`), Send and Stop, attachments, the estimate of
 * the next prompt's cost and the sums spent, the question before a prompt over budget, drafts, editing an earlier prompt.
 *
 * Sending empties the box at once, so that the next text is another prompt. A prompt that could not be sent is put back
 * into the box, before the text typed meanwhile, with the reason. Nothing here processes the whole text at each
 * keystroke, only when the typing pauses.
 */
import { chat } from "../base/bus.js";
import { button, h, setAttribute, setFlag, setText } from "../base/dom.js";
import { ask } from "../base/http.js";
import { isComposing } from "../base/keys.js";
import { Newest } from "../base/newest.js";
import { Attachments } from "./attachments.js";
import { BlindMode } from "./blind.js";
import { basisOf, draftOf, keepBasis, keepDraft, takeFromDraft } from "./drafts.js";
import { BudgetQuestion, EstimateLine, TotalsLine } from "./money.js";
import { Queue, face, toReady } from "./queue.js";
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
    this.basis = null; // {lane, label}: whose answer the next prompt goes on from in all lanes; null: each from its own
    this.described = new Newest(); // requests for the settings
    this.chosen = null; // the lanes that the next prompt goes to ({id, label}); null until they are known
    this.sent = null; // {from, to}: the conversation changes because a prompt was sent
    this.ends = new AbortController();
    this.box = h("textarea", { rows: "1", placeholder: "Ask every model at once", "aria-label": "Prompt", autocomplete: "off",
                               oninput: () => this.#typed(), onkeydown: (event) => this.#key(event) });
    this.attachments = new Attachments(element.dataset, () => this.#changed());
    this.which = new WhichModel();
    this.estimate = new EstimateLine(() => this.#next(), (category) => this.which.follow(category));
    this.totals = new TotalsLine();
    this.blind = new BlindMode(() => this.#changed());
    this.question = new BudgetQuestion();
    this.queue = new Queue({
      ready: () => this.#lanes.ready,
      edit: (found) => this.#takeBack(found),
      mayPass: (question) => this.mayPass(question),
      turn: (id) => page.showTurn(id),
      changed: () => this.#showLanes(),
      say: (sentence) => this.#say(sentence),
    });
    this.behind = h("p", { class: "note composer-behind", hidden: true });
    this.sendReady = button("", () => this.send({ toReady: true }), { id: "send-ready", hidden: true });
    this.sendButton = h("button", { type: "button", id: "send", onclick: () => this.send() }, "Send");
    this.banner = h("p", { class: "composer-banner", id: "edit-banner", hidden: true },
      h("span", {}, "Editing an earlier prompt. Sending begins a new branch; the old one stays."),
      button("Cancel editing", () => this.cancelEdit(), { face: "Cancel", class: "quiet" }));
    this.basisLine = h("p", { class: "composer-banner composer-basis", hidden: true });
    this.note = h("p", { class: "composer-note", role: "alert", hidden: true });
    this.settings = button("Settings for this conversation", () => openSettings(), { face: "Settings", class: "quiet", id: "settings" });
    this.toolsButton = button("Attach, settings and more", () => this.#showTools(!this.toolsOpen), {
      face: "⋯", class: "icon composer-more", "aria-expanded": "false", "aria-controls": "composer-tools" });
    this.element = element;
    element.replaceChildren(
      this.behind,
      this.queue.element,
      this.basisLine,
      this.banner,
      this.blind.banner,
      this.attachments.element,
      this.note,
      this.question.element,
      this.estimate.hint,
      h(
        "div",
        { class: "composer-line" },
        this.toolsButton,
        h("div", { class: "composer-tools", id: "composer-tools" },
          button("Attach files", () => this.attachments.pick(), { face: "Attach", class: "quiet", id: "attach" }),
          this.settings,
          this.blind.switch,
          this.blind.waiting,
          button("New conversation", () => this.#begin(), { face: "New", class: "quiet", id: "new-conversation" }),
          button("Keyboard shortcuts", () => openShortcuts(), { face: "?", class: "quiet", id: "shortcuts" }),
          h("button", { type: "button", class: "quiet appearance-open", popovertarget: "kimi-appearance", "aria-label": "Appearance" }, "Aa")),
        h("div", { id: "prompt" }, this.box),
        h("div", { class: "composer-hints" }, this.which.element,
          h("div", { class: "composer-figures" }, this.totals.element, this.estimate.element)),
        h("button", { type: "button", id: "stop", onclick: () => page.stop() }, "Stop"),
        this.sendReady, this.sendButton),
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
    this.queue.close();
  }

  /** Put a text into the prompt, as if the user had typed it. */
  fill(text) {
    this.#write(text);
    this.box.focus();
  }

  /**
   * Let the next prompt go on from this lane's answer in all lanes (`{lane, label}`); null, or the same lane again: each
   * lane from its own.
   */
  goOnFrom(basis) {
    this.basis = basis?.lane === this.basis?.lane ? null : basis;
    if (this.conversation !== null) keepBasis(this.conversation, this.basis);
    this.#showBasis();
    this.#changed();
    this.box.focus();
  }

  #showBasis() {
    const { basis } = this;
    setFlag(this.basisLine, "hidden", !basis);
    if (basis) {
      this.basisLine.replaceChildren(h("span", {}, `The next prompt goes on from ${basis.label}’s answer in all lanes.`),
        button("Let each lane go on from its own answer", () => this.goOnFrom(null), { face: "Undo", class: "quiet" }));
    }
    chat.emit("basis", basis?.lane ?? "");
  }

  /** Edit an earlier prompt: the next prompt replaces it, in a new branch. */
  async edit(turnId) {
    const { conversation } = chat;
    this.opening++;
    try {
      const found = await ask(`/kimi/turns/${turnId}/edit`, { method: "POST" });
      if (conversation === chat.conversation) this.#beginEdit(found); // else the reader has left it meanwhile
    } catch (error) {
      this.sendWhenOpen = false;
      this.#say(error.message);
    }
    if (--this.opening || !this.sendWhenOpen) return;
    this.sendWhenOpen = false;
    this.send();
  }

  #beginEdit({ text, attachments, seq, basis }) {
    const before = this.edits?.before ?? { text: this.box.value, files: this.attachments.files };
    this.edits = { conversation: chat.conversation, seq, basis, before };
    this.attachments.replace(attachments);
    this.banner.hidden = false;
    this.#showLanes();
    this.fill(text);
    this.#changed();
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
    this.#dropEdit();
    this.box.focus();
  }

  #dropEdit() {
    const { before } = this.edits;
    this.#endEdit();
    this.attachments.replace(before.files);
    this.#write(before.text);
    this.#changed();
  }

  /**
   * The chosen lanes that have ended though others have not, and whether the next prompt has to wait for lanes or behind
   * another one. An edited prompt begins a branch and waits for nothing.
   */
  get #lanes() {
    const running = this.page.runningLanes;
    const chosen = this.chosen ?? this.page.laneInfos ?? [];
    if (this.editing || !this.page.running) return { ready: [], busy: this.queue.waits && !this.editing };
    if (running === null) return { ready: [], busy: true };
    const ready = chosen.filter(({ id }) => !running.has(id));
    const busy = ready.length < chosen.length;
    return { ready: busy ? ready : [], busy: busy || this.queue.waits };
  }

  /**
   * Send the prompt in the box, or queue it while its lanes are running: `toReady` sends it to those that have ended, if
   * there are any; over budget only if the user has agreed.
   */
  async send({ overBudget = false, toReady = false } = {}) {
    if (this.opening) {
      this.sendWhenOpen = true;
      return undefined;
    }
    if (this.attachments.reading) return this.#say("A file is still being read. Send once it has been read.");
    const next = this.taken === null ? this.#next() : null;
    if (!next) return undefined;
    const { text, attachments, basis } = next;
    const { edits } = this;
    const { ready, busy } = this.#lanes;
    const lanes = toReady ? ready.map(({ id }) => id) : [];
    const from = this.conversation;
    this.taken = text;
    this.#write("");
    let sent;
    try {
      sent = await this.page.send({
        text, attachments, blind: this.blind.on, over_budget: overBudget,
        edit: edits && { conversation: edits.conversation, seq: edits.seq },
        queue: busy && !lanes.length, lanes, basis,
      });
    } catch (error) {
      return this.#giveBack(text, from, error, toReady);
    }
    this.taken = null;
    if (!edits && this.basis) this.goOnFrom(null);
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
  async #giveBack(text, from, error, toReady) {
    this.taken = null;
    if (from === null || this.conversation === from) this.#write([text, this.box.value].filter(Boolean).join("\n"));
    if (error.code !== "over_budget") return this.#say(error.code === "unreachable" ? UNREACHABLE : error.message);
    return (await this.mayPass(error.message)) ? this.send({ overBudget: true, toReady }) : undefined;
  }

  /** A prompt was taken out of the queue: put it before what is written. */
  #takeBack({ text, attachments, basis }) {
    const label = this.page.laneInfos?.find(({ id }) => id === basis)?.label ?? basis;
    if (basis && basis !== this.basis?.lane) this.goOnFrom({ lane: basis, label });
    this.attachments.replace([...attachments, ...this.attachments.files]);
    this.fill([text, this.box.value].filter(Boolean).join("\n"));
    this.#changed();
  }

  /** Show what Send does now, and which lanes still answer an earlier prompt. */
  #showLanes() {
    const { ready, busy } = this.#lanes;
    setText(this.sendButton, busy ? "Queue" : "Send");
    setAttribute(this.sendButton, "title", busy ? "Sent once every lane has ended (Enter)" : null);
    setFlag(this.sendReady, "hidden", !ready.length || this.queue.prompts.length > 0); // the first queued prompt has the button then
    if (ready.length) {
      setText(this.sendReady, face(ready));
      for (const name of ["aria-label", "title"]) setAttribute(this.sendReady, name, toReady(ready));
    }
    this.queue.draw();
    const { behind } = this.page;
    setFlag(this.behind, "hidden", !behind);
    if (!behind) return;
    const who =
      behind.labels.length > 1 ? `${behind.labels.join(", ")} still answer` : `${behind.labels[0]} still answers`;
    this.behind.replaceChildren(
      `${who} an earlier prompt. `,
      button("Show the lanes that still answer an earlier prompt", behind.show, { face: "Show", class: "quiet" }),
    );
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
    this.#showLanes();
  }

  #listen() {
    const { signal } = this.ends;
    window.addEventListener("pagehide", () => this.#saveDraft(), { signal });
    this.attachments.catchDrops(document.querySelector("#chat") ?? document.body, signal);
    this.attachments.catchPastes(signal);
    const on = (name, listener) => chat.addEventListener(name, listener, { signal });
    on("ended", () => this.estimate.soon());
    on("ready", () => this.#showLanes());
    on("lanes", () => this.#describeSettings());
    on("conversation", () => {
      if (this.edits && this.edits.conversation !== chat.conversation) this.#dropEdit();
      this.#changeDraft();
      this.sendWhenOpen = false;
      this.question.close();
      this.#describeSettings();
      this.estimate.soon();
    });
    on("settings", () => {
      this.#describeSettings();
      this.attachments.tellLanes();
      this.estimate.soon();
    });
  }

  /**
   * Enter sends, unless an input method is composing: then it chooses a letter. On a touch screen, whose keyboard has
   * no Shift+Enter, it begins a new line and the button sends. Ctrl or Cmd with Enter sends everywhere, Alt with Enter to
   * the lanes that are ready.
   */
  #key(event) {
    if (event.key !== "Enter" || event.shiftKey || isComposing(event)) return;
    if (TOUCH.matches && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    this.send({ toReady: event.altKey });
  }

  #typed() {
    this.#fit();
    this.#showWritten();
    this.#say("");
    this.question.close(); // it was about the text before
    this.estimate.soon();
    clearTimeout(this.draftTimer);
    this.draftTimer = setTimeout(() => this.#saveDraft(), DRAFT_PAUSE_MS);
  }

  #changed() {
    this.#showWritten();
    this.#say("");
    this.question.close();
    this.estimate.soon();
  }

  /** A narrow page shows Send beside Stop only if there is something to send. */
  #showWritten() {
    this.element.toggleAttribute("data-written", Boolean(this.box.value || this.attachments.ids.length));
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
    const basis = this.edits ? this.edits.basis : this.basis?.lane ?? "";
    return { conversation: chat.conversation, before: this.edits?.seq ?? null, text, attachments, basis };
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
    this.basis = basisOf(now);
    this.#showBasis();
    if (before !== null) {
      this.files.set(before, this.attachments.files);
      this.attachments.replace(this.files.get(now) ?? []);
    }
    const typed = before === null ? this.box.value : "";
    return this.#write([draftOf(now), typed].filter(Boolean).join("\n"));
  }

  /** Show on the settings button whether settings differ from the lanes' configuration. */
  async #describeSettings() {
    const request = this.described.begin();
    try {
      const { settings, lanes } = await ask(`/kimi/settings?c=${encodeURIComponent(chat.conversation)}`);
      if (request.aborted) return;
      this.chosen = lanes.filter((lane) => settings.lanes?.[lane.id]?.on !== false);
      this.#showLanes();
      const off = lanes.length - this.chosen.length;
      const changed = Object.keys(settings).length > 0;
      setText(this.settings, off ? `Settings · ${lanes.length - off} of ${lanes.length} lanes` : changed ? "Settings · changed" : "Settings");
    } catch {
      if (!request.aborted) setText(this.settings, "Settings"); // the server cannot be reached; the page says so elsewhere
    }
  }

  #say(sentence) {
    this.note.hidden = !sentence;
    setText(this.note, sentence);
  }
}
