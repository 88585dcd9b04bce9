/**
 * The result of a run: the body of its report (kimi_ui/bench/report), which the server has rendered with every text of a
 * model escaped. Or of two runs, in sentences.
 */
import { button, h, setText } from "../base/dom.js";
import { ask, rooted } from "../base/http.js";
import { Newest } from "../base/newest.js";
import { Ballot } from "./ballot.js";

const DOWNLOADS = [["html", "Report (one HTML file)"], ["md", "Markdown"], ["csv", "CSV"], ["json", "JSON"]];

export class Result {
  /** `onclose()` when the reader goes back. */
  constructor(onclose) {
    this.onclose = onclose;
    this.requests = new Newest();
    this.title = h("h3", { tabindex: "-1" });
    this.downloads = h("p", { class: "bt-downloads" });
    this.status = h("p", { class: "note", role: "status" });
    this.report = h("div", { class: "bt-report", id: "bench-report" });
    this.votes = h("div", {});
    this.ballot = null;
    this.element = h(
      "div",
      { class: "bt-result", hidden: true },
      h(
        "div",
        { class: "bt-head" },
        button("Back to the runs", () => this.close(), { face: "← Runs", class: "lt-button", id: "bench-back" }),
        this.title,
        this.downloads,
      ),
      this.status,
      this.report,
      this.votes,
    );
  }

  async show(title, url, run) {
    const signal = this.requests.begin();
    this.element.hidden = false;
    setText(this.title, title);
    this.title.focus();
    setText(this.status, "Reading the answers…");
    this.report.replaceChildren();
    this.#vote(run);
    this.downloads.replaceChildren(...(run ? DOWNLOADS.map(([format, label]) =>
      h("a", { href: rooted(`/kimi/benchmark/runs/${run}/download/${format}`), download: true }, label)) : []));
    try {
      const { html, lines } = await ask(url, { signal });
      if (signal.aborted) return;
      if (html === undefined) this.report.replaceChildren(...lines.map((line) => h("p", { class: "bt-line" }, line)));
      else this.report.innerHTML = html;
      for (const cell of this.report.querySelectorAll("[data-turn]")) cell.append(replayLink(cell.getAttribute("data-turn")));
      setText(this.status, "");
    } catch (error) {
      if (!signal.aborted) setText(this.status, error.message);
    }
  }

  #vote(run) {
    this.ballot?.close();
    this.ballot = run ? new Ballot(run) : null;
    this.votes.replaceChildren(...(this.ballot ? [this.ballot.element] : []));
  }

  close() {
    this.requests.drop();
    this.#vote("");
    this.element.hidden = true;
    this.onclose();
  }
}

/** A link to a turn in the chat, where it can be replayed. */
function replayLink(turn) {
  return h("a", { class: "bt-replay", href: `?${new URLSearchParams({ turn })}`, target: "_blank" }, "Open this turn in the chat, to replay it");
}
