/** Whether the next prompts are sent blind; remembered in this browser. */
import { h, setAttribute } from "../base/dom.js";

const KEY = "kimi.blind";
let blind = stored();

export const isBlind = () => blind;

/** The switch in the composer; `onchange()` after every change. */
export function blindSwitch(onchange) {
  const title = "Hide names, models, figures and pace until you have voted. All answers appear together when the last is ready.";
  const face = h("button", { type: "button", class: "quiet blind-switch", id: "blind", title, "aria-pressed": String(blind), onclick: () => {
    blind = !blind;
    setAttribute(face, "aria-pressed", String(blind));
    try {
      localStorage.setItem(KEY, blind ? "1" : "0");
    } catch {
      // private mode: kept for this page only
    }
    onchange();
  } }, "Blind");
  return face;
}

function stored() {
  try {
    return localStorage.getItem(KEY) === "1";
  } catch {
    return false;
  }
}
