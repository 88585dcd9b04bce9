/**
 * Whether the next prompt is sent blind: off in a new conversation, and as its last turn was in any other, until the
 * user switches it. While it is on a banner says so. Blind turns that wait for a vote are counted, and one click leads
 * to the oldest: until then their figures are in no statistic.
 */
import { chat } from "../base/bus.js";
import { button, h, setAttribute, setText } from "../base/dom.js";
import { ask } from "../base/http.js";
import { Newest } from "../base/newest.js";

export class BlindMode {
  /** `onchange()` after every change by the user. */
  constructor(onchange) {
    this.on = false;
    this.turn = ""; // id of the shown conversation's last turn
    this.requests = new Newest();
    const title = "Hide names, models, figures and pace until you have voted. All answers appear together when the last is ready.";
    const toggle = () => {
      this.#set(!this.on);
      onchange();
    };
    this.switch = h("button", { type: "button", class: "quiet blind-switch", id: "blind", title, "aria-pressed": "false", onclick: toggle }, "Blind");
    this.banner = h("p", { class: "composer-banner", id: "blind-banner", hidden: true },
      h("span", {}, "Blind: names, models, figures and pace stay hidden until you vote."),
      button("Turn blind mode off", toggle, { face: "Turn off", class: "quiet" }));
    this.waiting = h("button", { type: "button", class: "quiet", id: "to-vote-on", hidden: true, onclick: () => chat.emit("seek", this.oldest) });
    this.ends = ["ended", "voted", "conversation"].map((name) => chat.on(name, () => this.#count()));
    this.ends.push(chat.on("turn", ({ detail }) => this.#follow(detail)));
  }

  close() {
    this.requests.drop();
    for (const end of this.ends) end();
  }

  /** `turn` is the last one of the shown conversation now; null: it has none yet. */
  #follow(turn) {
    const id = turn?.turn_id ?? "";
    if (id === this.turn) return;
    this.turn = id;
    this.#set(Boolean(turn && (turn.blind || Object.keys(turn.slots ?? {}).length)));
  }

  #set(on) {
    this.on = on;
    setAttribute(this.switch, "aria-pressed", String(on));
    this.banner.hidden = !on;
  }

  async #count() {
    const request = this.requests.begin();
    const { count, oldest } = await ask("/kimi/blind", { signal: request }).catch(() => ({ count: 0, oldest: null }));
    if (request.aborted) return;
    this.oldest = oldest;
    this.waiting.hidden = !count;
    setText(this.waiting, `${count} to vote on`);
    setAttribute(this.waiting, "title", "Blind turns without a vote, in all your conversations. Opens the oldest.");
  }
}
