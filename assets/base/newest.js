/**
 * Requests of which only the newest counts. `begin()` makes the one before it outdated and returns an `AbortSignal`: its
 * `aborted` says that the answer came too late. A signal that is given to `ask` cancels the request as well.
 */
export class Newest {
  #request = new AbortController();

  /** @returns {AbortSignal} */
  begin() {
    this.drop();
    this.#request = new AbortController();
    return this.#request.signal;
  }

  /** Make the running request outdated, without a new one. */
  drop() {
    this.#request.abort();
  }
}
