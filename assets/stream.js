/**
 * TurnStream: one turn's frames, live. Of a browser's tabs that show the turn, one leads: it holds the EventSource and
 * passes each frame on over a BroadcastChannel; the others follow. So more tabs cost the server nothing and do not use
 * up the sockets that a browser allows per host (six over all its tabs). Measured (tests/benchmarks/tabs.py, a turn of
 * 30,000 entries): 34, 34 and 33 ms of server time a second for 1, 3 and 7 tabs; before, when tabs polled, 39, 53, 176.
 *
 * - The leader is the tab that holds the turn's Web Lock. All tabs request it, so it passes on when the leader closes,
 *   is hidden or reaches the end. The new leader opens its EventSource at its own position (`after` = entries consumed;
 *   the browser's reconnects send the same number as Last-Event-ID); followers have the same position, so no frame is
 *   lost or repeated.
 * - A new tab requests from the leader the sum of all frames so far (base/frames.js), or the part it lacks.
 * - Several turns at once have a leader each, but only SOCKETS of these hold an EventSource at a time; with more they
 *   take turns. Without Web Locks (plain http on another host) every tab opens its own EventSource.
 *
 * Frames are collected and passed on once per animation frame, so a page with little CPU time takes many at once and
 * keeps up with the stream. A hidden tab neither leads nor follows; it continues from its position once it is shown.
 */
import { merged, since } from "./base/frames.js";
import { rooted } from "./base/http.js";

const SOCKETS = 4;
const SHARE_MS = 2000; // how long a socket is kept while another turn waits for one
const ANSWER_MS = 10_000; // a leader that does not answer for this long hangs: another tab takes over
const TROUBLE_MS = 2000; // a shorter break is not reported: the browser reconnects automatically

export class TurnStream {
  /**
   * `turn`: id and blind (the stream before the vote is another one). `onframes(frames)` gets the new frames in order;
   * a frame with `turn` replaces all before it. `onend()`: the turn has ended; `onlost()`: the server refused;
   * `ontrouble(yes)`: the server cannot be reached, or can again. `onnotice(text)`: what does not work in the server;
   * empty: all does again. `before`: the stream of this turn that this one continues.
   */
  constructor({ id, blind = false }, { onframes, onend, onlost, ontrouble, onnotice }, before = null) {
    this.url = rooted(`/kimi/turns/${encodeURIComponent(id)}/events`);
    this.name = `kimi-turn-${id}${blind ? "-blind" : ""}`;
    this.handlers = { onframes, onend, onlost, ontrouble, onnotice };
    this.sum = before?.sum ?? null; // of all frames so far
    this.consumed = before?.consumed ?? null; // number of log entries in that sum; null before all of the first answers is here
    this.queue = [];
    this.painting = 0;
    this.shown = null; // aborted when the tab is hidden
    this.source = null;
    this.inTrouble = false;
    this.visibility = () => (document.hidden ? this.#pause() : this.#open());
    document.addEventListener("visibilitychange", this.visibility);
    if (!document.hidden) this.#open();
  }

  close() {
    document.removeEventListener("visibilitychange", this.visibility);
    this.#pause();
    this.#paint(); // show all that was consumed: a stream that continues this one does not get it again
  }

  #open() {
    if (this.shown) return;
    this.shown = new AbortController();
    if (!navigator.locks) return void this.#connect();
    this.me = crypto.randomUUID();
    this.place = null; // of a follower: whose frames it has, and how many of them
    this.channel = new BroadcastChannel(this.name);
    this.channel.onmessage = ({ data }) => (this.led ? this.#onRequest(data) : this.#onMessage(data));
    this.#request({ signal: this.shown.signal });
    this.#join();
  }

  #pause() {
    this.shown?.abort();
    this.shown = null;
    this.led = null;
    clearTimeout(this.joining);
    this.joining = 0;
    this.channel?.close();
    this.#disconnect();
    this.#trouble(false);
  }

  // Leading

