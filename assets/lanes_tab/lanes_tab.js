/**
 * The Lanes tab: one card per lane with its provider, the result of a test, its model and its switch for thinking; adding,
 * editing, moving and removing lanes, which changes the lanes file; then how to get the real models. Drawn when the tab
 * is shown, on "Look again", after each change and after a pull.
 */
import { chat } from "../base/bus.js";
import { button, focusedElement, h, setText } from "../base/dom.js";
import { ask } from "../base/http.js";
import { commandLine, priceLine } from "../lane/cards.js";
import { codeBlock, fileText } from "./file_text.js";
import { LaneForm } from "./lane_form.js";
import { LaneRow, MOST_LANES } from "./lane_row.js";
import { LaneSets } from "./lane_sets.js";
import { UNDONE, changeLanes } from "./lane_switches.js";

const NEW = ""; // the form of a new lane

export function mount(element) {
  const tab = new LanesTab(element.querySelector('[data-kimi="lanes-tab"]'));
  new IntersectionObserver((entries) => entries.at(-1)?.isIntersecting && tab.visible()).observe(element);
}

class LanesTab {
  constructor(element) {
    this.forms = new Map(); // open forms by lane
    /** @type {Promise<void> | null} while the lanes are being read */
    this.loading = null;
    this.checks = new Map(); // results of tests by what they tested
    this.status = h("p", { class: "note", role: "status" }, "Looking up what serves each lane…");
    this.body = h("div", { class: "lt-body" });
    this.again = button("Look again", () => this.load(true), { face: "Look again", class: "lt-button" });
    chat.on("change-lane", ({ detail }) => this.reveal(detail));
    element.replaceChildren(h("div", { class: "lt" },
      h("div", { class: "lt-top" }, h("h2", {}, "Lanes"), this.status, this.again), this.body));
  }

  /** Open the tab at a lane, for a reader of the chat who wants another model there. */
  async reveal(lane) {
    const tabs = [...document.querySelectorAll('button[role="tab"]')];
    /** @type {HTMLElement | undefined} */ (tabs.find((tab) => tab.textContent.trim() === "Lanes"))?.click();
    if (!this.forms.size) await this.load(false);
    this.#focus(`${lane}/models`) || this.#focus(`${lane}/edit`);
  }

  /** The tab was opened: another page or an editor may have changed the lanes. An open form stays as it is. */
  visible() {
    if (!this.forms.size) this.load(false);
  }

  /** Read the lanes; `anew`: and test them all again. Whoever asks while they are being read waits for the same answer. */
  load(anew) {
    if (anew) this.checks.clear();
    this.loading ??= this.#load(anew);
    return this.loading;
  }

