/**
 * The turn's clock: ms since the turn began, by the engine. Each frame carries the engine's reading; the smallest
 * distance seen between it and this browser's own clock is the best estimate, since frames only ever come late.
 */
export class Clock {
  constructor() {
    this.offset = null;
  }

  sync(nowMs) {
    const offset = performance.now() - nowMs;
    if (this.offset === null || offset < this.offset) this.offset = offset;
  }

  /** ms since the turn began; null before the first frame of a live turn. */
  now() {
    return this.offset === null ? null : performance.now() - this.offset;
  }
}
