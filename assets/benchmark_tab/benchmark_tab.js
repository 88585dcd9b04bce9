/**
 * The Benchmark tab: a new run, the running one, all runs, and the result of one run or of two. All state is the server's
 * (kimi_ui/web/benchmark.py): a refresh and a second tab show the same run. While the tab is visible its progress is
 * requested once a second.
 */
import { chat } from "../base/bus.js";
import { button, h, setText } from "../base/dom.js";
import { UNKNOWN, count, usd } from "../base/format.js";
import { ask } from "../base/http.js";
import { Progress } from "./progress.js";
import { Result } from "./result.js";
import { Setup } from "./setup.js";

const LOOK_MS = 1000;
const REST_MS = 5000; // without a running benchmark; another tab may start one
const STATES = {
  running: "running",
  done: "done",
  stopped: "stopped",
  budget: "stopped by its budget",
  decided: "decided early",
  interrupted: "interrupted",
};
const WHAT =
  "The benchmark sends the same cases to the lanes, in shuffled order, and grades the answers by fixed rules: " +
  "reasoning, code, math, texts, long documents, conversations. It shows what each lane gets right, how long it takes " +
  "and what it costs, with intervals, and says “not shown” where the data show no difference. Its requests are paid " +
  "for like any other; nothing is sent before you start it.";

export function mount(element) {
  const tab = new BenchmarkTab(element.querySelector('[data-kimi="benchmark-tab"]'));
  new IntersectionObserver((entries) => tab.visible(entries.at(-1).isIntersecting)).observe(element);
}

class BenchmarkTab {
  constructor(element) {
    this.problem = h("p", { class: "bt-problem", role: "alert", hidden: true });
    this.progress = new Progress(async () => this.#say(await this.#post("/kimi/benchmark/stop")));
    this.body = h("div", { class: "bt-body" });
    this.result = new Result(() => this.#showList());
    this.home = h("div", { class: "bt-home" }, this.progress.element, this.body);
    this.running = "";
    element.replaceChildren(h("div", { class: "bt" }, h("h2", {}, "Benchmark"), this.problem, this.home, this.result.element));
  }

  /** The tab was opened or left. */
  visible(is) {
    clearTimeout(this.timer);
    this.isVisible = is;
    if (!is) return;
    if (this.state) this.#look();
    else this.#load();
  }

  async #load() {
    try {
      this.state = await ask("/kimi/benchmark");
      this.#say("");
      this.#draw();
    } catch (error) {
      this.#say(error.message);
    }
    this.#soon();
  }

  async #look() {
    try {
      this.#take((await ask("/kimi/benchmark/progress")).running);
      this.#say("");
    } catch (error) {
      this.#say(error.message);
    }
    this.#soon();
  }

  #soon() {
    clearTimeout(this.timer);
    if (this.isVisible) this.timer = setTimeout(() => (this.state ? this.#look() : this.#load()), this.running ? LOOK_MS : REST_MS);
  }

  /** Show the running benchmark, or that it has ended. */
  #take(progress) {
    const before = this.running;
    this.running = progress?.run ?? "";
    this.progress.show(progress);
    if (this.setup) this.setup.element.hidden = Boolean(progress);
    if (before === this.running) return;
    this.#load();
    if (before) chat.emit("benchmarked");
  }

  #draw() {
    const { runs, running } = this.state;
    this.running = running?.run ?? "";
    this.progress.show(running);
    this.setup = new Setup(this.state, (run) => this.#post("/kimi/benchmark/runs", run));
    this.setup.element.hidden = Boolean(running);
    const shown = runs.filter((run) => run.id !== this.running);
    this.body.replaceChildren(
      ...(runs.length || running ? [] : [h("p", { class: "bt-what" }, WHAT)]),
      this.setup.element,
      ...(shown.length ? [this.#list(shown)] : []));
  }

  #list(runs) {
    this.compare = h(
      "button",
      { type: "button", class: "lt-button", id: "bench-compare", disabled: true, onclick: () => this.#compare() },
      "Compare two runs",
    );
    const rows = runs.map((run) =>
      h(
        "tr",
        { "data-run": run.id },
        h(
          "td",
          {},
          runs.length > 1
            ? h("input", {
                type: "checkbox",
                value: run.id,
                "aria-label": `Compare the run of ${when(run)}`,
                onchange: () => this.#ticked(),
              })
            : null,
        ),
        h(
          "th",
          { scope: "row" },
          h("button", { type: "button", class: "bt-open", onclick: () => this.#open(run) }, when(run)),
        ),
        h(
          "td",
          { "data-label": "State" },
          STATES[run.state] ?? run.state,
          run.state_reason ? h("span", { class: "note bt-reason" }, run.state_reason) : null,
        ),
        h("td", { "data-label": "Cases" }, run.size_label),
        h("td", { "data-label": "Lanes", class: "bt-lanes" }, run.lanes.join(", ")),
        h(
          "td",
          { "data-label": "Answers" },
          run.n_done === run.n_planned ? count(run.n_done) : `${count(run.n_done)} of ${count(run.n_planned)}`,
        ),
        h(
          "td",
          { "data-label": "Cost" },
          run.cost_usd === null
            ? UNKNOWN
            : `${usd(run.cost_usd)}${run.n_unpriced ? ` (+${count(run.n_unpriced)} unpriced)` : ""}`,
        ),
        h(
          "td",
          {},
          run.can_resume
            ? button(`Resume the run of ${when(run)}`, () => this.#resume(run), { face: "Resume", class: "lt-button" })
            : null,
        ),
      ),
    );
    this.rows = rows;
    return h("section", { class: "bt-section", "aria-label": "Runs" },
      h("div", { class: "bt-head" }, h("h3", {}, "Runs"), runs.length > 1 ? this.compare : null),
      h("table", { class: "bt-runs", id: "bench-runs" },
        h("thead", {}, h("tr", {}, ...["", "Started", "State", "Cases", "Lanes", "Answers", "Cost", ""].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, ...rows)));
  }

  async #resume(run) {
    this.#say(await this.#post(`/kimi/benchmark/runs/${run.id}/resume`));
  }

  get #chosen() {
    return this.rows.map((row) => row.querySelector("input")).filter((box) => box?.checked).map((box) => box.value);
  }

  #ticked() {
    this.compare.disabled = this.#chosen.length !== 2;
  }

  #compare() {
    const [newer, older] = this.#chosen;
    this.#showResult("Two runs compared", `/kimi/benchmark/compare?${new URLSearchParams({ a: older, b: newer })}`);
  }

  #open(run) {
    this.#showResult(`The run of ${when(run)}`, `/kimi/benchmark/runs/${run.id}/report`, run.id);
  }

  #showResult(title, url, run = "") {
    this.home.hidden = true;
    this.result.show(title, url, run);
  }

  #showList() {
    this.home.hidden = false;
  }

  /** Start, resume or stop a run; resolves to a sentence if that was refused. */
  async #post(url, json = {}) {
    try {
      await ask(url, { method: "POST", json });
    } catch (error) {
      return error.message;
    }
    await this.#load(); // all of it: a run may have ended before it was ever seen running
    if (!this.running) chat.emit("benchmarked");
    return "";
  }

  #say(sentence) {
    this.problem.hidden = !sentence;
    setText(this.problem, sentence);
  }
}

function when(run) {
  return new Date(run.started_at_utc).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}
