/** The replays of the Chat page: each replaces its turn's row until the reader ends it. */
import { ask } from "../base/http.js";
import { Replay } from "./replay.js";

export class Replays {
  /**
   * `page`: rows() → the rows of the page, actions(turnId) as in lane.js, focusedLane() → id or null, say(text).
   */
  constructor(page) {
    this.page = page;
    this.byTurn = new Map();
  }

  /** The rows that replays are showing. */
  get shown() {
    return [...this.byTurn.values()].map((replay) => replay.row);
  }

  rowOf(turnId) {
    return this.byTurn.get(turnId)?.row;
  }

  watch(turnId) {
    return this.#begin(`/kimi/turns/${encodeURIComponent(turnId)}/replay`, turnId);
  }

  /** Replay a recorded turn of the app in place of the idle lanes. */
  watchExample(name) {
    return this.#begin(`/kimi/examples/${encodeURIComponent(name)}`, "");
  }

  /** Put the row back. */
  end(turnId) {
    const replay = this.byTurn.get(turnId);
    if (!replay) return;
    this.byTurn.delete(turnId);
    replay.close();
    const row = this.#row(turnId);
    if (row) replay.element.replaceWith(row.element);
  }

  /** End the replay that was started last; false if there is none. */
  endNewest() {
    const replay = [...this.byTurn.values()].at(-1);
    replay?.onclose();
    return replay !== undefined;
  }

  #row(turnId) {
    return this.page.rows().find((row) => row.id === turnId);
  }

  async #begin(url, turnId) {
    try {
      const document = await ask(url);
      const row = this.#row(turnId);
      if (row && !this.byTurn.has(turnId)) this.#show(document, row);
    } catch (error) {
      this.page.say(error.message);
    }
  }

  #show(document, row) {
    const past = row.element.classList.contains("past");
    const { answers, turn } = document;
    const actions = {
      ...this.page.actions(turn.turn_id),
      stop: () => {},
      retry: () => {},
      retryAsOffered: null,
      goOn: null,
      goOnFrom: null,
      stopTrajectory: null,
      aggregate: null,
      replay: null,
      promote: null,
      choose: null,
      answerText: (lane) => Promise.resolve(answers[lane] ?? ""),
    };
    const replay = new Replay(document, actions, {
      drawn: (drawn) => {
        if (past) drawn.retire();
        drawn.focusLane(this.page.focusedLane());
      },
      onclose: () => {
        this.end(row.id);
        row.element.querySelector('[data-action="replay"]')?.focus({ preventScroll: true });
      },
    });
    this.byTurn.set(row.id, replay);
    row.element.replaceWith(replay.element);
    replay.playButton.focus({ preventScroll: true });
    replay.play();
  }
}
