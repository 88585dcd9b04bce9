/** What a reader switches of a lane, on its card in the Lanes tab and in the menu at its head in the chat. */
import { chat } from "../base/bus.js";
import { button, h } from "../base/dom.js";
import { ask } from "../base/http.js";

export const UNDONE = "The last change is undone.";

/**
 * Change the lanes file, of which the page knows this `version`; `json` has the `changes`, or `undo`. Resolves to the lanes
 * as they are then. Throws like `ask`.
 */
export async function changeLanes(version, json) {
  const state = await ask("/kimi/lanes", { method: "POST", json: { version, ...json } });
  chat.emit("lanes");
  return state;
}

/** The button that opens a list of models. */
export const modelsButton = (label, props = {}) => button(`Models of ${label}`, null, { face: "Models", class: "lt-button", ...props });

/** The models that the lane's provider lists. */
export const modelsOf = ({ lane }) => ask(`/kimi/lanes/${encodeURIComponent(lane)}/models`);

/** `change(changes, words)` makes changes of the lanes file; `words` are said when they are made. */
export function changeModel({ lane, label }, model, change) {
  return change([{ op: "set", lane, values: { model } }], `${label} uses ${model} from the next prompt on.`);
}

/** The switch for thinking; null where the lane's provider has none. `change` as above. */
export function thinkingSwitch({ lane, label, thinking }, id, change) {
  if (!thinking.length) return null;
  const chosen = thinking.findIndex(({ is_chosen: isChosen }) => isChosen);
  const choice = h("select", { id, "data-focus": `${lane}/thinking`, onchange: () => {
    const { label: word, values } = thinking[Number(choice.value)];
    change([{ op: "set", lane, values }], `${label}: thinking ${word.toLowerCase()}, from the next prompt on.`);
  } }, chosen < 0 ? h("option", { value: "" }, "As in the file") : null, ...thinking.map((one, index) => h("option", { value: String(index) }, one.label)));
  choice.value = chosen < 0 ? "" : String(chosen);
  return h("div", { class: "lt-thinking" }, h("label", { for: id }, "Thinking"), choice);
}
