/**
 * How a heavy lane runs, in the settings drawer: strategy and its prompt, preset, width, quorum, time, concurrency. An
 * empty field means the lane's configuration, which is what it shows. A prompt is for one strategy, so the list follows.
 */
import { h, numberField, numeric } from "../base/dom.js";

const PRESETS = { full: "Full: always all", thrifty: "Thrifty: 3, then 5, then all", fast: "Fast: all at once, the rest stopped when decided" };

export class HeavyFields {
  /**
   * `lane`: the choices and the lane's own values (kimi_ui/web/composer.py); `settings`: the conversation's; `id(name)`
   * makes the id of a control.
   */
  constructor(lane, settings, id) {
    this.lane = lane;
    const own = (label) => option("", `As configured (${label})`);
    this.strategy = h("select", { id: id("strategy"), onchange: () => this.#fillPrompts() },
      own(lane.strategies.find((one) => one.id === lane.strategy)?.label ?? lane.strategy),
      ...lane.strategies.map((one) => option(one.id, one.label)));
    this.prompt = h("select", { id: id("prompt") });
    this.preset = h("select", { id: id("preset") }, own(PRESETS[lane.preset ?? "thrifty"]), ...lane.presets.map((one) => option(one, PRESETS[one] ?? one)));
    const whole = (name, least, placeholder) => numberField(id(name), { min: String(least), max: String(lane.max_width), step: "1", placeholder });
    this.width = whole("width", 2, String(lane.width));
    this.quorum = whole("quorum", 1, lane.quorum ? String(lane.quorum) : "three quarters");
    this.concurrency = whole("concurrency", 1, lane.concurrency ? String(lane.concurrency) : "all");
    this.budget = numberField(id("budget"), {
      min: "1",
      step: "any",
      placeholder: lane.budget_s ? String(lane.budget_s) : "no limit",
    });
    this.skip = h(
      "select",
      { id: id("skip") },
      own(lane.skip_unanimous ? "no" : "yes"),
      option("true", "No, show that answer"),
      option("false", "Yes, always"),
    );
    this.controls = {
      strategy: this.strategy,
      preset: this.preset,
      width: this.width,
      quorum: this.quorum,
      concurrency: this.concurrency,
      budget_s: this.budget,
    };
    for (const [name, control] of Object.entries(this.controls)) control.value = settings[name] ?? "";
    this.skip.value = String(settings.skip_unanimous ?? "");
    this.#fillPrompts(settings.prompt);
    const field = (name, label, control) => h("div", { class: "field" }, h("label", { for: id(name) }, label), control);
    const pair = (...fields) => h("div", { class: "field-pair" }, ...fields);
    this.promptField = field("prompt", "Prompt of the aggregation", this.prompt);
    this.#showPrompt();
    this.element = h("div", { class: "field-heavy" },
      field("strategy", "Strategy", this.strategy), this.promptField, field("preset", "Preset", this.preset),
      pair(field("width", "Trajectories", this.width), field("quorum", "Enough answers", this.quorum)),
      pair(field("concurrency", "At a time", this.concurrency), field("budget", "Aggregate after (s)", this.budget)),
      field("skip", "Aggregate although all agree", this.skip));
  }

  get value() {
    const { strategy, preset, width, quorum, concurrency, budget_s: budget } = this.controls;
    return {
      strategy: strategy.value,
      prompt: this.prompt.value,
      preset: preset.value,
      width: numeric(width),
      quorum: numeric(quorum),
      concurrency: numeric(concurrency),
      budget_s: numeric(budget),
      skip_unanimous: this.skip.value ? this.skip.value === "true" : null,
    };
  }

  reset() {
    for (const control of [...Object.values(this.controls), this.skip]) control.value = "";
    this.#fillPrompts();
  }

  get #strategy() {
    return this.strategy.value || this.lane.strategy;
  }

  /** The prompts of the strategy; the lane's own choice is for the lane's own strategy. */
  #fillPrompts(chosen = "") {
    const { prompts } = this.lane.strategies.find(({ id }) => id === this.#strategy) ?? { prompts: [] };
    const own = this.#strategy === this.lane.strategy ? this.lane.prompt : "";
    this.prompt.replaceChildren(option("", `As configured (${promptLabel(own || this.#strategy, this.#strategy)})`),
      ...prompts.map((name) => option(name, promptLabel(name, this.#strategy))));
    this.prompt.value = prompts.includes(chosen) ? chosen : "";
    this.#showPrompt();
  }

  #showPrompt() {
    if (this.promptField) this.promptField.hidden = this.prompt.options.length < 2;
  }
}

function option(value, label) {
  return h("option", { value }, label);
}

/** "standard" for the strategy's own prompt, "brief" for synthesize-brief. */
function promptLabel(name, strategy) {
  return name === strategy ? "standard" : name.replace(`${strategy}-`, "").replaceAll("-", " ");
}
