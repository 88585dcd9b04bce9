/**
 * The reasoning panel of one lane or trajectory.
 *
 * It opens at the first reasoning token and folds one second after the first answer token, unless the reader has opened
 * or folded it, which wins for this lane and turn, or has set "always open" / "always folded". In a turn that had ended
 * when it was loaded it starts folded. While live its view has a fixed height and follows the newest line (see
 * follow.js); a finished trace opens at its beginning. Its text is plain and is never rendered again (lines.js). A long
 * one of a turn that had ended is requested when the reader opens, searches or copies it.
 */
import { button, copyFrom, h, setAttribute, setFlag, setText } from "../base/dom.js";
import { PANELS, panels } from "../base/preferences.js";
import { bringIntoSight } from "../base/ranges.js";
import { missingCard } from "./cards.js";
import { Find } from "./find.js";
import { Follower } from "./follow.js";
import { LineLog } from "./lines.js";
import { headerLine } from "./reasoning_header.js";

const FOLD_AFTER_MS = 1000;

let serial = 0;

export class ReasoningPanel {
  /** `name` is the lane's label; `sentBack` says whether earlier reasoning is sent back to the model. */
  constructor(name, { sentBack = false } = {}) {
    const id = `kimi-reasoning-${++serial}`;
    this.touched = false;
    this.open = false;
    this.foldTimer = 0;
    this.grew = false;
    this.over = false; // no more text will arrive
    /** @type {(() => Promise<string>) | null} requests the text, which is still on the server */
    this.later = null;
    /** @type {Promise<void> | null} the request for it */
    this.coming = null;
    this.text = h("div", { class: "reasoning-text" });
    this.log = new LineLog(this.text);
    this.view = h("div", { class: "reasoning-view", tabindex: "0", "aria-live": "off" }, this.text);
    const latest = button("Latest", () => {}, { class: "pill" });
    this.follower = new Follower(this.view, latest, this.text);
    this.title = h("span", { class: "reasoning-title" }, "Waiting");
    this.toggle = h(
      "button", { type: "button", class: "reasoning-toggle", "aria-expanded": "false", "aria-controls": id,
                  onclick: () => this.userToggle() },
      h("span", { class: "chevron", "aria-hidden": "true" }), this.title,
    );
    this.find = new Find(this.log, (range) => this.#reveal(range), () => this.view.focus());
    const copy = button("Copy reasoning", () => copyFrom(this.#whole(), copy), { face: "Copy", class: "quiet" });
    const search = button("Find in reasoning", () => this.openFind(), { face: "Find", class: "quiet" });
    this.tools = h("span", { class: "reasoning-tools", hidden: true }, search, copy);
    this.menu = h(
      "select", { class: "quiet", "aria-label": "Reasoning panels", title: "Reasoning panels",
                  onchange: () => panels.set(this.menu.value) },
      ...Object.entries(PANELS).map(([value, label]) => h("option", { value }, label)),
    );
    this.menu.value = panels.value;
    this.region = h(
      "div", { class: "reasoning-region", id, role: "region", "aria-label": `Reasoning of ${name}`, hidden: true },
      this.find.element,
      h("div", { class: "reasoning-frame" }, this.view, latest),
      h("div", { class: "reasoning-foot" },
        button("Fold reasoning", () => this.userToggle(false), { face: "▴ Fold", class: "quiet fold-foot" }),
        h("span", { class: "note" }, sentBack ? "Sent back to the model next turn" : "Not sent back to the model"),
        this.menu),
    );
    this.element = h(
      "section", { class: "reasoning", "data-part": "reasoning", "data-state": "waiting" },
      h("div", { class: "reasoning-head" }, this.toggle, this.tools), this.region,
    );
    this.endPreference = panels.on(() => this.#preferenceChanged());
  }

  /** Whether there is any reasoning, here or on the server. */
  get filled() {
    return this.log.length > 0 || this.later !== null;
  }

  /** Clear everything: the lane begins a new attempt. The reader's own toggle stays. */
  clear() {
    clearTimeout(this.foldTimer);
    this.foldTimer = 0;
    this.find.close();
    this.log.clear();
    this.later = this.coming = null;
    this.tools.hidden = true;
    this.answered = false;
    if (!this.touched) this.#set(false);
    this.follower.pin();
  }

  /** Append text. `thinking` false: the answer has begun or the lane has ended, so the panel stays folded. */
  append(text, thinking) {
    const first = this.log.length === 0;
    this.log.append(text);
    this.grew = true;
    this.over = !thinking;
    if (first) this.#begin(thinking);
  }

  /** There is text that `load` requests: of an attempt that has ended. */
  keepFor(load) {
    this.later = load;
    this.over = true;
    this.#begin(false);
  }

  #begin(thinking) {
    this.tools.hidden = false;
    if (this.open) this.#show();
    else if (!this.touched && (panels.value === "open" || (panels.value === "auto" && thinking))) this.#set(true);
  }

  /** The first answer token has arrived. `live`: while this page was showing the stream. */
  answerBegan(live) {
    if (this.answered) return;
    this.answered = true;
    if (this.touched || panels.value !== "auto" || !this.open) return;
    if (!live) this.#set(false);
    else this.foldTimer = setTimeout(() => !this.touched && panels.value === "auto" && this.#set(false), FOLD_AFTER_MS);
  }

  /** Called once a frame after all text was appended. */
  settle() {
    if (this.grew) this.find.grew();
    this.grew = false;
  }

  /** Show the header line, from the facts of reasoning_header.js. */
  describe(facts) {
    const { state, title } = headerLine(facts, this.filled);
    if (this.filled) this.over = state === "thought";
    setText(this.title, title);
    setAttribute(this.element, "data-state", state);
    setFlag(this.toggle, "disabled", !this.filled);
  }

  userToggle(open = !this.open) {
    this.touched = true;
    clearTimeout(this.foldTimer);
    this.#set(open);
  }

  /** Take over whether the reader has opened or folded another panel of this lane. */
  likeBefore(panel) {
    if (!panel.touched) return;
    this.touched = true;
    this.#set(panel.open);
  }

  /** Open the search in the reasoning, for `words` if they are given. */
  async openFind(words = "") {
    this.touched = true;
    this.#set(true);
    await this.#whole().catch(() => {});
    if (this.log.length) this.find.open(words);
  }

  /** Scroll to a step: `offset` is a character of the reasoning. */
  async goTo(offset) {
    if (!this.filled) return;
    this.touched = true;
    this.#set(true);
    await this.#whole().catch(() => {});
    if (!this.log.length) return;
    const end = this.log.text().indexOf("\n", offset);
    const range = this.log.range(offset, end > offset ? end : this.log.length);
    CSS.highlights?.set("kimi-found-here", new Highlight(range));
    this.#reveal(range);
  }

  close() {
    clearTimeout(this.foldTimer);
    this.endPreference();
  }

  #reveal(range) {
    this.follower.release();
    bringIntoSight(range);
  }

  #preferenceChanged() {
    this.menu.value = panels.value;
    if (this.touched || !this.filled) return;
    const value = panels.value;
    this.#set(value === "open" || (value === "auto" && !this.answered));
  }

  #set(open) {
    if (open === this.open) return;
    this.open = open;
    const inside = this.region.contains(document.activeElement); // folding would lose it
    this.region.hidden = !open;
    setAttribute(this.toggle, "aria-expanded", String(open));
    if (open) this.#show();
    else this.find.close();
    if (inside) this.toggle.focus({ preventScroll: true });
  }

  #show() {
    if (this.later) this.#whole().catch(() => {});
    else this.#place();
  }

  /** Resolves to the text, which is requested if need be. Where that fails the panel says so and offers to try again. */
  async #whole() {
    const { later } = this;
    if (later) this.coming ??= this.#request(later);
    await this.coming;
    return this.log.text();
  }

  async #request(later) {
    this.text.replaceChildren(h("p", { class: "note" }, "Fetching the reasoning…"));
    try {
      const text = await later();
      if (later !== this.later) return; // another attempt has begun
      this.later = null;
      this.log.clear();
      this.log.append(text);
      this.#place();
    } catch (error) {
      if (later === this.later) this.#sayMissing(error);
      throw error;
    } finally {
      if (later === this.later || !this.later) this.coming = null;
    }
  }

  #sayMissing(error) {
    this.text.replaceChildren(missingCard("The reasoning", error, () => this.#show()));
  }

  /** While a trace streams, the follower positions it; a finished one shows its beginning, or where it was left. */
  #place() {
    if (!this.over || !this.follower.pinned) return;
    this.follower.release();
    this.view.scrollTop = 0;
  }
}
