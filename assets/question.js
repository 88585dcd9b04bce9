/**
 * The question before something that would pass the budget: a sentence with the sum, "Send anyway" and "Not now", in the
 * composer and not over it. It takes the focus (as a whole: an Enter that was meant for the prompt answers nothing), is
 * said politely, and Esc means "Not now".
 */
import { button, h, setText } from "./dom.js";

export class BudgetQuestion {
  constructor() {
    this.text = h("p", { role: "status" });
    this.buttons = h("div", { class: "question-buttons", hidden: true },
      button("Send anyway", () => this.#answer(true), { class: "question-yes" }),
      button("Not now", () => this.#answer(false), { class: "quiet" }));
    this.element = h("div", { class: "budget-question", role: "group", "aria-label": "Over budget", tabindex: "-1",
                              onkeydown: (event) => this.#key(event) }, this.text, this.buttons);
  }

  get open() {
    return !this.buttons.hidden;
  }

  /** Resolves to whether it is to go out; to false if the question is closed or another one takes its place. */
  ask(sentence) {
    this.close();
    this.before = document.activeElement;
    setText(this.text, sentence);
    this.buttons.hidden = false;
    this.element.focus();
    return new Promise((resolve) => (this.resolve = resolve));
  }

  /** Take the question back; true if there was one. */
  close() {
    if (!this.open) return false;
    const had = this.element.contains(document.activeElement);
    this.buttons.hidden = true;
    setText(this.text, "");
    if (had) this.before?.focus();
    this.resolve(false);
    return true;
  }

  #answer(yes) {
    this.resolve(yes);
    this.close();
  }

  #key(event) {
    if (event.key !== "Escape") return;
    event.preventDefault(); // the page's own Esc would stop the lanes
    this.close();
  }
}
