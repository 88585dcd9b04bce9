/**
 * Those of the shown turns that are running: their streams, and their lanes that have not ended. The rest of the page
 * hears of a change by the document's `data-kimi-running` and by the events `began`, `ended` and `ready` of the chat.
 */
import { chat } from "../base/bus.js";
import { reducedMotion } from "../base/dom.js";
import { TurnStream } from "../stream.js";

const LOST = "The view of this turn was lost. Reload the page; the turn itself continues and is stored.";
const UNREACHABLE = "The server cannot be reached. This page continues automatically once it answers.";

export class RunningTurns {
  /**
   * `rows()`: the rows of the conversation, in order; `earlier()`: those before the current one. `notice`: of the page.
   * `onframes(row, frames)`: new frames of a turn, see stream.js. `onend(row)`: the server has closed the turn.
   */
  constructor({ rows, earlier, notice, onframes, onend }) {
    this.rows = rows;
    this.earlier = earlier;
    this.notice = notice;
    this.onframes = onframes;
    this.onend = onend;
    this.ids = new Set();
    this.streams = new Map(); // by turn: of the current one, and of earlier ones that are running
    this.lanesBefore = ""; // as the composer last got them
  }

  has(id) {
    return this.ids.has(id);
  }

  /** Whether there are any, as the document says. */
  get any() {
    return document.documentElement.hasAttribute("data-kimi-running");
  }

  /** The ids of the lanes that are running; null while a blind turn runs, which does not tell its lanes. */
  get lanes() {
    const rows = this.rows().filter((row) => this.has(row.id));
    return rows.some((row) => row.turn.blind) ? null : new Set(rows.flatMap((row) => row.unended.map(({ info }) => info.id)));
  }

  /** The lanes that still answer an earlier prompt: their labels, and a function that shows them. Null: there are none. */
  get behind() {
    const rows = this.earlier().filter((row) => this.has(row.id) && row.unended.length);
    if (!rows.length) return null;
    const labels = [...new Set(rows.flatMap((row) => row.unended.map(({ info }) => info.label)))];
    const behavior = () => (reducedMotion() ? "auto" : "smooth");
    return { labels, show: () => rows[0].element.scrollIntoView({ block: "start", behavior: behavior() }) };
  }

  /** Whether a shown turn is running. */
  set(id, yes) {
    if (yes) this.ids.add(id);
    else this.ids.delete(id);
    this.tell();
  }

  /** Tell the rest of the page what has changed. */
  tell() {
    const running = this.ids.size > 0;
    const lanes = JSON.stringify([...(this.lanes ?? ["?"])]) + JSON.stringify(this.behind?.labels ?? []);
    const changed = running !== this.any;
    document.documentElement.toggleAttribute("data-kimi-running", running);
    if (lanes !== this.lanesBefore) {
      this.lanesBefore = lanes;
      chat.emit("ready");
    }
    if (changed) chat.emit(running ? "began" : "ended");
  }

  /** Follow the stream of a row's turn, from where its stream before ended. */
  watch(row) {
    const before = this.streams.get(row.id) ?? null;
    before?.close();
    const handlers = {
      onframes: (frames) => this.onframes(row, frames),
      onend: () => this.onend(row),
      onlost: () => this.notice.say(LOST),
      ontrouble: (yes) => (yes ? this.notice.say(UNREACHABLE) : this.notice.hide()),
      onnotice: (text) => this.notice.serverSays(text),
    };
    this.streams.set(row.id, new TurnStream({ id: row.id, blind: row.turn.blind }, handlers, before));
  }

  /** Leave the stream of a turn, which is not shown any more or has ended. */
  leave(id) {
    this.streams.get(id)?.close();
    this.streams.delete(id);
    this.ids.delete(id);
  }
}
