/**
 * The Chat page: the turns of one conversation and their live view, the composer below, the list of conversations
 * beside them. Mounted into the element of ui/chat.py, which Gradio never renders again.
 *
 * All state of turns is read from the server; nothing is stored in the page alone.
 */
import { mountAppearance } from "./appearance/appearance.js";
import { mountAttention } from "./appearance/attention.js";
import { chat, tabs } from "./base/bus.js";
import { Announcer, copyFrom, h, reducedMotion } from "./base/dom.js";
import { ask, rooted } from "./base/http.js";
import { listenToKeys } from "./base/keys.js";
import { Newest } from "./base/newest.js";
import { Notice } from "./base/notice.js";
import { composer, mountComposer } from "./composer/composer.js";
import { forDrafts } from "./composer/drafts.js";
import { openShortcuts } from "./composer/shortcuts.js";
import { attemptPart, promoteReasoning, retryLane } from "./lane/attempts.js";
import { copyCodeOnClick } from "./lane/markdown.js";
import { LaneMenu } from "./lanes_tab/lane_menu.js";
import { mountSidebar } from "./sidebar/sidebar.js";
import { EarlierTurns } from "./turn/earlier_turns.js";
import { emptyState } from "./turn/empty_state.js";
import { versionsOf } from "./turn/prompt.js";
import { Replays } from "./turn/replays.js";
import { RunningTurns } from "./turn/running_turns.js";
import { TurnRow } from "./turn/turn.js";

const NOT_HERE = "This conversation is not here: it was deleted, or it belongs to another browser.";
const AT_TOP_PX = 3;
const NARROW = matchMedia("(max-width: 760px)");

let mounted = null;

/** Called by the component's js_on_load. */
export function mount(element) {
  const part = (name) => element.querySelector(`[data-kimi="${name}"]`);
  mounted?.close();
  mounted = new Page(part("lanes"));
  mountComposer(part("composer"), mounted);
  mountSidebar(part("history"));
  mountAppearance(mountAttention());
  mounted.load();
}

