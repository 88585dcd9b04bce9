/**
 * The drawer "Settings for this conversation": system prompt, and for each lane whether it takes part, its model,
 * parameters, and whether its earlier reasoning is sent back. Every change is sent at once, or once the one before it is
 * answered, so that the newest arrives last; the server stores it with the conversation (before the first prompt: for the
 * next conversation), so another tab and a restart show the same.
 * Below it is the user's budget, which applies to all conversations.
 */
import { chat } from "../base/bus.js";
import { button, h, laneAccent, modal, numberField, numeric, setAttribute, setText } from "../base/dom.js";
import { count } from "../base/format.js";
import { ask } from "../base/http.js";
import { Newest } from "../base/newest.js";
import { HeavyFields } from "./heavy_fields.js";
import { ModelChoice } from "./model_choice.js";
import { BudgetFields } from "./money.js";

let open = null;

export function openSettings() {
  open?.close();
  open = new Drawer();
}

class Drawer {
  constructor() {
    this.conversation = chat.conversation;
    this.requests = new Newest();
    this.changes = new Newest();
    this.saving = Promise.resolve(); // settles once the server has answered all changes so far
    this.leave = chat.on("conversation", () => this.#follow());
    this.lanes = [];
    this.budget = new BudgetFields((state, problem) => {
      setText(this.state, state);
      this.#say(problem);
    });
    this.state = h("p", { class: "note", role: "status" });
    this.problem = h("p", { class: "drawer-problem", role: "alert", hidden: true });
    this.form = h("form", { class: "drawer-form", onsubmit: (event) => event.preventDefault(), onchange: ({ target }) => this.#changed(target) });
    this.dialog = modal({ class: "drawer", "aria-labelledby": "drawer-title", onclose: () => this.leave() },
      h("div", { class: "drawer-page" },
        h("header", { class: "drawer-head" }, h("h2", { id: "drawer-title" }, "Settings for this conversation"),
          button("Close settings", () => this.close(), { face: "✕", class: "icon" })),
        this.problem, this.form,
        h("footer", { class: "drawer-foot" }, this.state,
          button("Set everything back", () => this.#reset(), { face: "Set everything back", class: "quiet" }))));
    (document.querySelector('[data-kimi="composer"]') ?? document.body).append(this.dialog);
    this.dialog.showModal();
    this.#load();
  }

  close() {
    this.dialog.close();
  }

  /** When the drawer opens, the page may not know yet which conversation its address names. */
  #follow() {
    if (this.conversation === chat.conversation) return;
    this.conversation = chat.conversation;
    this.#load();
  }

  get url() {
    return `/kimi/settings?c=${encodeURIComponent(this.conversation)}`;
  }

  async #load() {
    const request = this.requests.begin();
    try {
      const [settings] = await Promise.all([ask(this.url), this.budget.load()]);
      if (!request.aborted) this.#draw(settings);
    } catch (error) {
      this.#say(error.message);
    }
  }

  #draw({ settings, lanes, note }) {
    this.system = h("textarea", { id: "setting-system", rows: "4", "aria-describedby": "setting-system-note" });
    this.system.value = settings.system ?? "";
    this.lanes = lanes.map((lane, index) => new LaneFields(lane, settings.lanes?.[lane.id] ?? {}, index, note, () => this.#save()));
    this.form.replaceChildren(
      h("div", { class: "field" }, h("label", { for: "setting-system" }, "System prompt"), this.system,
        h("p", { class: "note", id: "setting-system-note" }, systemNote(lanes))),
      ...this.lanes.map((lane) => lane.element), this.budget.element);
  }

  #changed(field) {
    if (this.lanes.length && !this.lanes.some((lane) => lane.on.checked)) {
      field.checked = true;
      return this.#say("At least one lane has to take part, so this one stays on.");
    }
    return this.#save();
  }

  #save() {
    const { url } = this;
    const change = this.changes.begin();
    const lanes = Object.fromEntries(this.lanes.map((lane) => [lane.id, lane.value]));
    const json = { system: this.system.value, lanes };
    setText(this.state, "Saving…");
    this.saving = this.saving.then(() => this.#send(url, json, change));
    return this.saving;
  }

  /** Send the whole form, unless a later change does. */
  async #send(url, json, change) {
    if (change.aborted) return;
    try {
      const { lanes: now } = await ask(url, { method: "PUT", json });
      chat.emit("settings");
      if (change.aborted) return;
      for (const [index, lane] of now.entries()) this.lanes[index]?.describe(lane);
      this.#say("");
      setText(this.state, "Saved. It applies from the next prompt on.");
    } catch (error) {
      if (change.aborted) return;
      setText(this.state, "Not saved.");
      this.#say(error.message);
    }
  }

  async #reset() {
    this.system.value = "";
    for (const lane of this.lanes) lane.reset();
    await this.#save();
  }

  #say(sentence) {
    this.problem.hidden = !sentence;
    setText(this.problem, sentence);
  }
}

/** The fields of one lane. An empty field means the lane's configuration, which is its placeholder. */
class LaneFields {
  constructor(lane, settings, index, note, onchange) {
    this.id = lane.id;
    this.lane = lane;
    const id = (name) => `setting-${name}-${index}`;
    this.on = h("input", { type: "checkbox", role: "switch", id: id("on") });
    this.on.checked = settings.on !== false;
    this.model = new ModelChoice(lane, settings.model ?? "", id("model"), onchange);
    this.maxTokens = numberField(id("max"), { min: "1", step: "1", placeholder: lane.max_tokens ? count(lane.max_tokens) : "provider's default" });
    this.maxTokens.value = settings.max_tokens ?? "";
    this.temperature = numberField(id("temperature"), { min: "0", max: "2", step: "any", "aria-describedby": id("note"),
                                                    placeholder: lane.temperature ?? "provider's default" });
    this.temperature.value = settings.temperature ?? "";
    this.numCtx = numberField(id("context"), { min: "256", step: "1", placeholder: lane.num_ctx ? count(lane.num_ctx) : "as configured" });
    this.numCtx.value = settings.num_ctx ?? "";
    this.note = h("p", { class: "note", id: id("note") }, note);
    this.reasoning = h("input", { type: "checkbox", id: id("reasoning") });
    this.reasoning.checked = settings.send_reasoning ?? lane.send_reasoning;
    this.heavy = lane.heavy ? new HeavyFields(lane.heavy, settings.heavy ?? {}, id) : null;
    this.fields = h("div", { class: "lane-fields" },
      this.model.element,
      this.heavy?.element ?? null,
      h("div", { class: "field-pair" },
        h("div", { class: "field" }, h("label", { for: id("max") }, "Max tokens"), this.maxTokens),
        h("div", { class: "field" }, h("label", { for: id("temperature") }, "Temperature"), this.temperature),
        lane.takes_num_ctx ? h("div", { class: "field" }, h("label", { for: id("context") }, "Context (num_ctx)"), this.numCtx) : null),
      this.note,
      h("label", { class: "check" }, this.reasoning, "Send its earlier reasoning back to the model"));
    this.element = h("fieldset", { class: "lane-settings" },
      h("legend", {}, h("label", { class: "check" }, this.on, lane.label,
        h("span", { class: "note" }, lane.width ? `${lane.width} trajectories and an aggregation` : ""))),
      this.fields);
    this.element.style.setProperty("--lane", laneAccent(index));
    this.describe(lane);
  }

  get value() {
    const reasoning = this.reasoning.checked;
    return {
      on: this.on.checked,
      model: this.model.value,
      max_tokens: numeric(this.maxTokens),
      temperature: numeric(this.temperature),
      num_ctx: numeric(this.numCtx),
      send_reasoning: reasoning === this.lane.send_reasoning ? null : reasoning,
      heavy: this.heavy?.value ?? null,
    };
  }

  /** Show what depends on the lane and its chosen model. */
  describe(lane) {
    this.lane = lane;
    this.temperature.disabled = lane.one_temperature;
    this.note.hidden = !lane.one_temperature;
    setAttribute(this.element, "data-off", this.on.checked ? null : "");
  }

  reset() {
    this.on.checked = true;
    this.model.choose("");
    this.maxTokens.value = "";
    this.temperature.value = "";
    this.numCtx.value = "";
    this.heavy?.reset();
    this.reasoning.checked = this.lane.send_reasoning;
  }
}

function systemNote(lanes) {
  const own = lanes.filter((lane) => lane.system).map((lane) => lane.label);
  const base = "Sent before the conversation, to every lane. Empty: none.";
  return own.length
    ? `Sent before the conversation, to every lane. Empty: ${own.join(", ")} keep${own.length === 1 ? "s" : ""} the one of the lanes file.`
    : base;
}
