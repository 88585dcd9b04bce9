/**
 * Steps of one attempt: system steps (phases of the request) and topics (words found in the trace itself), each with
 * its time. One quiet line of chips that follows the newest; a switch turns it into an outline with topics indented by
 * their level. The two kinds look different, and no step is shown that did not happen.
 */
import { h, setAttribute, setText } from "../base/dom.js";
import { count, seconds } from "../base/format.js";

export class Steps {
  /** `onplace(step)` is called when the reader clicks a step to see its place in the trace. */
  constructor(onplace) {
    this.onplace = onplace;
    this.items = new Map(); // by number
    this.grew = false;
    this.list = h("ol", { class: "steps-list", tabindex: "0", "aria-label": "Steps so far" }); // it scrolls, so it must be reachable by keyboard
    this.switch = h("button", {
      type: "button", class: "quiet steps-switch", "aria-expanded": "false", hidden: true,
      onclick: () => this.#expand(),
    });
    this.element = h("div", { class: "steps", "data-part": "steps", role: "group", "aria-label": "Steps" }, this.list, this.switch);
  }

  clear() {
    this.items.clear();
    this.list.replaceChildren();
    this.switch.hidden = true;
  }

  /** Apply new and changed steps; `i` is a step's index. */
  apply(steps) {
    for (const step of steps) {
      const known = this.items.get(step.i);
      if (step.dropped) {
        known?.row.remove();
        this.items.delete(step.i);
        continue;
      }
      if (known) Object.assign(known.step, step);
      else this.#add(step);
      this.#write(this.items.get(step.i));
    }
    this.switch.hidden = this.items.size < 2;
    this.#writeSwitch();
    this.grew = true;
  }

  settle() {
    if (this.grew) {
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
    const item = { step, time, label, face, row: h("li", {}, face) };
    this.items.set(step.i, item);
    this.list.append(item.row);
  }

  #write({ step, time, label, face, row }) {
    const measure = step.total ? ` ${count(step.done ?? 0)}/${count(step.total)}` : "";
    setText(time, seconds(step.t_ms));
    if (step.html) label.innerHTML = step.html; // from the server's allow-list, as answers are
    else setText(label, step.label + measure);
    setAttribute(row, "data-level", String(step.level ?? 0));
    face.disabled = step.at === null || step.at === undefined;
    const what = step.kind === "topic" ? "Words of the reasoning" : "System step";
    const lasted = step.until_ms === null ? "" : `, lasted ${seconds(step.until_ms - step.t_ms)}`;
    setAttribute(face, "title", `${what} at ${seconds(step.t_ms)}${lasted}: ${step.label}${measure}`);
  }

  #expand() {
    this.expanded = !this.expanded;
    setAttribute(this.switch, "aria-expanded", String(this.expanded));
    this.element.classList.toggle("expanded", this.expanded);
    this.#writeSwitch();
    this.grew = true;
    this.settle();
  }

  #writeSwitch() {
    setText(this.switch, this.expanded ? "Fewer" : `${count(this.items.size)} steps`);
  }
}