  async #load(anew) {
    this.again.disabled = true;
    try {
      const state = await ask("/kimi/lanes");
      if (anew || !this.forms.size) this.show(state); // a form that was opened meanwhile stays, with the focus
    } catch (error) {
      setText(this.status, error.message);
    } finally {
      this.again.disabled = false;
      this.loading = null;
    }
  }

  show(state, words = "") {
    const focus = focusedElement()?.dataset.focus;
    for (const open of this.forms.values()) open.draft = open.form?.all ?? open.draft;
    this.state = state;
    const standIns = state.lanes.filter((lane) => lane.is_stand_in).length;
    setText(this.status, words || (standIns ? `${standIns} of ${state.lanes.length} lanes are answered by a stand-in.` : "All lanes are real."));
    const mayEdit = !state.editing.not_here;
    const rows = state.lanes.map((lane) => new LaneRow(lane, state, this));
    this.body.replaceChildren(
      ...(state.problem ? [problemCard(state.problem)] : []),
      ...(mayEdit
        ? [
            new LaneSets(
              state.editing,
              (changes, said) => this.change(changes, said),
              () => this.undo(),
            ).element,
          ]
        : [h("p", { class: "note lt-not-here" }, state.editing.not_here)]),
      h("ul", { class: "lt-lanes" }, ...rows.map((row) => row.element)),
      ...(mayEdit ? [this.#adding(state)] : []),
      ...(standIns || !state.lanes_path ? [sourcesBlock(state)] : []),
      fileBlock(state),
    );
    for (const row of rows) row.test(false, this.checks);
    if (focus) this.#focus(focus);
  }

  /** Make changes of the lanes file; `words` are said when they are made. Resolves to the error, null if there is none. */
  async change(changes, words, closes = null) {
    return this.#send({ changes }, words, closes);
  }

  undo() {
    return this.#send({ undo: true }, UNDONE, null);
  }

  async #send(json, words, closes) {
    try {
      const state = await changeLanes(this.state.editing.version, json);
      if (closes !== null) this.forms.delete(closes);
      this.show(state, words);
      if (closes !== null) this.#focus(closes ? `${closes}/edit` : "add");
      return null;
    } catch (error) {
      setText(this.status, error.message);
      if (error.code === "changed") await this.#renew();
      return error;
    }
  }

  /** Take up the file's new version under open forms, whose texts stay. */
  async #renew() {
    const state = await ask("/kimi/lanes").catch(() => null);
    if (!state) return;
    this.show(state, this.status.textContent);
  }

  /** The form of a lane that is being edited, null if it is not. */
  formOf(lane, label, values) {
    const open = this.forms.get(lane);
    if (!open) return null;
    const form = new LaneForm({
      lane, label, values, draft: open.draft, fields: this.state.editing.fields, lanes: this.state.lanes.filter((other) => other.lane !== lane && !other.of),
      onsave: (texts) => this.#save(lane, texts, label),
      oncancel: () => this.#close(lane),
    });
    open.form = form;
    return form;
  }

  async #save(lane, texts, label) {
    const changes = lane ? [{ op: "set", lane, values: texts }] : [{ op: "add", values: texts }];
    const error = await this.change(changes, `Saved ${texts.label || label || texts.id}. It applies from the next prompt on.`, lane);
    if (error) this.forms.get(lane)?.form.say(error); // the form may have been drawn again
  }

  edit(lane) {
    this.forms.set(lane, { draft: null, form: null });
    this.show(this.state);
    this.forms.get(lane).form.focus();
  }

  #close(lane) {
    this.forms.delete(lane);
    this.show(this.state);
    this.#focus(lane ? `${lane}/edit` : "add");
  }

  /** Focus the control of this name, which was drawn again. Returns whether there is one. */
  #focus(name) {
    const control = /** @type {HTMLElement | null} */ (this.body.querySelector(`[data-focus="${CSS.escape(name)}"]`));
    control?.focus();
    return Boolean(control);
  }

  #adding(state) {
    const form = this.formOf(NEW, "", {});
    if (form) return h("section", { class: "lt-section" }, h("h3", {}, "A new lane"), form.element);
    if (state.lanes.length >= MOST_LANES)
      return h(
        "p",
        { class: "note" },
        `${MOST_LANES} lanes are in use, the most that fit. To use others, save these as a set and remove some.`,
      );
    return h(
      "div",
      { class: "lt-adding" },
      button("Add a lane", () => this.edit(NEW), { face: "+ Add a lane", class: "lt-button", "data-focus": "add" }),
      ...state.editing.others.map(({ lane, label }) =>
        button(`Add ${label} to this set`, () => this.change([{ op: "include", lane }], `Added ${label}.`), {
          face: `+ ${label}`,
          class: "lt-button",
        }),
      ),
    );
  }
}

function sourcesBlock(state) {
  const rows = state.sources.map((source) => h("tr", {},
    h("th", { scope: "row" }, source.name),
    h("td", {}, source.gives),
    h("td", {}, priceLine(source.price)),
    h("td", {}, source.is_set ? h("span", { class: "lt-set" }, source.name === "Ollama" ? "✓ running" : "✓ set") : null, commandLine(source.line))));
  return h("section", { class: "lt-section" },
    h("h3", {}, "Where to get the real models"),
    h(
      "p",
      {},
      "Put a key's line into ",
      h("code", {}, state.env_path),
      " or into the environment; it takes effect with the next prompt. The first one that is set serves Kimi. " +
        "Keys are never typed into this page and never shown by it.",
    ),
    h(
      "div",
      { class: "lt-scroll", tabindex: "0", role: "region", "aria-label": "Where to get the real models" },
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ...["Source", "Gives", "Price", "Line to set or run"].map((name) => h("th", { scope: "col" }, name)),
          ),
        ),
        h("tbody", {}, ...rows),
      ),
    ),
  );
}

function fileBlock(state) {
  const place = h("div", {});
  const details = h(
    "details",
    { class: "lt-section" },
    h("summary", {}, state.lanes_path ? "The current lanes as a lanes file" : "Lanes of your own"),
    h(
      "p",
      {},
      state.lanes_path
        ? "These lanes come from "
        : "Any OpenAI-compatible or Ollama model and any GGUF file can be a lane. These are the current ones, as a file for ",
      h("code", {}, state.lanes_path || state.default_lanes_path),
      ". Changes take effect at once, those made by hand too.",
    ),
    place,
  );
  details.addEventListener("toggle", async () => {
    if (details.open) place.replaceChildren(codeBlock(await fileText(new URLSearchParams())));
  });
  return details;
}

function problemCard(problem) {
  return h("div", { class: "card card-failure", role: "alert" },
    h("p", { class: "card-title" }, "The lanes file has a mistake; the lanes below are those from before."), h("p", {}, problem));
}
