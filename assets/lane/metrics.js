/**
 * The metrics strip of one lane: one line with as many of the six figures as it has room for, the most wanted first; on
 * demand, and with the keyboard focus, all six with their names, for all lanes alike. Every figure comes from the server
 * (core/metrics.py); only the elapsed time ticks here, on the engine's clock.
 */
import { button, h, setAttribute, setText } from "../base/dom.js";
import { UNKNOWN, count, rate, seconds, usd } from "../base/format.js";
import { allFigures } from "../base/preferences.js";

const SOURCES = {
  usage: "counted by the provider",
  server: "counted by the model server",
  tokenizer: "counted here with a tokenizer; the provider's own count may differ",
  chars: "estimated from the number of characters",
};

const DISAGREE = 0.1;
const DISAGREE_FROM = 40; // tokens: in a shorter text a few tokens are already a large share

const SOURCE_WORDS = { usage: "usage", server: "server", tokenizer: "local", chars: "est." };

const COSTS = {
  price: "This lane's price is 0",
  reported: "As the gateway reported it",
  usage: "From the provider's token counts",
  estimate: "Estimated: not all tokens were counted by the provider",
};

const DOUBTS = {
  clock_jump: "the machine slept or its clock jumped meanwhile",
  child: "one of its trajectories or the aggregation is in doubt",
};

const CELLS = [
  ["elapsed", "Elapsed", "From sending the request to the end of the answer"],
  ["ttft", "First token", "Time to the first token of any kind (TTFT)"],
  ["ttfo", "First answer", "Time to the first token of the answer (TTFO)"],
  ["tokens", "Tokens", "Output tokens, reasoning included"],
  ["rate", "Decode", "Output tokens per second after the first one; not shown under 40 tokens or 200 ms"],
  ["cost", "Cost", "At the price of this lane"],
];
// Heavy has several streams: their tokens per second together are not the speed of one stream and have another name.
const AGGREGATE = ["rate", "Aggregate", "All trajectories' output tokens per second of the whole, once it has ended"];

export class MetricsStrip {
  constructor(heavy = false) {
    this.heavy = heavy;
    this.cells = {};
    // In focus it shows every error bound, which the mouse finds cell by cell.
    this.figures = h("div", { class: "metrics-figures" });
    this.toggle = button("All figures", () => allFigures.set(!allFigures.on), {
      face: h("span", { class: "chevron", "aria-hidden": "true" }),
      class: "icon metrics-toggle",
    });
    this.element = h(
      "footer",
      { class: "metrics", "data-part": "metrics", tabindex: "0", role: "group", "aria-label": "Figures" },
      this.figures,
      this.toggle,
    );
    this.end = allFigures.changed(() => this.#arrange());
    this.#arrange();
    this.queue = null;
    this.source = h("span", { class: "metric-source" }); // of the tokens
    for (const [name, label, title] of CELLS.map((cell) => (heavy && cell[0] === "rate" ? AGGREGATE : cell))) {
      const value = h("dd", { "data-metric": name }, UNKNOWN);
      const source = name === "tokens" ? this.source : null;
      this.cells[name] = value;
      this.figures.append(h("dl", { title, "data-figure": name }, h("dt", {}, label, source), value));
    }
  }

  close() {
    this.end();
  }

  #arrange() {
    this.element.classList.toggle("all", allFigures.on);
    setAttribute(this.toggle, "aria-expanded", String(allFigures.on));
  }

  clear() {
    for (const cell of Object.values(this.cells)) {
      setText(cell, UNKNOWN);
      for (const name of ["data-bound", "data-known", "data-disagrees"]) cell.removeAttribute(name);
    }
    setText(this.source, "");
  }

  elapsed(ms) {
    setText(this.cells.elapsed, seconds(ms));
  }

  /** How long the request waited in the app's queue before it was sent; not part of any of the figures. */
  queued(ms) {
    this.queue = ms ? `It waited ${seconds(ms)} in the queue before it was sent` : null;
    setAttribute(this.cells.elapsed, "title", this.queue);
  }

  /** Keeps a cell's error bound for who comes by keyboard; returns it. */
  bound(name, bound) {
    setAttribute(this.cells[name], "data-bound", bound?.words ?? null);
    return bound;
  }