  /** Lead once the turn's lock is free, until this tab is hidden or the turn ends. */
  async #request(options) {
    const { shown } = this;
    const lead = () => shown.signal.aborted || new Promise((release) => {
      shown.signal.addEventListener("abort", release);
      this.#lead(shown);
    });
    try {
      await navigator.locks.request(this.name, options, lead);
    } catch {
      if (shown.signal.aborted) return;
      this.led = null; // another tab has taken over because this one did not answer
      this.#disconnect();
      this.#request({ signal: shown.signal });
      this.#join();
    }
  }

  #lead(shown) {
    clearTimeout(this.joining);
    this.joining = 0;
    this.led = { by: this.me, n: 0 };
    this.#post({ kind: "leads", consumed: this.consumed });
    this.#connect(shown);
  }

  async #connect(shown = this.shown) {
    const socket = navigator.locks ? await freeSocket(shown.signal) : null;
    if (shown.signal.aborted || (socket && !this.led)) return socket?.free();
    this.socket = socket;
    const query = this.consumed === null ? "" : `?after=${this.consumed}`;
    const source = new EventSource(this.url + query);
    this.source = source;
    source.onmessage = (event) => this.#received(JSON.parse(event.data), event.lastEventId === "" ? null : Number(event.lastEventId));
    source.addEventListener("end", () => {
      this.#post({ kind: "end" });
      this.#ended(this.handlers.onend);
    });
    source.addEventListener("notice", (event) => {
      const text = JSON.parse(event.data);
      this.#post({ kind: "notice", text });
      this.handlers.onnotice(text);
    });
    source.onopen = () => this.#trouble(false);
    // closed: the server answered without a stream: the turn does not exist, or belongs to somebody else
    source.onerror = () => (source.readyState === EventSource.CLOSED ? this.#ended(this.handlers.onlost) : this.#trouble(true));
    if (socket) this.sharing = setInterval(() => this.#share(socket), SHARE_MS);
  }

  #disconnect() {
    clearInterval(this.sharing);
    this.source?.close();
    this.source = null;
    this.socket?.free();
    this.socket = null;
  }

  /** Pass the socket to another turn if one waits for it. */
  async #share(socket) {
    if (!(await socket.wanted()) || socket !== this.socket) return;
    this.#disconnect();
    this.#connect();
  }

  #received(frame, consumed) {
    if (this.led) this.led.n += 1;
    this.#post({ kind: "frame", frame, consumed });
    this.#take(frame, consumed);
  }

  #post(message) {
    if (this.led) this.channel.postMessage({ ...this.led, ...message });
  }

  /** A tab requests the frames so far: send those it lacks. */
  #onRequest({ kind, me, consumed }) {
    if (kind !== "join") return;
    const lacks = consumed === null || consumed !== this.consumed;
    this.#post({ kind: "joined", to: me, consumed: this.consumed, sum: lacks ? this.sum : null, trouble: this.inTrouble });
  }

  // Following

  #join() {
    this.place = null;
    this.channel.postMessage({ kind: "join", me: this.me, consumed: this.consumed });
    this.joining ||= setTimeout(() => this.#takeOver(), ANSWER_MS);
  }

  #takeOver() {
    this.joining = 0;
    this.#request({ steal: true });
  }

  #onMessage({ kind, by, n, to, frame, consumed, sum, trouble, text }) {
    if (kind === "leads") {
      if (consumed === this.consumed) this.#follow(by, 0);
      else this.#join();
    } else if (kind === "joined" && to === this.me) {
      this.#follow(by, n);
      if (sum) this.#take(this.sum ? since(this.sum, sum) : sum, consumed);
      this.#reportTrouble(trouble);
    } else if (kind === "frame" && by === this.place?.by) {
      if (n !== this.place.n + 1) return this.#join();
      this.place.n = n;
      this.#take(frame, consumed);
    } else if (kind === "trouble" && by === this.place?.by) {
      this.#reportTrouble(trouble);
    } else if (kind === "notice" && by === this.place?.by) {
      this.handlers.onnotice(text);
    } else if (kind === "end" && by === this.place?.by) {
      this.#ended(this.handlers.onend);
    }
    return undefined;
  }

  #follow(by, n) {
    clearTimeout(this.joining);
    this.joining = 0;
    this.place = { by, n };
  }

  // Both

  #take(frame, consumed) {
    this.sum = merged(this.sum, frame);
    this.consumed = consumed;
    this.queue.push(frame);
    if (!this.painting) this.painting = requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    cancelAnimationFrame(this.painting);
    this.painting = 0;
    if (this.queue.length) this.handlers.onframes(this.queue.splice(0));
  }

  /** `last`: called after the stream was closed. */
  #ended(last) {
    this.close();
    last();
  }

  #trouble(yes) {
    if (!yes) {
      clearTimeout(this.troubleTimer);
      this.troubleTimer = 0;
      this.#reportTrouble(false);
    } else if (!this.troubleTimer) {
      this.troubleTimer = setTimeout(() => this.#reportTrouble(true), TROUBLE_MS);
    }
  }

  #reportTrouble(yes) {
    if (yes === this.inTrouble) return;
    this.inTrouble = yes;
    this.#post({ kind: "trouble", trouble: yes });
    this.handlers.ontrouble(yes);
  }
}

/** Resolves to one of the browser's sockets for streams: `free()` releases it, `wanted()` tells whether others wait. */
async function freeSocket(signal) {
  for (let k = 0; k < SOCKETS; k += 1) {
    const socket = await lockedSocket(k, { ifAvailable: true });
    if (socket) return socket;
  }
  return lockedSocket(Math.floor(Math.random() * SOCKETS), { signal });
}

function lockedSocket(k, options) {
  const name = `kimi-stream-${k}`;
  const wanted = async () => (await navigator.locks.query()).pending.some((request) => request.name === name);
  return new Promise((resolve) => {
    const held = (lock) => lock && new Promise((free) => resolve({ free, wanted }));
    navigator.locks.request(name, options, held).then(() => resolve(null), () => resolve(null));
  });
}
