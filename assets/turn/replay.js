/**
 * Replay: a turn watched again in the component that showed it live, at 1×, 4× or at once, with a scrubber.
 *
 * The document (kimi_ui/view/replay.py) holds the frames that the live page got, each with its play time, and a few
 * snapshots (`wholes`): the sum of all frames up to one, to start from when the reader jumps. Time here is play time in
 * ms; a frame's `now_ms` is the turn's own clock, which continues from it until the next frame.
 */
import { button, h, laneAccent, setAttribute, setText } from "../base/dom.js";
import { seconds } from "../base/format.js";
import { TurnRow } from "./turn.js";

const SPEEDS = [1, 4];
const FRAMES_AHEAD = 80; // a jump forward over at most this many frames applies them one by one
const LONGEST_STEP_MS = 250; // after a hidden tab or a hanging window the replay continues where it was
const KEY_STEP_MS = 1000;
const MARKS = { first_token: "first token", first_answer: "first answer token", end: "end" };

/** The turn's clock during a replay. */
class PlayClock {
  ms = null;

  sync() {}

  now() {
    return this.ms;
  }
}

export class Replay {
  /**
   * `actions` as in turn.js. `drawn(row)` is called with each row the replay draws, `onclose()` when the reader
   * closes it; without it there is no Close button.
   *
   * @param {any} document
   * @param {Record<string, any>} actions
   * @param {{ drawn?: (row: TurnRow) => void, onclose?: (() => void) | null }} [listeners]
   */
  constructor(document, actions, { drawn = () => {}, onclose = null } = {}) {
    this.document = document;
    this.actions = actions;
    this.drawn = drawn;
    this.onclose = onclose;
    this.at = 0;
    this.next = 0; // index of the first frame not shown yet
    this.speed = SPEEDS[0];
    this.playing = false;
    this.painting = 0;
    this.dragging = 0; // the animation frame in which `wanted` is shown
    this.wanted = 0; // where the reader has dragged the scrubber
    this.row = null;
    this.#buildBar();
    this.element = h("section", { class: "replay", "aria-label": "Replay" }, this.bar);
    this.seek(0);
  }

  get duration() {
    return this.document.duration_ms;
  }

  play() {
    if (this.playing) return;
    if (this.at >= this.duration) this.seek(0);
    this.playing = true;
    this.last = null;
    this.#showState();
    this.painting = requestAnimationFrame((now) => this.#step(now));
  }

  pause() {
    this.playing = false;
    cancelAnimationFrame(this.painting);
    this.row?.tick();
    this.#showState();
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  /** Show the turn as it was at the play time `at`. */
  seek(at) {
    cancelAnimationFrame(this.dragging);
    this.dragging = 0;
    const target = Math.min(Math.max(0, at), this.duration);
    const until = this.#framesUntil(target);
    if (!this.row || until < this.next || until - this.next > FRAMES_AHEAD) this.#jump(until);
    else this.#apply(until, false);
    this.#moveTo(target);
    this.#showState();
  }

  close() {
    this.pause();
    cancelAnimationFrame(this.dragging);
    this.row?.close();
  }

  #step(now) {
    if (!this.playing) return;
    const passed = this.last === null ? 0 : Math.min(now - this.last, LONGEST_STEP_MS);
    this.last = now;
    const target = Math.min(this.duration, this.at + passed * this.speed);
    this.#apply(this.#framesUntil(target), true);
    this.#moveTo(target);
    if (target >= this.duration) this.pause();
    else this.painting = requestAnimationFrame((then) => this.#step(then));
  }

  /** The number of frames up to a play time. */
  #framesUntil(at) {
    const { frames } = this.document;
    let low = 0;
    let high = frames.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (frames[middle].t_ms <= at) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Draw the turn again, from the last snapshot before frame `until` or from its start. */
  #jump(until) {
    const before = this.row;
    this.clock = new PlayClock();
    this.row = new TurnRow(this.document.turn, this.actions, { clock: this.clock });
    this.drawn(this.row);
    if (before) {
      this.row.likeBefore(before);
      before.close();
      before.element.replaceWith(this.row.element);
    } else this.element.append(this.row.element);
    const whole = this.document.wholes.findLast(({ after }) => after <= until);
    this.next = whole?.after ?? 0;
    this.#apply(until, false, whole ? [whole.frame] : []);
  }

  /** Apply the frames before number `until`; `first` is applied before them. */
  #apply(until, live, first = []) {
    const frames = [...first, ...this.document.frames.slice(this.next, until).map(({ frame }) => frame)];
    this.next = Math.max(until, this.next);
    if (!frames.length) return;
    this.clock.ms = frames.at(-1).now_ms;
    this.row.applyAll(frames, live);
  }

