/** The list of keyboard shortcuts. base/keys.js handles them; for each there is also a visible button. */
import { button, h, modal } from "../base/dom.js";

const SHORTCUTS = [
  ["Enter", "Send the prompt; while lanes are running, queue it"],
  ["Alt Enter", "Send to the lanes that are ready while others are running"],
  ["Shift Enter", "New line in the prompt"],
  ["Ctrl Enter", "Send, on a touch screen too, where Enter begins a line"],
  ["1 … 6", "Show one lane at full width; again: all lanes"],
  ["T", "Open or fold the thinking of the lane in focus"],
  ["S", "Stop the lane in focus"],
  ["R", "Replay the turn"],
  ["Esc", "Close what is open, leave the lane; otherwise stop all lanes"],
  ["/", "Write a prompt"],
  ["↑ ↓ ← →", "In the sidebar: to the next conversation, unfold branches"],
  ["F2 Delete", "Rename a conversation, delete it"],
  ["Shift ↓", "Select conversations (Shift click: up to here)"],
  ["Ctrl Z", "Undo, in the sidebar"],
  ["?", "This list"],
];

export function openShortcuts() {
  if (document.querySelector("dialog.shortcuts")) return;
  const dialog = modal({ class: "shortcuts", "aria-labelledby": "shortcuts-title" },
    h("div", { class: "drawer-page" },
      h("header", { class: "drawer-head" }, h("h2", { id: "shortcuts-title" }, "Keyboard"),
        button("Close", () => dialog.close(), { face: "✕", class: "icon" })),
      h("dl", {}, ...SHORTCUTS.flatMap(([keys, what]) => [
        h("dt", {}, ...keys.split(" ").map((key) => (key === "…" ? " … " : h("kbd", {}, key)))), h("dd", {}, what)])),
      h("p", { class: "note" }, "Letters and numbers do nothing while you type in a field. Without a lane in focus, T and S mean all lanes.")));
  (document.querySelector('[data-kimi="composer"]') ?? document.body).append(dialog);
  dialog.showModal();
}
