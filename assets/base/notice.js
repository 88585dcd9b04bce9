/** The line over the answers that says what does not work: on this page, or in the server, until it works there again. */
import { h, setText } from "./dom.js";
import { ask } from "./http.js";

const ASK_MS = 5000; // between questions whether what does not work in the server works again

export class Notice {
  constructor() {
    this.element = h("div", { class: "page-notice", role: "alert", hidden: true });
    this.server = ""; // what does not work there
    this.closed = false;
  }

  say(text) {
    setText(this.element, text);
    this.element.hidden = false;
  }

  hide() {
    this.element.hidden = true;
  }

  /** Show what does not work in the server, and ask again until it does; empty: all works. */
  serverSays(text) {
    clearTimeout(this.timer);
    if (this.closed) return;
    if (text && (text !== this.server || this.element.hidden)) this.say(text);
    if (!text && this.server && this.element.textContent === this.server) this.hide();
    if (text) this.timer = setTimeout(() => this.#ask(text), ASK_MS);
    this.server = text;
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
  }

  async #ask(text) {
    const { notice } = await ask("/kimi/notice").catch(() => ({ notice: text }));
    this.serverSays(notice);
  }
}
