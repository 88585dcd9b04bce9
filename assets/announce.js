/**
 * The page's one polite live region. Changes that come at the same moment are said together, each once: a region whose
 * text is replaced before it was read would lose the first.
 */
import { h, setText } from "./dom.js";

const TOGETHER_MS = 300;

export class Announcer {
  constructor() {
    this.element = h("div", { class: "kimi-offscreen", id: "announcements", role: "status", "aria-live": "polite" });
    this.waiting = [];
    this.timer = 0;
  }

  say(text) {
    this.waiting.push(text);
    this.timer ||= setTimeout(() => {
      this.timer = 0;
      setText(this.element, this.waiting.splice(0).join(". "));
    }, TOGETHER_MS);
  }
}
