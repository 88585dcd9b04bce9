/**
 * Events between the parts of the chat. `conversation` (another one is shown, or it has a new turn), `began` and
 * `ended` (the first lane of the shown turns started, the last one ended), `ready` (others of their lanes are running now),
 * `costs` (of the shown turn's lanes so far;
 * `detail` as in composer/live_costs.js), `settings` (of the shown conversation), `budget` (the person's), `open` (show
 * the conversation whose id is the event's `detail`; empty: begin a new one), `turn` (`detail` is the last turn
 * of the shown conversation now, or null), `voted` (on a turn), `seek` (show the turn `detail.turn` of
 * `detail.conversation`, and in it `detail.hit`, if that is given: the words that a search has found, see `Hit` in protocol.d.ts),
 * `benchmarked` (a benchmark run has ended), `lanes` (the configured lanes have changed), `change-lane` (show the lane whose
 * id is `detail` in the Lanes tab), `basis` (the lane `detail` is what the next prompt goes on from in all lanes; empty: each
 * from its own).
 */
class Chat extends EventTarget {
  conversation = ""; // id of the shown conversation, "" before its first prompt

  show(conversation) {
    this.conversation = conversation ?? "";
    this.emit("conversation");
  }

  emit(name, detail = null) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  on(name, listener) {
    this.addEventListener(name, listener);
    return () => this.removeEventListener(name, listener);
  }
}

export const chat = new Chat();

/** Messages to the other tabs of this browser. One channel for the whole page, so that it does not receive its own. */
export const tabs = new BroadcastChannel("kimi");
