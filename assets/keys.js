/**
 * Keys of the chat. Letters and digits only where nobody types; Esc also in the prompt. Each is a visible button too,
 * and this only presses what the buttons press (assets/shortcuts.js lists them).
 */
import { composer } from "./composer.js";
import { openShortcuts } from "./shortcuts.js";

/** `page` is the Chat page (lanes.js). Returns the function that ends it. */
export function listenToKeys(page) {
  const ends = new AbortController();
  document.addEventListener("keydown", (event) => pressed(page, event), { signal: ends.signal });
  return () => ends.abort();
}

function pressed(page, event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (document.querySelector("dialog[open], :popover-open") || !page.visible) return;
  const field = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (field && !(event.key === "Escape" && field.closest("#prompt"))) return;
  const act = actionOf(page, event.key, field);
  if (!act) return;
  event.preventDefault();
  act();
}

function actionOf(page, key, field) {
  if (/^[1-6]$/.test(key)) return () => page.focusNth(Number(key) - 1);
  switch (key) {
    case "t": case "T": return () => page.toggleThinking();
    case "s": case "S": return () => page.stopFocused();
    case "r": case "R": return () => page.replay();
    case "/": return () => document.querySelector("#prompt textarea")?.focus();
    case "?": return () => openShortcuts();
    case "Escape": return () => escape(page, field);
    default: return null;
  }
}

/** What is open closes first; where nothing is, the lanes stop; where they have, the prompt is left. */
function escape(page, field) {
  if (composer()?.closeOpen()) return;
  if (composer()?.editing) composer().cancelEdit();
  else if (page.focusedLane) page.focusLane(null);
  else if (page.endReplay()) return;
  else if (page.running) document.querySelector("#stop")?.click();
  else field?.blur();
}
