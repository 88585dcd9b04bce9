/** A running benchmark: how far it is, and what came of each lane so far. Who is ahead is not shown before the end. */
import { h, laneAccent, setAttribute, setText } from "../base/dom.js";
import { count, seconds, usd } from "../base/format.js";

const COLUMNS = [["right", "Right"], ["wrong", "Wrong"], ["other", "Cut, unreadable, late"], ["endpoint", "Server failed"], ["left", "To come"]];

export class Progress {
  /** `onstop()` stops the run. */
  constructor(onstop) {
    this.bar = h("progress", { class: "bt-bar", id: "bench-bar", "aria-label": "Answers so far" });
    this.words = h("p", { class: "bt-words", id: "bench-words", role: "status" });
    this.rows = h("tbody");
    this.stop = h("button", { type: "button", class: "lt-button", id: "bench-stop", onclick: onstop }, "Stop the run");
    this.element = h(
      "section",
      { class: "bt-section", id: "bench-running", "aria-label": "The running benchmark", hidden: true },
      this.bar,
      this.words,
      h(
        "div",
        { class: "bt-scroll", tabindex: "0", role: "region", "aria-label": "Answers so far by lane" },
        h(
          "table",
          {},
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              ...["Lane", ...COLUMNS.map(([, label]) => label)].map((label) => h("th", { scope: "col" }, label)),
            ),
          ),
          this.rows,
        ),
      ),
      h(
        "div",
        { class: "bt-actions" },
        this.stop,
        h(
          "p",
          { class: "note" },
          "A run stopped by hand is exploratory: a difference between lanes then needs stronger evidence to be shown, " +
            "and it gives no advice in the chat. It can be resumed. Prompts in the chat are sent before the benchmark's.",
        ),
      ),
    );
  }

  show(progress) {
    this.element.hidden = !progress;
    if (!progress) return;
    const { done, total } = progress;
    this.bar.max = total;
    this.bar.value = done;
    setText(this.words, sentence(progress));
    this.stop.disabled = progress.stopping;
    setText(this.stop, progress.stopping ? "Stopping…" : "Stop the run");
    this.rows.replaceChildren(...progress.lanes.map((lane) =>
      h("tr", { style: `--lane: ${laneAccent(lane.index)}` }, h("th", { scope: "row", class: "bt-lane" }, lane.label),
        ...COLUMNS.map(([name]) => h("td", {}, count(lane.counts[name]))))));
    setAttribute(this.element, "data-run", progress.run);
  }
}

function sentence({ done, total, seconds_left: left, spent_usd: spent, budget_usd: budget, n_unpriced: unpriced }) {
  const parts = [`${count(done)} of ${count(total)} answers`];
  parts.push(left === null ? "the time left is not known yet" : `about ${seconds(1000 * left, 0)} left`);
  if (spent !== null) parts.push(`${usd(spent)}${budget === null ? "" : ` of ${usd(budget)}`} spent${unpriced ? ` (+${count(unpriced)} unpriced)` : ""}`);
  return parts.join(" · ");
}
