/** The reader's preferences, stored in this browser. Without storage they hold until the page is closed. */

export const PANELS = { auto: "automatic", open: "always open", folded: "always folded" };

class Preference {
  #chosen = null;
  #listeners = new Set();

  /** `values`: the allowed ones, by the key of the storage. `usual` is the value until the reader chooses one. */
  constructor(key, values, usual) {
    this.key = key;
    this.values = values;
    this.usual = usual;
  }

  get value() {
    const chosen = this.#stored() ?? this.#chosen;
    return this.values.includes(chosen) ? chosen : this.usual;
  }

  set(value) {
    this.#chosen = value;
    try {
      localStorage.setItem(this.key, value);
    } catch {
      // private mode: kept for this page only
    }
    for (const listener of this.#listeners) listener(value);
  }

  /** Calls `listener(value)` on every change; returns a function that removes it. */
  on(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #stored() {
    try {
      return localStorage.getItem(this.key);
    } catch {
      return null;
    }
  }
}

/** A preference that is on or off; `usual` null: what is usual depends on where it is used. */
class Switch {
  #of;

  constructor(key, usual) {
    this.#of = new Preference(key, ["1", "0"], usual === null ? null : usual ? "1" : "0");
  }

  /** @returns {boolean | null} */
  get on() {
    return this.#of.value === null ? null : this.#of.value === "1";
  }

  set(on) {
    this.#of.set(on ? "1" : "0");
  }

  /** Calls `listener(on)` on every change; returns a function that removes it. */
  changed(listener) {
    return this.#of.on((value) => listener(value === "1"));
  }
}

export const panels = new Preference("kimi.reasoning-panels", Object.keys(PANELS), "auto");
export const sidebarOpen = new Switch("kimi.history", true);
export const raceShown = new Switch("kimi.race", null);
export const raceChart = new Switch("kimi.race-chart", null);
export const allFigures = new Switch("kimi.figures", false);
export const theme = new Preference("kimi.theme", ["auto", "light", "dark"], "auto");
export const textSize = new Preference("kimi.text-size", ["0.9", "1", "1.15", "1.3", "1.5"], "1");
export const notify = new Switch("kimi.notify", false);
