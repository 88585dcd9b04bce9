/** What can be done with a turn that has ended: watch it again, save it. */
import { button, h } from "./dom.js";
import { exportMenu } from "./export_menu.js";

export class TurnTools {
  /** `actions.replay()` starts the replay; without it there is none. */
  constructor(turnId, actions) {
    this.element = h("div", { class: "turn-tools", hidden: true },
      actions.replay ? button("Watch this turn again", () => actions.replay(), { face: "Replay", class: "quiet", "data-action": "replay" }) : null,
      actions.replay ? exportMenu(`/kimi/turns/${encodeURIComponent(turnId)}/export`, "this turn") : null);
  }
}
