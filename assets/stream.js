/**
 * TurnStream: one turn's frames by one EventSource. Frames are gathered and handed over once per animation frame: a page
 * that gets little time takes many at once and stays with the stream.
 *
 * It closes when the turn has ended or the tab is hidden, and reopens where it was (`after` = entries consumed; the
 * browser's own reconnects send the same number as Last-Event-ID). A browser allows six sockets to a host over all its
 * tabs: only STREAMING_TABS of them hold one open at a time, told apart by Web Locks; a tab without a slot asks for
 * single frames (`once`) about once a second and takes a slot as soon as one is free.
 */

import { rooted } from "./base/http.js";

const STREAMING_TABS = 3;
const POLL_MS = 900;
const TROUBLE_MS = 2000; // a break shorter than this is nobody's concern: the browser comes back by itself

export class TurnStream {
  /**
   * `onframes(frames)` gets what has come, in order; a frame with `turn` tells everything anew. `onend()` is the end of
   * the turn, `onlost()` a refusal, `ontrouble(yes)` tells that the server cannot be reached, and that it can again.
   * `consumed`: entries the page has seen already, null for none.
   */
  constructor(turnId, { onframes, onend, onlost, ontrouble }, consumed = null) {
    this.url = rooted(`/kimi/turns/${encodeURIComponent(turnId)}/events`);
    this.handlers = { onframes, onend, onlost, ontrouble };
    this.consumed = consumed; // entries the page has seen; null before the first frame
    this.queue = [];
    this.painting = 0;
    this.source = null;
    this.freeSlot = null;
    this.closed = false;
    this.visibility = () => (document.hidden ? this.#pause() : this.#open());
    document.addEventListener("visibilitychange", this.visibility);
    if (!document.hidden) this.#open();
  }

  get streaming() {
    return this.source !== null;
  }

  close() {
    this.closed = true;
    document.removeEventListener("visibilitychange", this.visibility);
    this.#pause();
    cancelAnimationFrame(this.painting);
  }

  async #open() {
    if (this.closed || this.source || this.opening) return;
    this.opening = true;
    const slot = await takeSlot();
    this.opening = false;
    if (this.closed || document.hidden) {
      slot.free();
      return;
    }
    this.freeSlot = slot.free;
    const query = new URLSearchParams();
    if (this.consumed !== null) query.set("after", String(this.consumed));
    if (!slot.taken) query.set("once", "1");
    const source = (this.source = new EventSource(`${this.url}?${query}`));
    source.onmessage = (event) => this.#received(event);
    source.addEventListener("end", () => this.#ended());
    source.addEventListener("more", () => this.#pauseFor(POLL_MS)); // the end of a single frame
    source.onopen = () => this.#trouble(false);
    source.onerror = () => (source.readyState === EventSource.CLOSED ? this.#refused() : this.#trouble(true));
  }

  #trouble(yes) {
    if (!yes) {
      clearTimeout(this.troubleTimer);
      this.troubleTimer = 0;
      if (this.inTrouble) this.handlers.ontrouble(false);
      this.inTrouble = false;
    } else if (!this.troubleTimer) {
      this.troubleTimer = setTimeout(() => {
        this.inTrouble = true;
        this.handlers.ontrouble(true);
      }, TROUBLE_MS);
    }
  }

  #received(event) {
    this.consumed = Number(event.lastEventId);
    this.queue.push(JSON.parse(event.data));
    if (!this.painting) this.painting = requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    this.painting = 0;
    if (this.queue.length) this.handlers.onframes(this.queue.splice(0));
  }

  #ended() {
    this.#flush();
    this.close();
    this.handlers.onend();
  }

  /** The server answered, but not with a stream: the turn is not there, or not this reader's. */
  #refused() {
    this.#flush();
    this.close();
    this.handlers.onlost();
  }

  #flush() {
    cancelAnimationFrame(this.painting);
    this.#paint();
  }

  #pause() {
    clearTimeout(this.timer);
    this.#trouble(false);
    this.source?.close();
    this.source = null;
    this.freeSlot?.();
    this.freeSlot = null;
  }

  #pauseFor(ms) {
    this.#pause();
    this.timer = setTimeout(() => this.#open(), ms);
  }
}

/** `{taken, free}`: whether one of the browser's streaming slots could be had, and how to give it back. */
async function takeSlot() {
  if (!navigator.locks) return { taken: true, free: () => {} }; // plain http on another host: no locks, no limit kept
  for (let i = 0; i < STREAMING_TABS; i += 1) {
    const free = await new Promise((resolve) => {
      navigator.locks.request(`kimi-stream-${i}`, { ifAvailable: true }, (lock) => {
        if (!lock) return resolve(null);
        return new Promise((release) => resolve(release));
      });
    });
    if (free) return { taken: true, free };
  }
  return { taken: false, free: () => {} };
}
