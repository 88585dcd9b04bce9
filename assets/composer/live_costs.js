/**
 * The costs so far that the log's sums do not include yet: of running attempts, and of attempts that have ended since
 * the sums were read. The figures are the server's (`cost_usd` of the lane's metrics).
 *
 * @typedef {{ attempt: string, usd: number | null, estimated: boolean, running: boolean }} Cost of one attempt so far
 */

export class LiveCosts {
  /** @type {Map<string, Cost>} */
  #attempts = new Map();

  /**
   * Take a lane's current cost. The log's sums include an attempt that had ended before it was first seen.
   *
   * @param {Cost} cost
   */
  see(cost) {
    if (cost.running || this.#attempts.has(cost.attempt)) this.#attempts.set(cost.attempt, cost);
  }

  /** The attempts that have ended: sums read from here on include them. */
  get ended() {
    return [...this.#attempts.values()].filter((cost) => !cost.running).map((cost) => cost.attempt);
  }

  /** @param {Iterable<string>} attempts included in the sums */
  forget(attempts) {
    for (const attempt of attempts) this.#attempts.delete(attempt);
  }

  clear() {
    this.#attempts.clear();
  }

  /** The sum of the costs that are known, and whether one of them is estimated. */
  get sum() {
    const known = [...this.#attempts.values()].filter((cost) => cost.usd);
    return { usd: known.reduce((sum, cost) => sum + cost.usd, 0), estimated: known.some((cost) => cost.estimated) };
  }
}
