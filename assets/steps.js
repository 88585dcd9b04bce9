/**
 * Steps of one attempt: system phases (what the machinery did) and topics (words found in the trace itself), each with
 * its time. One quiet line of chips that follows the newest; a switch turns it into a timeline. The two kinds look
 * different, and nothing stands here that did not happen.
 */
import { h, setAttribute, setText } from "./dom.js";
import { count, seconds } from "./format.js";

export class Steps {
  /** `onplace(step)` is called when the reader asks for a step's place in the trace. */
  constructor(onplace) {
    this.onplace = onplace;
    this.items = [];
    this.grew = false;
    this.list = h("ol", { class: "steps-list" });
    this.switch = h("button", {
      type: "button", class: "quiet steps-switch", "aria-expanded": "false", hidden: true,
      onclick: () => this.#expand(),
    });
    this.element = h("div", { class: "steps", "data-part": "steps", "aria-label": "Steps" }, this.list, this.switch);
  }

  clear() {
    this.items = [];
    this.list.replaceChildren();
    this.switch.hidden = true;
  }

  /** New and changed steps; `i` is a step's place in the order. */
  apply(steps) {
    for (const step of steps) {
      const known = this.items[step.i];
      if (known) Object.assign(known.step, step);
      else this.#add(step);
      this.#write(this.items[step.i]);
    }
    this.switch.hidden = this.items.length < 2;
    setText(this.switch, this.expanded ? "Fewer" : `${count(this.items.length)} steps`);
    this.grew = true;
  }

  settle() {
    if (this.grew && !this.hovered) {
      if (this.expanded) this.list.scrollTop = 1e9;
      else this.list.scrollLeft = 1e9;
    }
    this.grew = false;
  }

  #add(step) {
    const time = h("span", { class: "step-time" });
    const label = h("span", { class: "step-label" });
    const face = h("button", {
      type: "button", class: `step step-${step.kind}`, onclick: () => this.onplace(item.step),
    }, time, label);
    const item = { step, time, label, face };
    this.items[step.i] = item;
    this.list.append(h("li", {}, face));
  }

  #write({ step, time, label, face }) {
    const measure = step.total ? ` ${count(step.done ?? 0)}/${count(step.total)}` : "";
    setText(time, seconds(step.t_ms));
    setText(label, step.label + measure);
    face.disabled = step.at === null || step.at === undefined;
    const what = step.kind === "topic" ? "Topic in the reasoning" : "System phase";
    setAttribute(face, "title", `${what} at ${seconds(step.t_ms)}: ${step.label}${measure}`);
  }

  #expand() {
    this.expanded = !this.expanded;
    setAttribute(this.switch, "aria-expanded", String(this.expanded));
    this.element.classList.toggle("expanded", this.expanded);
    setText(this.switch, this.expanded ? "Fewer" : `${count(this.items.length)} steps`);
    this.grew = true;
    this.settle();
  }
}
