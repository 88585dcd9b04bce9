/**
 * Events between the parts of the chat:
 *
 * - `conversation`: another one is shown, or it has a new turn. `turn`: `detail` is its last turn now, or null.
 * - `began`, `ended`: the first lane of the shown turns started, the last one ended. `ready`: others of their lanes are
 *   running now.
 * - `costs`: of the shown turn's lanes so far; `detail` as in composer/live_costs.js.
 * - `settings`: those of the shown conversation have changed. `budget`: the person's has.
 * - `open`: show the conversation with the id `detail`; empty: begin a new one.
 * - `seek`: show the turn `detail.turn` of `detail.conversation`, and in it the words that a search has found
 *   (`detail.hit`, see `Hit` in protocol.d.ts), if they are given.
 * - `basis`: the next prompt goes on from the lane `detail` in all lanes; empty: from each lane's own.
 * - `voted`: on a turn. `benchmarked`: a run of the benchmark has ended.
 * - `lanes`: the configured lanes have changed. `change-lane`: show the lane with the id `detail` in the Lanes tab.
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
