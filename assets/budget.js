/** The person's budget in the settings drawer: of a day and of each conversation, for all their conversations. */
import { ask, chat } from "./chat.js";
import { h, numberField, numeric } from "./dom.js";

export class BudgetFields {
  /** `say(state, problem)` tells the drawer how saving went. */
  constructor(say) {
    this.say = say;
    this.day = amount("setting-budget-day");
    this.conversation = amount("setting-budget-conversation");
    this.element = h("fieldset", { class: "budget-settings", onchange: (event) => this.#save(event) },
      h("legend", {}, "Your budget"),
      h("div", { class: "field-pair" },
        h("div", { class: "field" }, h("label", { for: this.day.id }, "USD a day"), this.day),
        h("div", { class: "field" }, h("label", { for: this.conversation.id }, "USD a conversation"), this.conversation)),
      h("p", { class: "note", id: "setting-budget-note" },
        "In all your conversations. Before a prompt would pass it, you are asked. A day begins at 00:00 UTC."));
  }

  async load() {
    this.#show(await ask("/kimi/budget"));
  }

  #show({ day_usd: day, conversation_usd: conversation, server_day_usd: server }) {
    this.day.value = day ?? "";
    this.conversation.value = conversation ?? "";
    this.day.placeholder = server === null ? "no limit" : `${server} (this server's)`;
    this.conversation.placeholder = "no limit";
  }

  async #save(event) {
    event.stopPropagation(); // these are not the conversation's settings
    try {
      const budget = { day_usd: numeric(this.day), conversation_usd: numeric(this.conversation) };
      this.#show(await ask("/kimi/budget", { method: "PUT", json: budget }));
      this.say("Saved. It counts from the next prompt on.", "");
      chat.tell("budget");
    } catch (error) {
      this.say("Not saved.", error.message);
    }
  }
}

function amount(id) {
  return numberField(id, { min: "0", step: "any", "aria-describedby": "setting-budget-note" });
}