  apply(m) {
    const doubt = doubtOf(m);
    for (const name of ["ttft", "ttfo"]) {
      const bound = this.bound(name, m.bounds?.[`${name}_ms`]);
      setText(this.cells[name], about(seconds(m[`${name}_ms`], 2), doubt || bound?.rough));
      setAttribute(this.cells[name], "title", joined(bound?.words, doubt));
    }
    const last = this.bound("elapsed", m.bounds?.e2e_ms);
    setAttribute(this.cells.elapsed, "title", joined(last && `Last text ${last.words}`, this.queue));
    setAttribute(this.cells.ttft, "title", joined(this.cells.ttft.title, waitTitle(m)));
    const estimated = m.token_source === "tokenizer" || m.token_source === "chars";
    const output = m.output_tokens;
    setText(this.cells.tokens, output === null ? UNKNOWN : about(count(output), estimated));
    setAttribute(this.cells.tokens, "title", tokenTitle(m));
    const mark = disagrees(m) ? " ≠" : "";
    this.cells.tokens.toggleAttribute("data-disagrees", Boolean(mark));
    setText(this.source, m.token_source ? ` · ${SOURCE_WORDS[m.token_source] ?? m.token_source}${mark}` : "");
    const speed = this.heavy ? "aggregate_tps" : "decode_tps";
    const bound = this.bound("rate", m.bounds?.[speed]);
    setText(this.cells.rate, about(rate(m[speed]), estimated || doubt || bound?.rough));
    setAttribute(this.cells.rate, "title", joined(bound?.words, rateTitle(m, estimated, doubt)));
    this.cells.cost.toggleAttribute("data-known", m.cost_usd !== null);
    setText(this.cells.cost, about(usd(m.cost_usd), m.cost_source === "estimate"));
    setAttribute(this.cells.cost, "title", costTitle(m));
  }
}

/** The parts that are there, as one text; null if there is none. */
function joined(...parts) {
  return parts.filter(Boolean).join("; ") || null;
}

/** Why these figures are suspect, as a sentence; null if they are not. */
function doubtOf(m) {
  if (!m.suspect) return null;
  const reasons = (m.suspect_reason ?? "").split(" ").map((name) => DOUBTS[name] ?? "the server's counts contradict the text");
  return `Not to be trusted: ${[...new Set(reasons)].join(", ")}`;
}

/** What of the time to the first token was not the model's; null if nothing is known of it. */
function waitTitle(m) {
  const parts = [["server_queue_ms", "in the server's queue"], ["cold_load_ms", "loading the model"], ["load_or_wait_ms", "load or wait"]]
    .filter(([name]) => m[name] >= 50)
    .map(([name, words]) => `${seconds(m[name], 2)} ${words}`);
  return parts.length ? `Of it ${parts.join(", ")}; without that ${seconds(m.ttft_warm_ms ?? m.ttft_ms - (m.server_queue_ms ?? 0), 2)}` : null;
}

/** Puts "~" before an estimated or suspect figure; an unknown one stays unchanged. */
function about(figure, estimated) {
  return estimated && figure !== UNKNOWN ? `~${figure}` : figure;
}

function tokenTitle(m) {
  if (m.output_tokens === null) return "No token yet";
  const parts = [`${count(m.output_tokens)} out`];
  if (m.reasoning_tokens !== null) parts.push(`${count(m.reasoning_tokens)} of them reasoning`);
  if (m.input_tokens !== null) parts.push(`${count(m.input_tokens)} in`);
  if (m.cached_input_tokens) parts.push(`${count(m.cached_input_tokens)} of them cached`);
  const sources = [SOURCES[m.token_source] ?? "source unknown"];
  if (disagrees(m)) {
    const [percent, which] = [Math.round(100 * Math.abs(m.token_discrepancy)), m.token_discrepancy > 0 ? "more" : "less"];
    sources.push(`${percent} % ${which} than a tokenizer here finds in the text (exact only with the model's own)`);
  }
  return `${parts.join(", ")}; ${sources.join(", ")}`;
}

/** The server's token count differs much from the count of the text: one of the two is wrong or of another model. */
function disagrees(m) {
  return m.output_tokens >= DISAGREE_FROM && Math.abs(m.token_discrepancy ?? 0) > DISAGREE;
}

function rateTitle(m, estimated, doubt) {
  if (m.burst) return "The text came in bursts, held back somewhere on its way: a rate would say nothing about the model";
  const parts = [];
  if (m.e2e_tps !== null) parts.push(`${rate(m.e2e_tps)} from sending to the end`);
  if (m.effective_tps !== null) parts.push(`${rate(m.effective_tps)} counting the answer alone`);
  if (estimated) parts.push(`tokens ${SOURCES[m.token_source]}`);
  if (doubt) parts.push(doubt);
  return parts.join("; ") || null;
}

function costTitle(m) {
  if (m.cost_usd === null) return m.price_as_of ? "Not known yet" : "No price is known for this lane";
  const prices = m.price_as_of && m.cost_source !== "reported" ? `, prices of ${m.price_as_of}` : "";
  return `${COSTS[m.cost_source] ?? "Source unknown"}${prices}`;
}
