/**
 * The model's name in a lane's header: of the shown attempt, whatever is configured by now; behind it the next prompt's, if
 * that is another one. A button over both lets the reader choose, where the page may change the lane.
 *
 * @import { LaneInfo } from "../base/protocol"
 */
import { h, setAttribute, setFlag, setText } from "../base/dom.js";
import { count } from "../base/format.js";

export class ModelName {
  /**
   * @param {LaneInfo} info
   * @param {((lane: string, event: Event) => void) | null} [choose] null: nothing can be chosen here
   */
  constructor(info, choose = null) {
    this.info = info;
    this.model = info.model; // of the shown attempt
    this.upcoming = ""; // of the next prompt; empty: not known
    /** @type {string[]} */
    this.facts = [];
    this.name = h("span", { class: "lane-model" });
    this.next = h("span", { class: "lane-next", hidden: true });
    this.button =
      choose && info.fixed === ""
        ? h("button", {
            type: "button",
            class: "lane-choose",
            popovertarget: "lane-menu",
            "aria-expanded": "false",
            onclick: (event) => choose(info.id, event),
          })
        : null;
    this.mark = this.button && h("span", { class: "chevron lane-chevron", "aria-hidden": "true" });
    this.showNext(info.next_model ?? "");
  }

  /** `times`: of heavy, how often it is asked. */
  describe(model, provider, times = 1) {
    this.model = model;
    this.facts = [model, provider].filter(Boolean);
    this.#show(times > 1 ? `${times} × ${model}` : model);
  }

  /** Add the server to the title; of several it is known once the request leaves the queue. */
  describeHost(host) {
    if (!host || this.facts.includes(host)) return;
    this.facts.push(host);
    this.#show(this.name.textContent);
  }

  /** Add the context in use to the name, and both contexts to the title. */
  describeContext({ tokens, trained }) {
    if (tokens) this.facts.push(`${count(tokens)} tokens of context`);
    if (trained) this.facts.push(`trained for ${count(trained)}`);
    this.#show(tokens ? `${this.name.textContent} · ${count(tokens)} context` : this.name.textContent);
  }

  /** `model`: what the next prompt is sent to in this lane. */
  showNext(model) {
    this.upcoming = model;
    const isOther = Boolean(model) && model !== this.info.model && model !== this.model;
    setText(this.next, isOther ? `→ ${model}` : "");
    setFlag(this.next, "hidden", !isOther);
    setAttribute(this.next, "title", `${model} from the next prompt on`);
  }

  /** The lane shows an earlier turn, of which nothing can be chosen any more. */
  retire() {
    this.button?.remove();
    this.mark?.remove();
    this.next.remove();
  }

  #show(words) {
    setText(this.name, words);
    const facts = this.facts.join(" · ");
    setAttribute(this.name, "title", [facts, this.info.fixed].filter(Boolean).join("\n"));
    this.showNext(this.upcoming);
    if (!this.button) return;
    setAttribute(this.button, "aria-label", `Model of ${this.info.label}: ${words}`);
    setAttribute(this.button, "title", `${facts}\nChoose for the next prompt`);
  }
}