class Page {
  constructor(element) {
    this.requests = new Newest(); // for the state to show
    this.renewals = new Newest(); // of its lanes
    this.loading = null; // settles once the conversation opened last is shown
    this.conversation = null;
    this.row = null; // the current turn's row
    this.replays = new Replays({
      rows: () => this.#rows,
      actions: (turnId) => this.#actions(turnId),
      focusedLane: () => this.focusedLane,
      say: (text) => this.notice.say(text),
    });
    this.current = h("div", { class: "turn-current" });
    this.focusedLane = null; // id of the widened lane
    this.hit = null; // what a search has found in the sought turn (`Hit` in base/protocol.d.ts); null once shown
    this.announcer = new Announcer();
    this.notice = new Notice();
    this.going = new RunningTurns({
      rows: () => this.#rows,
      earlier: () => this.earlier.rows,
      notice: this.notice,
      onframes: (row, frames) => this.#frames(row, frames),
      onend: (row) => this.#ended(row),
    });
    this.laneMenu = new LaneMenu((text) => this.notice.say(text));
    this.atCurrent = true; // the current turn is at the top of the window
    this.scroller = h("div", { class: "turns", onscroll: () => (this.atCurrent = Math.abs(this.scroller.scrollTop - this.current.offsetTop) < AT_TOP_PX) });
    this.earlier = new EarlierTurns(this.scroller, (row) => this.#filled(row));
    this.scroller.append(this.notice.element, this.earlier.element, this.current);
    copyCodeOnClick(this.scroller, copyFrom);
    this.sized = new ResizeObserver(() => this.#keepInSight()); // the turns above have other heights in another window
    this.sized.observe(this.scroller);
    this.ends = [
      listenToKeys(this),
      chat.on("open", ({ detail }) => this.open(detail)),
      chat.on("seek", ({ detail }) => this.open(detail.conversation, detail.turn, detail.hit)),
      ...["lanes", "settings"].map((name) => chat.on(name, () => this.#renewLanes())),
      chat.on("basis", ({ detail }) => {
        for (const lane of this.row?.lanes.values() ?? []) lane.showBasis(detail);
      }),
    ];
    this.onpopstate = () => this.load();
    window.addEventListener("popstate", this.onpopstate);
    this.onfocus = () => this.row?.id === "" && this.#renewLanes();
    window.addEventListener("focus", this.onfocus);
    tabs.onmessage = ({ data }) => this.#onMessage(data);
    element.replaceChildren(h("h1", { class: "kimi-offscreen" }, "Kimi UI"), this.scroller, this.announcer.element, this.laneMenu.element);
  }

  close() {
    this.requests.drop();
    this.renewals.drop();
    this.notice.close();
    this.sized.disconnect();
    this.laneMenu.close();
    this.#drop();
    this.#dropEarlier();
    for (const end of this.ends) end();
    window.removeEventListener("popstate", this.onpopstate);
    window.removeEventListener("focus", this.onfocus);
  }

  /** All rows of the conversation, the current one last. */
  get #rows() {
    return [...this.earlier.rows, this.row].filter(Boolean);
  }

  get composer() {
    return composer();
  }

  openShortcuts() {
    openShortcuts();
  }

  get visible() {
    return this.scroller.clientHeight > 0;
  }

  /** Whether one lane at a time is shown. */
  get narrow() {
    return NARROW.matches;
  }

  get running() {
    return this.going.any;
  }

  /** See RunningTurns, like the next one. */
  get runningLanes() {
    return this.going.lanes;
  }

  get behind() {
    return this.going.behind;
  }

  /**
   * Show another conversation, at a turn of it if one is named, and there the words that a search has found; an empty id
   * begins a new one.
   */
  async open(conversation, turn = "", hit = null) {
    const url = new URL(location.href);
    url.searchParams.delete("turn");
    if (turn) url.searchParams.set("turn", turn);
    if (conversation) url.searchParams.set("c", conversation);
    else url.searchParams.delete("c");
    history.pushState(null, "", url);
    this.hit = hit;
    await this.load(!conversation);
  }

  /**
   * Load and show the turn or conversation named in the address, else this visitor's running turn; with `begin` a new
   * conversation.
   */
  load(begin = false) {
    this.loading = this.#load(begin);
    return this.loading;
  }

  async #load(begin) {
    const here = new URLSearchParams(location.search);
    const query = new URLSearchParams(begin ? { new: "1" } : {});
    for (const name of ["c", "turn"]) if (here.get(name)) query.set(name, here.get(name));
    const state = await this.#wanted(() => stateOf(query));
    if (!state) return;
    this.#show(state);
    const turn = here.get("turn"); // it may be an earlier one of its conversation
    if (!state.turns.length && (turn || here.get("c"))) this.notice.say(NOT_HERE);
    else if (turn) this.#seek(turn);
  }

  /** Scroll a turn to the top, now and whenever a turn is filled: before, there may be no room below it. */
  #seek(turn) {
    this.sought = turn;
    if (!turn) return;
    this.scroller.querySelector(`[data-turn="${CSS.escape(turn)}"]`)?.scrollIntoView({ block: "start" });
    if (this.hit && this.#rows.find((row) => row.id === turn)?.reveal(this.hit)) this.hit = null;
  }

  /** An earlier turn was drawn and has another height now: what the reader looks at stays in its place. */
  #filled(row) {
    if (row.id === this.sought) this.#seek(row.id);
    else this.#keepInSight();
  }

  /** Keep the current turn at the top, unless the reader is elsewhere: the browser's own anchor may be above it. */
  #keepInSight() {
    if (this.atCurrent && !this.sought) this.current.scrollIntoView({ block: "start" });
  }

