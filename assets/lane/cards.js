/** Cards inside a lane: a failure with its remedy, a retry that counts down, the note of a stand-in. */
import { button, copyFrom, h, setText } from "../base/dom.js";
import { bytes, seconds } from "../base/format.js";

/** A line of text with a copy button. */
export function commandLine(command) {
  const copy = button("Copy the line", () => copyFrom(command, copy), { face: "Copy", class: "quiet" });
  return h("div", { class: "command" }, h("code", {}, command), copy);
}

/** `failure` as core.events.Failure; `extra` is an element placed under the remedy. */
export function failureCard(failure, extra = null) {
  return h(
    "div", { class: "card card-failure", role: "group", "aria-label": "What went wrong", "data-kind": failure.kind },
    h("p", { class: "card-title" }, failure.message),
    failure.remedy ? h("p", {}, failure.remedy) : null,
    failure.command ? commandLine(failure.command) : null,
    extra,
    failure.detail
      ? h("details", {}, h("summary", {}, failure.http_status ? `HTTP ${failure.http_status}, in its own words` : "In its own words"),
          h("pre", {}, failure.detail))
      : null,
  );
}

/** A part of the page that the server did not send: a sentence that begins with `what`, and a button that calls `again`. */
export function missingCard(what, error, again) {
  return h("div", { class: "card card-failure", role: "alert" },
    h("p", { class: "card-title" }, `${what} could not be fetched. ${error.message}`),
    h("button", { type: "button", class: "primary", onclick: again }, "Try again"));
}

/** The lane's model and provider: `served_by` and `why` from the roster, the price with its date. */
export function restCard({ served_by: servedBy, why, price, width, send_reasoning: sentBack }) {
  const rows = [["Served by", servedBy], ["Price", priceLine(price)]];
  if (width) rows.push(["Runs", `${width} trajectories in parallel, then one aggregation`]);
  if (sentBack) rows.push(["Reasoning", "sent back to the model in later turns"]);
  return h("div", { class: "rest" },
    h("dl", {}, ...rows.filter(([, value]) => value).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    why ? h("p", { class: "note" }, why) : null);
}

export function priceLine(price) {
  if (!price) return "not known: no cost will be shown";
  if (!price.input && !price.output) return "free, runs here";
  return `$${price.input} in, $${price.output} out per million tokens${price.as_of ? ` (${price.as_of})` : ""}`;
}

/** Says that a small embedded model answers here, in place of which model, and what to set to get the real one. */
export function standInCard({ model, stand_in_for: standInFor, how_to_get_real: line, why_not: whyNot }) {
  return h(
    "div", { class: "card card-stand-in" },
    h("p", {}, h("strong", {}, "Stand-in. "),
      `${model || "A small embedded model"}, small and far weaker, answers here in place of ${standInFor}: to try the page, not to judge the model.`),
    line ? h("p", { class: "card-label" }, howToGet(standInFor, line)) : null,
    line ? commandLine(line) : null,
    whyNot ? h("p", { class: "card-label" }, whyNot) : null,
  );
}

/** What to do to get the lane's real model: a variable to set, or a command to run. */
export function howToGet(wanted, line) {
  return /^[A-Z0-9_]+=/.test(line) ? `To get ${wanted}, put into .env:` : `To get ${wanted}, run:`;
}

/** Counts down to the next attempt; `tick(now)` in ms of the turn's clock. */
export class RetryCard {
  constructor({ at_ms: at, attempt_no: attemptNo, failure }) {
    this.at = at;
    this.line = h("p", { class: "card-retry" });
    this.attemptNo = attemptNo;
    this.element = h("div", { class: "card card-waiting" },
      h("p", { class: "card-title" }, failure?.message ?? "The request failed."), this.line);
    this.tick(0);
  }

  tick(now) {
    const left = now === null ? this.at : Math.max(0, this.at - now);
    setText(this.line, left > 0 ? `Trying again in ${seconds(left)} (attempt ${this.attemptNo})` : `Trying again (attempt ${this.attemptNo})`);
  }
}

/** A phase with its progress: bytes while weights are fetched. */
export class ProgressCard {
  constructor() {
    this.label = h("p", { class: "card-title" });
    this.bar = h("progress", { max: "1" });
    this.figures = h("p", { class: "note figures" });
    this.element = h("div", { class: "card card-waiting" }, this.label, this.bar, this.figures);
  }

  show(label, done, total) {
    setText(this.label, label);
    this.bar.hidden = false;
    if (total) {
      this.bar.value = Math.min(1, (done ?? 0) / total);
      setText(this.figures, `${bytes(done ?? 0)} of ${bytes(total)} · ${Math.floor((100 * (done ?? 0)) / total)} %`);
    } else {
      this.bar.removeAttribute("value");
      setText(this.figures, "");
    }
  }
}
