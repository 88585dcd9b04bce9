/**
 * The Chat page: the turns of one conversation and their live view, mounted into the element of ui/lanes.py, which
 * Gradio never renders again.
 *
 * The component's value is `{conversation, turn}`: Python sets it when a prompt has been sent, this page sets it when
 * it has found out what it shows (after a refresh, in a second tab), so that Send and Stop know what they are about.
 * What happened is always read from the server; nothing of a turn is kept here alone.
 */
import { chat } from "./chat.js";
import { composer } from "./composer.js";
import { copyFrom, h, reducedMotion, setText } from "./dom.js";
import { copyCodeOnClick } from "./markdown.js";
import { startBlock } from "./start.js";
import { TurnStream } from "./stream.js";
import { TurnRow } from "./turn.js";

let mounted = null;

/** Called by the component's js_on_load with what Gradio gives it. */
export function mount(element, props, watch) {
  mounted?.close();
  mounted = new Page(element, props);
  watch("value", () => mounted.valueChanged());
  mounted.load();
}

class Page {
  constructor(element, props) {
    this.props = props;
    this.conversation = null;
    this.row = null; // the current turn's row
    this.stream = null;
    this.pastRows = [];
    this.past = h("div", { class: "turns-past" });
    this.current = h("div", { class: "turn-current" });
    this.live = h("div", { class: "kimi-offscreen", role: "status", "aria-live": "polite" });
    this.notice = h("div", { class: "page-notice", role: "alert", hidden: true });
    this.scroller = h("div", { class: "turns" }, this.notice, this.past, this.current);
    this.channel = "BroadcastChannel" in window ? new BroadcastChannel("kimi") : null;
    if (this.channel) this.channel.onmessage = ({ data }) => this.#heard(data);
    copyCodeOnClick(this.scroller, copyFrom);
    element.replaceChildren(this.scroller, this.live);
  }

  close() {
    this.#drop();
    this.#dropPast();
    this.channel?.close();
  }

  /** Find out what to show: the turn or conversation named in the address, else this visitor's running turn. */
  async load() {
    const here = new URLSearchParams(location.search);
    const query = new URLSearchParams();
    for (const name of ["c", "turn"]) if (here.get(name)) query.set(name, here.get(name));
    try {
      const response = await fetch(`/kimi/state?${query}`);
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      await this.show(await response.json());
    } catch (error) {
      this.#say(`The server did not answer (${error.message}). Reload the page once it runs again.`);
    }
  }

  async show(state) {
    this.laneInfos = state.lanes;
    this.conversation = state.conversation;
    const turns = state.turns;
    for (const turn of turns.slice(0, -1)) this.#addPast(turn);
    if (turns.length) this.#follow(turns.at(-1));
    else this.#rest();
    this.#tellPython();
  }

  /** Python has sent a prompt: its turn becomes the current one. */
  async valueChanged() {
    const value = this.props.value ?? {};
    if (!value.turn || value.turn === this.row?.id) return;
    await this.#openTurn(value.turn);
    this.channel?.postMessage({ conversation: this.conversation, turn: value.turn });
  }

  async #openTurn(turnId) {
    const response = await fetch(`/kimi/state?turn=${encodeURIComponent(turnId)}`);
    if (!response.ok) return this.#say("This turn is not there any more. Reload the page.");
    const state = await response.json();
    if (this.row?.id === turnId) return;
    if (this.row?.id && state.conversation === this.conversation) this.#retire();
    else this.#dropPast();
    this.conversation = state.conversation;
    this.#follow(state.turns.at(-1));
    this.#address();
    this.#tellPython();
  }

  /** Another tab of this browser has sent: follow if it is the same conversation. */
  #heard({ conversation, turn }) {
    if (conversation === this.conversation && turn !== this.row?.id) this.#openTurn(turn);
  }

  #follow(turn) {
    this.#drop();
    this.row = new TurnRow({ ...turn, lanes: this.#infos(turn.lanes) }, this.#actions(turn.turn_id));
    this.current.replaceChildren(this.row.element);
    this.#running(!turn.closed);
    this.stream = new TurnStream(turn.turn_id, {
      onframe: (frame, snapshot) => this.#frame(frame, snapshot),
      onend: () => this.#running(false),
      onlost: () => this.#say("The view of this turn was lost. Reload the page; the turn itself goes on and is stored."),
    });
    this.row.element.scrollIntoView({ block: "start", behavior: reducedMotion() ? "auto" : "smooth" });
  }

  #frame(frame, snapshot) {
    this.row.apply(frame, !snapshot);
    this.#running(this.row.running);
  }

  /** No turn yet: the lanes at rest and prompts to start from. */
  #rest() {
    this.#drop();
    const lanes = this.laneInfos.map((info) => ({ ...info, at_rest: true }));
    this.row = new TurnRow({ turn_id: "", prompt: null, lanes }, this.#actions(""));
    this.row.element.prepend(startBlock((prompt) => composer()?.fill(prompt)));
    this.current.replaceChildren(this.row.element);
    this.#running(false);
  }

  #retire() {
    this.stream?.close();
    this.stream = null;
    this.#keepPast(this.row);
    this.row = null;
  }

  #keepPast(row) {
    row.retire();
    this.pastRows.push(row);
    this.past.append(row.element);
  }

  #dropPast() {
    for (const row of this.pastRows) row.close();
    this.pastRows = [];
    this.past.replaceChildren();
  }

  #drop() {
    this.stream?.close();
    this.stream = null;
    this.row?.close();
    this.row = null;
  }

  /** An earlier turn: its frame is asked for when it comes near the window. */
  #addPast(turn) {
    const row = new TurnRow({ ...turn, lanes: this.#infos(turn.lanes) }, this.#actions(turn.turn_id));
    this.#keepPast(row);
    const near = new IntersectionObserver(async ([entry]) => {
      if (!entry.isIntersecting) return;
      near.disconnect();
      const response = await fetch(`/kimi/turns/${turn.turn_id}/frame`);
      if (response.ok) row.apply(await response.json(), false);
    }, { root: this.scroller, rootMargin: "600px" });
    near.observe(row.element);
  }

  #infos(lanes) {
    const known = new Map(this.laneInfos.map((info) => [info.id, info]));
    return lanes.map((lane) => ({ ...(known.get(lane.id) ?? {}), ...lane }));
  }

  #actions(turnId) {
    const of = (lane) => `/kimi/turns/${turnId}/lanes/${encodeURIComponent(lane)}`;
    return {
      stop: (lane) => fetch(`${of(lane)}/stop`, { method: "POST" }),
      answerText: (lane) => fetch(`${of(lane)}/answer`).then((response) => (response.ok ? response.text() : "")),
      announce: (text) => setText(this.live, text),
      refresh: () => this.load(),
    };
  }

  #running(running) {
    const ended = !running && document.documentElement.hasAttribute("data-kimi-running");
    document.documentElement.toggleAttribute("data-kimi-running", running);
    if (ended) chat.tell("ended");
  }

  /** Let Send, Stop and the composer know what is shown. */
  #tellPython() {
    this.props.value = { conversation: this.conversation, turn: this.row?.id ?? "" };
    chat.show(this.conversation);
  }

  #address() {
    const url = new URL(location.href);
    url.searchParams.delete("turn");
    url.searchParams.set("c", this.conversation);
    history.replaceState(history.state, "", url);
  }

  #say(text) {
    setText(this.notice, text);
    this.notice.hidden = false;
  }
}
