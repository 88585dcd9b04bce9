/**
 * A lane in the race: its frames, as phases on the turn's time axis and as a curve of tokens over time. Pure values;
 * race.js draws them. All times in ms since the turn began.
 *
 * The server sends points in characters (kimi_ui/core/race.py); here they are scaled so that the curve ends at the
 * number of tokens the lane shows, reasoning and answer each by their own count where both are known.
 *
 * @import { LanePart, Metrics, RaceNews, Stamps } from "../base/protocol"
 */

export const PHASES = {
  earlier: "Earlier tries",
  ready: "Getting ready to send",
  queue: "Queued behind other requests",
  connect: "Connecting",
  load: "Loading the model",
  unsplit: "Loading the model, or waiting for it",
  prompt: "Reading the prompt",
  wait: "Waiting (queue and prompt)",
  fan: "Sending to all trajectories",
  drafts: "Trajectories",
  think: "Thinking",
  answer: "Answering",
};

export class RaceLane {
  /** @type {number | null} when the attempt was sent; while it is queued, when it joined the queue */
  sent = null;
  queue = 0; // ms in the queue before it was sent
  queued = false;
  attemptNo = 1;
  /** @type {Stamps} */
  stamps = {};
  /** @type {Omit<RaceNews, "points">} */
  moments = {};
  /** @type {Metrics | null} */
  metrics = null;
  /** @type {[number, number][]} time and characters */
  points = [];
  /** @type {Map<string, RaceLane>} by number of the trajectory */
  children = new Map();

  get started() {
    return this.sent !== null;
  }

  /** Time of the end; null while it runs. */
  get end() {
    return this.stamps.end_ms === undefined ? null : this.sent + this.stamps.end_ms;
  }

  get firstToken() {
    return this.#at(this.stamps.first_token_ms);
  }

  get firstAnswer() {
    return this.#at(this.stamps.first_answer_ms);
  }

  get tokens() {
    return this.metrics?.output_tokens ?? null;
  }

  /** Whether this app counted the tokens, not the server. */
  get estimated() {
    return ["tokenizer", "chars"].includes(this.metrics?.token_source);
  }

  /**
   * Take a frame's part of the lane or trajectory; false if it changes nothing here.
   *
   * @param {LanePart} part
   */
  apply(part) {
    if (part.attempt) {
      this.#forget();
      this.attemptNo = part.attempt.attempt_no;
    }
    const sending = part.sent ?? part.attempt;
    if (sending) Object.assign(this, { sent: sending.sent_ms, queue: sending.queue_ms ?? 0 });
    if (part.phase) this.queued = part.phase === "queued";
    if (part.stamps) this.stamps = part.stamps;
    if (part.metrics) this.metrics = part.metrics;
    if (part.race) {
      const { points = [], ...moments } = part.race;
      Object.assign(this.moments, moments);
      for (let i = 0; i < points.length; i += 2) this.points.push([points[i], points[i + 1]]);
    }
    for (const [k, child] of Object.entries(part.trajectories ?? {})) {
      if (!this.children.has(k)) this.children.set(k, new RaceLane());
      this.children.get(k).apply(child);
    }
    return Boolean(sending || part.stamps || part.metrics || part.race || part.trajectories);
  }