  /**
   * The state that `read` returns; null if it came too late, or if the server does not answer, which the page then
   * says.
   */
  async #wanted(read) {
    const request = this.requests.begin();
    try {
      const state = await read();
      return request.aborted ? null : state;
    } catch (error) {
      if (!request.aborted) this.notice.say(error.message);
      return null;
    }
  }

  #show(state) {
    this.laneInfos = state.lanes;
    this.conversation = state.conversation;
    this.notice.hide();
    this.notice.serverSays(state.notice);
    this.#dropEarlier();
    const turns = state.turns;
    for (const turn of turns.slice(0, -1)) this.#addEarlier(turn);
    if (turns.length) this.#follow(turns.at(-1));
    else this.#rest();
    this.#conversationShown();
    this.composer?.queue.show(state.queue ?? []);
  }

  /**
   * Send a prompt to the shown conversation, or queue it. Resolves to the id of the conversation that it is in, and a
   * function that shows its turn or the queue, unless something else was opened meanwhile. Throws like `ask`, and then
   * nothing was sent.
   */
  async send(prompt) {
    await this.#opened(); // sets the conversation, and a new visitor's cookie
    const request = this.requests.begin();
    const state = await ask("/kimi/turns", { method: "POST", json: { ...prompt, conversation: this.conversation } });
    const [turn] = state.turns ?? [];
    const show = async () => {
      if (!turn) {
        if (!request.aborted) this.composer?.queue.show(state.queue);
        this.announcer.say("The prompt is queued");
        return void tabs.postMessage({ queue: state.conversation });
      }
      if (!request.aborted) await this.#showSent(state, turn);
      tabs.postMessage({ conversation: state.conversation, turn: turn.turn_id });
    };
    return { conversation: state.conversation, show };
  }

  /** Resolves once the conversation opened last is shown. */
  async #opened() {
    const { loading } = this;
    await loading;
    if (loading !== this.loading) await this.#opened();
  }

  /** Stop all lanes that are running. What is queued behind them is held. */
  async stop() {
    const stopped = [...this.going.ids].map((id) => ask(`/kimi/turns/${id}/stop`, { method: "POST" }));
    await Promise.all(stopped).catch((error) => this.notice.say(error.message));
    await this.composer?.queue.refresh();
  }

  /** Show a turn of the shown conversation that was sent by the server, unless it is shown. */
  showTurn(id) {
    if (!this.#rows.some((row) => row.id === id)) this.#openTurn(id);
  }

  /** Widen a lane, on a narrow screen show it; the same lane again or null: all side by side. */
  focusLane(id) {
    if (id && this.narrow) return this.shown?.showLane(id);
    this.focusedLane = id === this.focusedLane ? null : id;
    for (const row of [...this.#rows, ...this.replays.shown]) row.focusLane(this.focusedLane);
    return undefined;
  }

  /** End the newest replay; false if there is none. */
  endReplay() {
    return this.replays.endNewest();
  }

  /** The visible row of the current turn: its own, or a replay's. */
  get shown() {
    return this.replays.rowOf(this.row?.id) ?? this.row;
  }

  async #openTurn(turnId) {
    const state = await this.#wanted(() => stateOf({ turn: turnId }));
    if (!state || this.row?.id === turnId) return;
    if (!state.turns.length) return this.notice.say("This turn is no longer there. Reload the page.");
    this.#showNext(state, state.turns.slice(0, -1));
  }

  /** Show a turn sent from here: the first of a new conversation, the next one, or the end of a branch. */
  #showSent(state, turn) {
    const isWhole = turn.seq === 0 || state.conversation === this.conversation;
    return isWhole ? this.#showNext(state, []) : this.#openTurn(turn.turn_id);
  }

  /** Make the last turn of `state` the current one; `earlier` ones go above it if its conversation was not shown. */
  #showNext(state, earlier) {
    this.notice.serverSays(state.notice);
    this.laneInfos = state.lanes;
    const goesOn = Boolean(this.row?.id) && state.conversation === this.conversation;
    if (goesOn) this.#retire();
    else this.#dropEarlier();
    const shown = new Set(this.earlier.rows.map((row) => row.id));
    for (const turn of earlier) if (!shown.has(turn.turn_id)) this.#addEarlier(turn);
    const left = this.conversation && this.conversation !== state.conversation;
    this.conversation = state.conversation;
    this.#follow(state.turns.at(-1), goesOn && !reducedMotion() ? "smooth" : "auto");
    this.#setAddress(left);
    this.#conversationShown();
    this.composer?.queue.show(state.queue ?? []);
  }

  /** Show in idle lanes the models that would answer now (a key may have just been set), in a turn's lanes the next ones. */
  async #renewLanes() {
    const { row } = this;
    if (!row) return;
    const renewal = this.renewals.begin(); // lanes may change twice, and the answers come in another order
    const state = await stateOf(row.id ? { c: this.conversation } : { new: "1" }).catch(() => null);
    if (!state || renewal.aborted || row !== this.row || JSON.stringify(state.lanes) === JSON.stringify(this.laneInfos)) return;
    this.laneInfos = state.lanes;
    if (!row.id) return this.#rest();
    for (const info of state.lanes) row.lanes.get(info.id)?.model.showNext(info.next_model);
  }

  /** Another tab has changed the list of conversations: the one shown here may have been deleted. */
  async #checkDeleted() {
    const { conversation } = this;
    if (!conversation || this.running) return;
    const state = await stateOf({ c: conversation }).catch(() => null);
    if (!state || state.turns.length || conversation !== this.conversation) return;
    await this.open("");
    this.notice.say("The conversation shown here was deleted in another tab.");
  }

  /** A vote in another tab has revealed a blind turn that this tab shows too. */
  async #revealedElsewhere(id) {
    if (!this.#rows.some((row) => row.id === id)) return;
    const turn = (await stateOf({ turn: id }).catch(() => null))?.turns.find((one) => one.turn_id === id);
    if (turn) this.#redraw(turn);
  }

  /** A message of another tab of this browser. A turn sent there is shown here if the conversation is the same. */
  #onMessage({ conversation, turn, again, opened, history: changed, pulls, queue }) {
    if (pulls) return; // see lane/pull.js
    if (queue) {
      if (queue === this.conversation) this.composer?.queue.refresh(true);
    } else if (changed) this.#checkDeleted();
    else if (opened) this.#revealedElsewhere(opened);
    else if (again && turn === this.row?.id) this.going.watch(this.row);
    else if (!again && conversation === this.conversation && turn !== this.row?.id) this.#openTurn(turn);
  }

  /** Make `turn` the current one. `behavior`: how to scroll to it. */
  #follow(turn, behavior = /** @type {ScrollBehavior} */ ("auto")) {
    this.#drop();
    this.row = this.#rowOf(turn);
    chat.emit("turn", turn);
    this.current.replaceChildren(this.row.element);
    this.going.set(turn.turn_id, !turn.closed);
    this.going.watch(this.row);
    this.row.element.scrollIntoView({ block: "start", behavior });
  }

  /** The server has closed the turn: what is queued behind it may be due. An earlier turn is not followed any more. */
  #ended(row) {
    this.going.set(row.id, false);
    if (row !== this.row) this.going.leave(row.id);
    this.composer?.queue.refresh();
  }

  async #retry(lane, options = {}) {
    const { id } = this.row;
    try {
      const sent = await retryLane(id, lane, (question) => composer()?.mayPass(question) ?? false, options);
      if (!sent || id !== this.row?.id) return;
      this.going.set(id, true); // it may end before its first frame
      this.going.watch(this.row);
      tabs.postMessage({ conversation: this.conversation, turn: id, again: true });
    } catch (error) {
      this.notice.say(error.message);
    }
  }

  /** The server has retried a lane of the current turn. */
  #askedAgain(id) {
    if (id !== this.row?.id) return;
    this.going.set(id, true); // until the first frame tells
    this.going.watch(this.row);
  }

  async #promote(id, lane) {
    try {
      const part = await promoteReasoning(id, lane);
      this.#rows.find((row) => row.id === id)?.applyAll([{ lanes: { [lane]: part } }], true);
      tabs.postMessage({ conversation: this.conversation, turn: id, again: true });
      return true;
    } catch (error) {
      this.notice.say(error.message);
      return false;
    }
  }

  #frames(row, frames) {
    const [snapshot, news] = frames[0].turn ? [frames.slice(0, 1), frames.slice(1)] : [[], frames];
    if (snapshot.length) {
      row.applyAll(snapshot, false);
      this.#seek(this.sought);
    }
    const { partial } = row;
    if (news.length) row.applyAll(news, true);
    if (partial && !row.partial && this.hit) this.#seek(this.sought); // it may be in the rest of the answer
    chat.emit("costs", row.costs);
    this.going.set(row.id, row.running);
  }

  /** No turn yet: show idle lanes and example prompts. */
  #rest() {
    this.#drop();
    const lanes = this.laneInfos.map((info) => ({ ...info, at_rest: true }));
    this.row = new TurnRow({ turn_id: "", prompt: null, lanes }, this.#actions(""));
    chat.emit("turn", null);
    this.row.element.prepend(emptyState((prompt) => composer()?.fill(prompt), (name) => this.replays.watchExample(name)));
    this.row.focusLane(this.focusedLane);
    this.current.replaceChildren(this.row.element);
    this.going.tell();
  }

  /** The current turn is one of the earlier ones now; while it is running, it is followed further. */
  #retire() {
    this.replays.end(this.row.id);
    if (!this.going.has(this.row.id)) this.going.leave(this.row.id);
    this.earlier.keep(this.row);
    this.row = null;
  }

  #dropEarlier() {
    for (const row of this.earlier.rows) {
      this.replays.end(row.id);
      this.going.leave(row.id);
    }
    this.earlier.drop();
  }

  #drop() {
    this.sought = null;
    if (!this.row) return;
    this.replays.end(this.row.id);
    this.going.leave(this.row.id);
    this.row.close();
    this.row = null;
  }

  #addEarlier(turn) {
    if (turn.closed) return this.earlier.add(this.#rowOf(turn, { far: true }));
    const row = this.#rowOf(turn);
    this.earlier.keep(row);
    this.going.set(row.id, true);
    return this.going.watch(row);
  }

  /** `options` as in turn/turn.js. */
  #rowOf(turn, options = {}) {
    const row = new TurnRow({ ...turn, lanes: this.#infos(turn.lanes) }, this.#actions(turn.turn_id), options);
    row.focusLane(this.focusedLane);
    return row;
  }

  /** A blind turn was revealed: draw it again. `here`: in this tab. */
  #redraw(turn, here = false) {
    if (here) tabs.postMessage({ opened: turn.turn_id });
    if (turn.turn_id === this.row?.id) {
      this.#follow(turn);
      return here && this.row.verdict.focus();
    }
    if (!this.#rows.some(({ id }) => id === turn.turn_id)) return undefined;
    const row = this.#rowOf(turn);
    this.earlier.replace(row);
    if (here) row.verdict.focus();
    if (!this.going.has(row.id)) return row.fetch();
    this.going.leave(row.id);
    this.going.set(row.id, true);
    return this.going.watch(row);
  }

  #infos(lanes) {
    const known = new Map(this.laneInfos.map((info) => [info.id, info]));
    return lanes.map((lane) => ({ ...(known.get(lane.id) ?? {}), ...lane }));
  }

  #actions(turnId) {
    const of = (lane) => `/kimi/turns/${turnId}/lanes/${encodeURIComponent(lane)}`;
    const textsOf = (attempt) => `/kimi/turns/${turnId}/attempts/${encodeURIComponent(attempt)}`;
    return {
      stop: (lane) => ask(`${of(lane)}/stop`, { method: "POST" }).catch((error) => this.notice.say(error.message)),
      stopTrajectory: (lane, k) => ask(`${of(lane)}/trajectories/${k}/stop`, { method: "POST" }).catch((error) => this.notice.say(error.message)),
      retry: (lane) => this.#retry(lane),
      retryAsOffered: (lane) => this.#retry(lane, { offered: true }),
      goOnFrom: (lane, label) => composer()?.goOnFrom({ lane, label }),
      goOn: (lane) => this.#retry(lane, { goOn: true }),
      aggregate: (lane, strategy) => this.#retry(lane, { strategy }),
      focus: (lane) => this.focusLane(lane),
      attempt: (lane, number) => attemptPart(turnId, lane, number),
      answerText: (lane, attempt) => fetch(rooted(`${of(lane)}/answer?attempt=${attempt}`)).then((response) => (response.ok ? response.text() : "")),
      reasoningText: (attempt) => ask(`${textsOf(attempt)}/reasoning`),
      answerHtml: (attempt) => ask(`${textsOf(attempt)}/rendered`),
      announce: (text) => this.announcer.say(text),
      promote: (lane) => this.#promote(turnId, lane),
      refresh: () => this.load(),
      change: (lane) => chat.emit("change-lane", lane),
      choose: (lane, event) => this.#chooseModel(this.row.lanes.get(lane), event),
      turn: turnId,
      asked: () => this.#askedAgain(turnId),
      opened: (turn) => this.#redraw(turn, true),
      replay: () => this.replays.watch(turnId),
    };
  }

  /** Open the menu at the head of a lane of the current turn, which may not be configured any more. */
  #chooseModel({ info, running }, event) {
    this.laneMenu.press(this.laneInfos.find(({ id }) => id === info.id) ?? info, event, running);
  }

  #conversationShown() {
    chat.show(this.conversation);
    this.#showVersions();
  }

  /** Show buttons to the other versions of edited prompts, which are in other conversations. */
  async #showVersions() {
    const { conversation } = this;
    const versions = await versionsOf(conversation);
    if (conversation !== this.conversation) return;
    for (const row of this.#rows) row.prompt?.showVersions(versions[row.seq]);
  }

  /** `left`: another conversation was shown before; the browser's Back leads to it. */
  #setAddress(left) {
    const url = new URL(location.href);
    url.searchParams.delete("turn");
    url.searchParams.set("c", this.conversation);
    if (left) history.pushState(null, "", url);
    else history.replaceState(history.state, "", url);
  }
}

/** The state that the server shows for `query`. Throws like `ask`. From then on drafts are those of its person. */
const stateOf = async (query) => forDrafts(await ask(`/kimi/state?${new URLSearchParams(query)}`));
