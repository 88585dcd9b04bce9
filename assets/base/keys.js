/**
 * Shortcuts of the chat. Letters and digits work outside text fields only, Esc in the prompt too. For each there is
 * also a visible button, and the shortcut does the same (composer/shortcuts.js lists them).
 */
import { promptBox } from "./dom.js";

/** `page` is the Chat page (page.js). Returns a function that removes the listener. */
export function listenToKeys(page) {
  const ends = new AbortController();
  document.addEventListener("keydown", (event) => pressed(page, event), { signal: ends.signal });
  return () => ends.abort();
}

function pressed(page, event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isComposing(event)) return;
  if (document.querySelector("dialog[open], :popover-open") || !page.visible) return;
  const field = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (field && !(event.key === "Escape" && field.closest("#prompt"))) return;
  const act = actionOf(page, latinKey(event), field);
  if (!act) return;
  event.preventDefault();
  act();
}

/** Whether an input method handles the key, to choose or cancel a letter. Some browsers report only key code 229. */
export const isComposing = (event) => event.isComposing || event.keyCode === 229;

/**
 * The key by the letter it has on a Latin layout. On others (Cyrillic, Greek, Hebrew …) the letter is the one in the
 * same place, and a digit needs no Shift (French).
 */
export function latinKey({ key, code = "", shiftKey }) {
  if (!shiftKey && /^(Digit|Numpad)\d$/.test(code)) return code.at(-1);
  if (key.length > 1 || /^[\x20-\x7e]$/.test(key)) return key;
  if (/^Key[A-Z]$/.test(code)) return code.at(-1);
  return code === "Slash" ? (shiftKey ? "?" : "/") : key;
}

function actionOf(page, key, field) {
  if (/^[1-6]$/.test(key)) return () => focusNth(page, Number(key) - 1);
  switch (key) {
    case "t": case "T": return () => toggleThinking(page);
    case "s": case "S": return () => stopFocused(page);
    case "r": case "R": return () => replay(page);
    case "/": return () => promptBox()?.focus();
    case "?": return () => page.openShortcuts();
    case "Escape": return () => goBack(page, field);
    default: return null;
  }
}

/** Close what is open; else stop the running lanes; else leave the prompt. */
function goBack(page, field) {
  if (page.composer?.closeOpen()) return;
  if (page.composer?.editing) page.composer.cancelEdit();
  else if (page.focusedLane) page.focusLane(null);
  else if (page.endReplay()) return;
  else if (page.running) page.stop();
  else field?.blur();
}

function focusNth(page, index) {
  const id = [...(page.shown?.lanes.keys() ?? [])][index];
  if (id) page.focusLane(id);
}

/** The lane a shortcut acts on: the widened one, the one with the keyboard focus, or the one a narrow screen shows. */
function meantLane({ shown, narrow, focusedLane }) {
  if (!shown) return null;
  if (narrow) return shown.shownLane;
  const { lanes } = shown;
  return lanes.get(focusedLane) ?? [...lanes.values()].find((lane) => lane.element.contains(document.activeElement)) ?? null;
}

function toggleThinking(page) {
  const meant = meantLane(page);
  const lanes = meant ? [meant] : [...(page.shown?.lanes.values() ?? [])];
  const open = !lanes.some((lane) => lane.reasoning.open);
  for (const lane of lanes) lane.toggleThinking(open);
}

function stopFocused(page) {
  const lane = meantLane(page);
  if (lane?.running) lane.stop.click();
}

/** Start the current turn's replay, or pause and resume it. */
function replay(page) {
  page.shown?.element.parentElement.querySelector('[data-action="replay"]')?.click();
}
