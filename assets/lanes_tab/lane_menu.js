/**
 * The menu at the head of a lane in the chat: another model of its provider, and the switch for thinking. A choice is saved
 * in the lanes file, as in the Lanes tab, and counts from the next prompt on; a running turn is not touched.
 *
 * @import { LaneInfo } from "../base/protocol"
 */
import { chat } from "../base/bus.js";
import { button, focusedElement, h, placeBeside, setAttribute, setText } from "../base/dom.js";
import { ask } from "../base/http.js";
import { ModelSearch } from "../base/model_search.js";
import { Newest } from "../base/newest.js";
import { missingCard } from "../lane/cards.js";
import { UNDONE, changeLanes, changeModel, modelsOf, thinkingSwitch } from "./lane_switches.js";

export class LaneMenu {
  /** `say(text)`: on the page, of a choice that was refused after the menu had been closed. */
  constructor(say) {
    this.say = say;
    this.requests = new Newest();
    /** @type {LaneInfo | null} of the lane that is shown */
    this.info = null;
    /** @type {ModelSearch | null} null: the provider lists no models */
    this.search = null;
    this.note = h("p", { class: "note", role: "status" });
    this.problem = h("p", { class: "lt-problem", role: "alert", hidden: true });
    this.switches = h("div", { class: "lane-menu-switches" });
    this.element = h("div", {
      class: "lane-menu",
      id: "lane-menu",
      popover: "auto",
      role: "group",
      ontoggle: ({ newState }) => this.#toggled(newState === "open"),
    });
    this.sized = new ResizeObserver(() => this.#place());
    this.sized.observe(this.element);
    this.ends = new AbortController();
    window.addEventListener("resize", () => this.#place(this.#button()), { signal: this.ends.signal });
  }

  close() {
    this.requests.drop();
    this.sized.disconnect();
    this.ends.abort();
  }

  /**
   * A lane's button was pressed, which opens the menu, or closes it if it shows this lane.
   *
   * @param {LaneInfo} info as configured
   * @param {Event} event
   * @param {boolean} running
   */
  press(info, event, running) {
    const isOpen = this.element.matches(":popover-open");
    if (isOpen && info.id === this.info?.id) return;
    if (isOpen) event.preventDefault(); // it stays open, for another lane
    this.#mark(false);
    this.info = info;
    this.#mark(isOpen);
    const face = /** @type {HTMLElement} */ (event.currentTarget);
    this.box = face.getBoundingClientRect(); // the button may be drawn again, elsewhere
    this.element.style.setProperty("--lane", getComputedStyle(face).getPropertyValue("--lane"));
    setAttribute(this.element, "aria-label", `Model of ${info.label}`);
    this.#tell("A choice counts from the next prompt on.", running ? "The running answer keeps its model." : "");
    this.#load();
  }

  /** Show these sentences, and that the conversation has a model of its own, if it has one. */
  #tell(...sentences) {
    const { model, next_model: next } = this.info;
    const own = next === model ? "" : `This conversation itself goes on with ${next}, as its settings say.`;
    setText(this.note, [...sentences, own].filter(Boolean).join(" "));
  }

  async #load() {
    const request = this.requests.begin();
    this.problem.hidden = true;
    this.search = null;
    this.element.replaceChildren(h("p", { class: "note" }, "Looking up the lane…"));
    try {
      const state = await ask("/kimi/lanes", { signal: request });
      if (request.aborted) return;
      const lane = this.#laneIn(state);
      if (lane?.has_models) this.search = this.#models(lane);
      this.element.replaceChildren(
        h("p", { class: "lane-menu-title" }, this.info.label),
        this.note,
        this.problem,
        this.switches,
        ...(this.search ? [this.search.element] : []),
      );
      this.#show(state);
      if (this.search) this.search.open();
      else this.switches.querySelector("select")?.focus();
    } catch (error) {
      if (!request.aborted) this.element.replaceChildren(missingCard("This lane", error, () => this.#load()));
    }
  }

  #laneIn(state) {
    return state.lanes.find(({ lane }) => lane === this.info.id);
  }

  #models(lane) {
    return new ModelSearch({
      id: "lane-menu-models", label: lane.label, list: () => modelsOf(lane), onclose: () => this.element.hidePopover(),
      onchoose: (model) => changeModel(lane, model, (changes, words) => this.#send({ changes }, words)),
    });
  }

  /** Show what is configured now. */
  #show(state) {
    const focus = focusedElement()?.dataset.focus;
    this.state = state;
    const lane = this.#laneIn(state);
    const { not_here: notHere, can_undo: canUndo } = state.editing;
    const cannot = notHere || (lane ? "" : `${this.info.label} is not one of the lanes any more. Reload the page.`);
    if (cannot) {
      this.search?.element.remove();
      this.search = null;
      this.#refuse(cannot);
      return this.switches.replaceChildren(this.#rest());
    }
    this.search?.mark(lane.model);
    this.switches.replaceChildren(...[
      thinkingSwitch(lane, "lane-menu-thinking", (changes, words) => this.#send({ changes }, words)),
      canUndo ? button("Undo the last change of the lanes", () => this.#send({ undo: true }, UNDONE), { face: "Undo", class: "quiet" }) : null,
      this.#rest(),
    ].filter(Boolean));
    if (focus) /** @type {HTMLElement | null} */ (this.switches.querySelector(`[data-focus="${CSS.escape(focus)}"]`))?.focus();
    return undefined;
  }

  /** The way to everything else of the lane. */
  #rest() {
    return button(`Change the lane ${this.info.label} in the Lanes tab`, () => {
      this.element.hidePopover();
      chat.emit("change-lane", this.info.id);
    }, { face: "More…", class: "quiet" });
  }

  async #send(json, words) {
    const request = this.requests.begin();
    this.problem.hidden = true;
    try {
      const state = await changeLanes(this.state.editing.version, json);
      if (request.aborted) return;
      this.#show(state);
      this.#tell(words);
    } catch (error) {
      if (request.aborted) return void this.say(error.message);
      const now = error.code === "changed" ? await ask("/kimi/lanes").catch(() => null) : null;
      this.#show(now ?? this.state);
      this.#refuse(error.message);
    }
    if (!this.element.contains(document.activeElement)) this.switches.querySelector("button").focus();
  }

  #refuse(sentence) {
    setText(this.problem, sentence);
    this.problem.hidden = false;
  }

  #toggled(open) {
    this.#mark(open);
    if (open) return this.#place();
    this.requests.drop();
    const focused = document.activeElement;
    if (focused === document.body || this.element.contains(focused)) this.#button()?.focus(); // it was drawn again
    return undefined;
  }

  /** The lane's button, as it is now. */
  #button() {
    return this.info && /** @type {HTMLElement | null} */ (document.querySelector(`[data-lane="${CSS.escape(this.info.id)}"] .lane-choose`));
  }

  #mark(open) {
    const face = this.#button();
    if (face) setAttribute(face, "aria-expanded", String(open));
  }

  /** `face`: the button, in a window of another size. */
  #place(face = null) {
    if (face) this.box = face.getBoundingClientRect();
    if (this.element.matches(":popover-open")) placeBeside(this.element, this.box);
  }
}