  #moveTo(at) {
    this.at = at;
    const shown = this.document.frames[this.next - 1];
    this.clock.ms = shown ? shown.frame.now_ms + (at - shown.t_ms) : 0;
    if (!this.playing) this.row.tick();
    this.slider.value = String(Math.round(at));
    setAttribute(this.slider, "aria-valuetext", `${seconds(at)} of ${seconds(this.duration)}`);
    setText(this.time, `${seconds(at)} / ${seconds(this.duration)}`);
  }

  #buildBar() {
    this.playButton = h("button", { type: "button", class: "replay-play", "data-action": "replay", onclick: () => this.toggle() });
    this.speeds = SPEEDS.map((speed) => h("button", {
      type: "button", class: "quiet", "aria-pressed": "false", "aria-label": `Speed ${speed} times`, onclick: () => {
        this.speed = speed;
        this.#showState();
      } }, `${speed}×`));
    const atOnce = button("Show all at once", () => {
      this.pause();
      this.seek(this.duration);
    }, { face: "At once", class: "quiet" });
    this.slider = h("input", {
      type: "range", min: "0", max: String(Math.ceil(this.duration)), step: "1", value: "0", "aria-label": "Place in the replay",
      oninput: () => this.#dragged(), onkeydown: (event) => this.#keyed(event) });
    this.time = h("output", { class: "replay-time" });
    const close = this.onclose && button("End the replay", () => this.onclose(), { face: "✕", class: "icon" });
    this.bar = h("div", { class: "replay-bar", role: "group", "aria-label": "Replay" },
      h("span", { class: "replay-name" }, "Replay"), this.playButton,
      h("div", { class: "replay-speeds", role: "group", "aria-label": "Speed" }, ...this.speeds, atOnce),
      h("div", { class: "replay-track" }, this.slider, this.#marks()), this.time, close);
    this.#showState();
  }

  /** Marks on the scrubber: one tick for each lane and event, in the lane's colour. */
  #marks() {
    const places = new Map(this.document.turn.lanes.map(({ id, label }, index) => [id, { label, index }]));
    const ticks = this.document.marks.map(({ t_ms: at, lane, kind }) => {
      const { label, index } = places.get(lane);
      const tick = h("i", { "data-kind": kind, title: `${label}: ${MARKS[kind]} at ${seconds(at)}` });
      tick.style.left = `${(100 * at) / Math.max(1, this.duration)}%`;
      tick.style.setProperty("--lane", laneAccent(index));
      return tick;
    });
    return h("div", { class: "replay-marks", "aria-hidden": "true" }, ...ticks);
  }

  /**
   * A drag passes more positions than can be drawn: only the newest is drawn, once per animation frame. It is read at once:
   * while the replay plays, the frame moves the scrubber first.
   */
  #dragged() {
    this.wanted = Number(this.slider.value);
    this.dragging ||= requestAnimationFrame(() => this.seek(this.wanted));
  }

  #keyed(event) {
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }[event.key];
    if (event.key === " ") this.toggle();
    else if (steps) this.seek((this.dragging ? this.wanted : this.at) + steps * Math.min(KEY_STEP_MS, this.duration / 20));
    else return;
    event.preventDefault();
  }

  #showState() {
    const name = this.playing ? "Pause" : this.at >= this.duration ? "Play again" : "Play";
    setText(this.playButton, this.playing ? "❚❚" : "▶");
    setAttribute(this.playButton, "aria-label", name);
    setAttribute(this.playButton, "title", name);
    this.speeds.forEach((face, i) => {
      setAttribute(face, "aria-pressed", String(SPEEDS[i] === this.speed));
    });
  }
}
