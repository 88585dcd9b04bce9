/**
 * Blind votes on a run's creative answers: two answers to one prompt, without names and in random order. The server keeps
 * which is which until the vote (kimi_ui/web/ballots.py). Nothing is shown for a run without such a pair.
 */
import { h, setText } from "../base/dom.js";
import { ask } from "../base/http.js";
import { Newest } from "../base/newest.js";

const CHOICES = [["A", "A is better"], ["B", "B is better"], ["tie", "Equally good"], ["all_bad", "Neither is good"]];

export class Ballot {
  /** @param {string} run its id */
  constructor(run) {
    this.url = `/kimi/benchmark/runs/${run}/ballot`;
    this.requests = new Newest();
    this.count = h("p", { class: "note", role: "status" });
    this.prompt = h("p", { class: "bt-text" });
    this.answers = h("div", { class: "bt-answers" });
    this.choices = h(
      "div",
      { class: "bt-choices", role: "group", "aria-label": "Which answer is better?" },
      ...CHOICES.map(([choice, label]) =>
        h(
          "button",
          { type: "button", class: "lt-button", "data-choice": choice, onclick: () => this.#vote(choice) },
          label,
        ),
      ),
    );
    this.pair = h("div", { hidden: true }, this.prompt, this.answers, this.choices);
    this.element = h("section", { class: "bt-section", id: "bench-ballot", "aria-label": "Blind votes", hidden: true },
      h("h3", {}, "Which answer is better?"),
      h("p", { class: "note" }, "Verdicts say whether a text meets its conditions, not whether it is good. Votes are counted apart from them."),
      this.count, this.pair);
    this.#next("");
  }

  close() {
    this.requests.drop();
  }

  /** Show the next pair; `before` says what the last vote was on. */
  async #next(before) {
    const signal = this.requests.begin();
    try {
      const { pairs, voted, ballot } = await ask(this.url, { signal });
      if (signal.aborted) return;
      this.id = ballot?.id;
      this.element.hidden = !pairs;
      this.pair.hidden = !ballot;
      setText(this.count, [before, `${voted} of ${pairs} ${pairs === 1 ? "pair has" : "pairs have"} a vote.`].filter(Boolean).join(" "));
      if (!ballot) return;
      setText(this.prompt, ballot.prompt);
      this.answers.replaceChildren(...Object.entries(ballot.answers).map(([slot, answer]) =>
        h("article", { "data-slot": slot, "aria-label": `Answer ${slot}` }, h("h4", {}, slot), h("p", { class: "bt-text" }, answer))));
    } catch (error) {
      if (!signal.aborted) setText(this.count, error.message);
    }
  }

  async #vote(choice) {
    const signal = this.requests.begin();
    try {
      const { names } = await ask(this.url, { method: "POST", json: { id: this.id, choice }, signal });
      if (signal.aborted) return;
      this.#next(`A was ${names.A}, B was ${names.B}.`);
    } catch (error) {
      if (signal.aborted) return;
      if (error.code === "unreachable") setText(this.count, error.message);
      else this.#next(error.message);
    }
  }
}
