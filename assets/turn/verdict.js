/**
 * Beneath a turn: the vote for the best answer (a lane, a tie, all bad), and the button to the answers' diff. A vote
 * can be cast while lanes still stream, changed and withdrawn. Of a blind turn the page knows slots only; the vote
 * reveals it.
 */
import { chat } from "../base/bus.js";
import { button, h, isFocusLost, laneAccent, setAttribute, setFlag, setText } from "../base/dom.js";
import { ask } from "../base/http.js";
import { openCompare } from "../compare/compare.js";

const LANE = "lane";
const NONE = "none";

export class Verdict {
  /** `turn`: as the server describes it. `opened(turn)` is called when a blind turn was revealed, `voted()` after a vote. */
  constructor(turn, infos, opened, voted) {
    this.turn = turn;
    this.opened = opened;
    this.voted = voted;
    this.choices = new Map();
    this.note = h("span", { class: "verdict-note", role: "status" });
    const label = h("span", { class: "verdict-label", id: `verdict-${turn.turn_id}` }, "Best answer");
    const lanes = infos.map((info) => {
      const choice = this.#choice(LANE, info.id, info.label);
      choice.prepend(h("span", { class: "dot", "aria-hidden": "true" }));
      choice.style.setProperty("--lane", turn.blind ? "var(--body-text-color-subdued)" : laneAccent(info.accent));
      return choice;
    });
    this.group = h("div", { class: "verdict-choices", role: "group", "aria-labelledby": label.id },
      ...lanes, this.#choice("tie", "", "Tie"), this.#choice("all_bad", "", "All bad"));
    this.open = button("Show the names without a vote", () => this.#vote(NONE), { face: "Show names", class: "quiet verdict-open" });
    this.compare = button("Compare two answers", () => openCompare(this.element, turn.turn_id), { face: "Compare answers", class: "quiet" });
    this.element = h("footer", { class: "verdict", "data-verdict": "" }, label, this.group, this.note, this.open, this.compare);
    this.#show(turn);
  }

  /** Focus the vote again after the turn was drawn again, unless the reader has gone elsewhere. */
  focus() {
    if (!isFocusLost()) return;
    [...this.choices.keys(), this.compare].find((face) => face === this.compare || this.#isChosen(...this.choices.get(face))).focus();
  }

  /** Set which lanes have an answer on the page: only those can be voted for. */
  answered(lanes) {
    for (const [face, [choice, lane]] of this.choices) setFlag(face, "disabled", choice === LANE ? !lanes.has(lane) : !lanes.size);
    setFlag(this.compare, "disabled", lanes.size < 1);
  }

  #choice(choice, lane, label) {
    const face = h("button", { type: "button", class: "verdict-choice", "aria-pressed": "false",
                               onclick: () => this.#vote(this.#isChosen(choice, lane) ? NONE : choice, lane) },
      h("span", { class: "verdict-name" }, label));
    this.choices.set(face, [choice, lane]);
    return face;
  }

  #isChosen(choice, lane) {
    const { vote } = this.turn;
    return vote !== null && vote.choice === choice && vote.lane === lane;
  }

  async #vote(choice, lane = "") {
    const wasBlind = this.turn.blind;
    try {
      const turn = await ask(`/kimi/turns/${encodeURIComponent(this.turn.turn_id)}/vote`, {
        method: "POST", json: { choice, lane: choice === LANE ? lane : "" },
      });
      this.#show(turn);
      chat.emit("voted");
      if (wasBlind) this.opened(turn);
      else this.voted();
    } catch (error) {
      setText(this.note, error.message);
    }
  }

  #show(turn) {
    this.turn = turn;
    for (const [face, [choice, lane]] of this.choices) setAttribute(face, "aria-pressed", String(this.#isChosen(choice, lane)));
    this.open.hidden = !turn.blind;
    setText(this.note, this.#sentence(turn));
  }

  #sentence({ blind, vote, slots, lanes }) {
    if (blind) return "Blind: names, pace and figures are shown after your vote";
    if (!Object.keys(slots).length) return vote && vote.choice !== NONE ? "Vote kept" : "";
    const names = new Map(lanes.map((lane) => [lane.id, lane.label]));
    const were = Object.entries(slots).map(([slot, lane]) => `${slot} was ${names.get(lane)}`).join(", ");
    return vote.blind && vote.choice !== NONE ? `Voted blind: ${were}` : were;
  }
}
