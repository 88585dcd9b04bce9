/** The reader's preferences, stored in this browser. Without storage they hold until the page is closed. */

export const PANELS = { auto: "automatic", open: "always open", folded: "always folded" };
const KEY = "kimi.reasoning-panels";
const listeners = new Set();
let fallback = "auto";

export function panels() {
  try {
    const stored = localStorage.getItem(KEY);
    return stored in PANELS ? stored : fallback;
  } catch {
    return fallback;
  }
}

export function setPanels(value) {
  fallback = value;
  try {
    localStorage.setItem(KEY, value);
  } catch {
    // private mode: kept for this page only
  }
  for (const listener of listeners) listener(value);
}

/** Calls `listener(value)` on every change; returns a function that removes it. */
export function onPanels(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