  /** `[{kind, from, to}]` in order, up to `now` (null: up to the end). */
  phases(now) {
    if (!this.started) return [];
    const { stamps, moments } = this;
    const until = stamps.end_ms ?? (now === null ? stamps.last_token_ms ?? 0 : now - this.sent);
    const first = stamps.first_token_ms ?? until;
    const found = [];
    const add = (kind, from, to) => to > from && found.push({ kind, from: this.sent + from, to: this.sent + to });
    add(this.attemptNo > 1 ? "earlier" : "ready", -this.sent, -this.queue);
    add("queue", -this.queue, this.queued ? until : 0);
    if (this.queued) return found;
    if (this.children.size) {
      const drafted = moments.aggregating_ms ?? stamps.first_answer_ms ?? until;
      const aggregated = stamps.first_reasoning_ms ?? stamps.first_answer_ms ?? until;
      add("fan", 0, first);
      add("drafts", first, drafted);
      add("wait", drafted, aggregated);
    } else {
      // What the server did, by its own figures, in this order and up to the first token.
      const { server_queue_ms: queue = 0, load_or_wait_ms: unsplit = 0, load_ms: load = 0, prompt_ms: prompt = 0 } = moments;
      const spent = stamps.first_token_ms === undefined ? 0 : queue + unsplit + load + prompt;
      let at = Math.max(0, first - spent);
      const connected = Math.min(moments.connect_ms ?? first, at);
      add("connect", 0, connected);
      add("wait", connected, at);
      for (const [kind, ms] of Object.entries(spent ? { queue, unsplit, load, prompt } : {})) {
        const next = Math.min(first, at + ms);
        add(kind, at, next);
        at = next;
      }
    }
    if (stamps.first_reasoning_ms !== undefined) {
      add("think", stamps.first_reasoning_ms, stamps.first_answer_ms ?? stamps.last_token_ms ?? until);
    }
    if (stamps.first_answer_ms !== undefined) add("answer", stamps.first_answer_ms, stamps.last_token_ms ?? until);
    return found;
  }

  /** The trajectory that ended last of those whose answer could be used; null if there is none. */
  slowest() {
    const by = this.#at(this.moments.aggregating_ms) ?? Infinity;
    const ended = [...this.children].filter(([, child]) => child.end !== null && child.end <= by);
    return ended.sort((a, b) => b[1].end - a[1].end)[0]?.[0] ?? null;
  }

  /** All curves: `[{k, think: [[t, tokens]…], answer: [[t, tokens]…]}]`; `k` null is the lane's own, drawn last. */
  curves() {
    if (!this.started || !this.tokens) return [];
    if (!this.children.size) return [this.#curve(null, this.#scale())];
    const chars = [this, ...this.children.values()].reduce((sum, lane) => sum + (lane.points.at(-1)?.[1] ?? 0), 0);
    const each = chars ? this.tokens / chars : 0; // heavy's count is that of all its streams together
    const scale = { before: 0, think: each, answer: each };
    return [...[...this.children].map(([k, child]) => child.#curve(k, scale)), this.#curve(null, scale)];
  }

  #curve(k, { before, think, answer }) {
    const turn = this.#turn;
    const thought = this.#charsBefore(turn);
    const base = before + thought * think;
    const drafts = this.points.filter(([t]) => t < turn).map(([t, chars]) => [this.sent + t, chars * think]);
    const answers = this.points.filter(([t]) => t >= turn).map(([t, chars]) => [this.sent + t, base + (chars - thought) * answer]);
    if (turn !== Infinity) answers.unshift([this.firstAnswer, base]);
    if (drafts.length && answers.length) drafts.push(answers[0]);
    return { k, think: drafts, answer: answers };
  }

  /** Tokens per character of reasoning and answer; `before`: tokens of reasoning that was counted but not shown. */
  #scale() {
    const { output_tokens: all, reasoning_tokens: reasoning } = this.metrics;
    const chars = this.points.at(-1)?.[1] ?? 0;
    const thought = this.#charsBefore(this.#turn);
    if (reasoning === null || reasoning === undefined) return { before: 0, think: all / chars, answer: all / chars };
    return {
      before: thought ? 0 : reasoning,
      think: thought ? reasoning / thought : 0,
      answer: chars > thought ? (all - reasoning) / (chars - thought) : 0,
    };
  }

  /** Points before this are reasoning: the time of the first answer token, to the 0.1 ms that points have. */
  get #turn() {
    return (this.stamps.first_answer_ms ?? Infinity) - 0.05;
  }

  #charsBefore(turn) {
    let chars = 0;
    for (const [t, sum] of this.points) if (t < turn) chars = sum;
    return chars;
  }

  #at(ms) {
    return ms === undefined || this.sent === null ? null : this.sent + ms;
  }

  #forget() {
    Object.assign(this, { stamps: {}, moments: {}, metrics: null, points: [], children: new Map() });
  }
}
