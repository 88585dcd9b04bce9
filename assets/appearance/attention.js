/**
 * Says that a turn has ended to a reader who is looking elsewhere: in the tab's title and icon and, if the reader has
 * asked for it, in a notification. Only for a turn that took a while. A hidden tab gets no frames, so it polls.
 */
import { chat } from "../base/bus.js";
import { h, setText } from "../base/dom.js";
import { ask } from "../base/http.js";
import { notify } from "../base/preferences.js";

const LONG_MS = 5000;
const POLL_MS = 4000;
const PROMPT_CHARS = 90;
const ICON = `data:image/svg+xml,${encodeURIComponent(
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="#12805c"/>' +
    '<path d="M4.5 8.3 7 10.8l4.6-5.3" fill="none" stroke="white" stroke-width="2"/></svg>',
)}`;

let mounted = null;

/** Watch the page's turns. Returns the switch for notifications, for the menu; null where the browser has none. */
export function mountAttention() {
  mounted?.close();
  mounted = new Attention();
  return "Notification" in window ? notificationSwitch() : null;
}

class Attention {
  constructor() {
    this.turn = null; // the last one of the shown conversation
    this.began = null; // when it was first seen running; null: it is not
    this.title = document.title;
    this.icon = null;
    this.ends = new AbortController();
    const { signal } = this.ends;
    this.chat = [chat.on("turn", ({ detail }) => (this.turn = detail)), chat.on("began", () => this.#began()), chat.on("ended", () => this.#ended())];
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#poll() : this.#seen()), { signal });
    window.addEventListener("focus", () => this.#seen(), { signal });
  }

  close() {
    this.ends.abort();
    for (const end of this.chat) end();
    clearTimeout(this.timer);
    this.#seen();
  }

  #began() {
    this.began = performance.now();
    this.#poll();
  }

  #poll() {
    clearTimeout(this.timer);
    if (document.hidden && this.began !== null) this.timer = setTimeout(() => this.#look(), POLL_MS);
  }

  async #look() {
    const id = this.turn?.turn_id;
    const state = await ask(`/kimi/state?turn=${encodeURIComponent(id)}`).catch(() => null);
    if (id !== this.turn?.turn_id || !document.hidden) return;
    if (state?.turns.find((turn) => turn.turn_id === id)?.closed) this.#ended();
    else this.#poll();
  }

  #ended() {
    const took = this.began === null ? 0 : performance.now() - this.began;
    this.began = null;
    if (took < LONG_MS || (!document.hidden && document.hasFocus())) return;
    document.title = `✓ Answered · ${this.title}`;
    this.icon ??= h("link", { rel: "icon", type: "image/svg+xml", href: ICON });
    document.head.append(this.icon);
    if (notify.on) this.#notify();
  }

  #notify() {
    const { prompt = "", turn_id: tag = "" } = this.turn ?? {};
    const body = prompt.length > PROMPT_CHARS ? `${prompt.slice(0, PROMPT_CHARS)}…` : prompt;
    try {
      const shown = new Notification("All lanes have ended", { body, tag }); // one for all tabs with the turn
      shown.onclick = () => window.focus();
    } catch {
      // this browser has them for installed apps only
    }
  }

  #seen() {
    if (document.hidden || !this.icon?.isConnected) return;
    this.icon.remove();
    document.title = this.title;
  }
}

function notificationSwitch() {
  const note = h("span", { class: "note" });
  const allowed = () => Notification.permission === "granted";
  const box = h("input", { type: "checkbox", checked: notify.on && allowed(), onchange: async () => {
    if (box.checked && !allowed()) await Notification.requestPermission();
    const refused = box.checked && !allowed();
    if (refused) box.checked = false;
    setText(note, refused ? "This browser does not allow notifications here." : "");
    notify.set(box.checked);
  } });
  return h("div", {}, h("label", { class: "appearance-choice" }, box, "Notify me when a long turn ends"), note);
}
