/**
 * Prompts that wait for the running lanes of the shown conversation, as cards over the prompt box. The server keeps and
 * sends them (kimi_ui/chat/prompt_queue.py), so they survive a refresh, and a second tab sends nothing twice.
 *
 * @typedef {{ id: string, text: string, attachments: string[], images: { name: string, width: number, height: number }[],
 *   state: string, reason: string, basis: string }} Queued
 */
import { chat, tabs } from "../base/bus.js";
import { button, h, promptBox } from "../base/dom.js";
import { pixels } from "../base/format.js";
import { ask, askWithinBudget, overBudget, rooted } from "../base/http.js";
import { thumbnail } from "../base/thumbnail.js";

const WAITS = "Queued until every lane has ended";

export class Queue {
  /**
   * `actions`: ready() → the lanes that a prompt could be sent to now though others run (`[{id, label}]`), edit(found)
   * (a queued prompt goes back into the box), mayPass(question), turn(id) (show the turn unless it is shown), changed() (the
   * prompts), say(sentence).
   */
  constructor(actions) {
    this.actions = actions;
    /** @type {Queued[]} */
    this.prompts = [];
    this.element = h("ol", { class: "queue", "aria-label": "Queued prompts", hidden: true });
    this.drawn = "";
    /** @type {Map<string, HTMLElement | false>} */
    this.images = new Map(); // those of the drawn cards by prompt, so that they are loaded once
    this.ends = [chat.on("settings", () => this.refresh())];
  }

  close() {
    for (const end of this.ends) end();
  }

  /** Whether a prompt waits, so that another one would overtake it. */
  get waits() {
    return this.prompts[0]?.state === "waiting";
  }

  /** @param {Queued[]} prompts */
  show(prompts) {
    this.prompts = prompts;
    this.actions.changed(); // the composer draws the queue with its buttons
  }

  /** Ask the server, which sends what is due; without `always` only if something is queued. */
  async refresh(always = false) {
    const { conversation } = chat;
    if (!conversation || !(always || this.prompts.length)) return;
    const state = await ask(urlOf(conversation)).catch(() => null);
    if (state && conversation === chat.conversation) this.#take(state);
  }

  /** @param {{ queue: Queued[], newest: string }} state */
  #take({ queue, newest }) {
    this.show(queue);
    if (newest) this.actions.turn(newest);
  }

  /** Draw the cards again if something of them has changed, such as the lanes that are ready. */
  draw() {
    const ready = this.actions.ready();
    const drawn = JSON.stringify([this.prompts, ready]);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    const focused = this.element.contains(document.activeElement);
    this.element.hidden = !this.prompts.length;
    this.images = new Map(this.prompts.map((one) => [one.id, this.images.get(one.id) ?? this.#images(one)]));
    this.element.replaceChildren(...this.prompts.map((one, place) => this.#card(one, place === 0, ready)));
    if (focused) promptBox()?.focus(); // the button that had the focus is gone
  }

  /** @param {Queued} one */
  #images(one) {
    const shown = one.images.map((image, place) => thumbnail(rooted(`${this.#url(one)}/images/${place}`), image.name, pixels(image), image));
    return shown.length > 0 && h("div", { class: "queued-images" }, ...shown);
  }

  #card(one, isFirst, ready) {
    const what = one.text || [...one.attachments, ...one.images.map(({ name }) => name)].join(", ");
    const files = one.text && one.attachments.length ? `${one.attachments.join(", ")} · ` : "";
    const waits = one.state === "waiting";
    const over = one.state === "over_budget";
    return h("li", { class: "queued", "data-state": one.state },
      this.images.get(one.id),
      h("div", { class: "queued-what" },
        h("p", { class: "queued-text", title: what }, what),
        h("p", { class: "note" }, files, one.basis ? "Goes on from one lane’s answer in all lanes. " : "", waits ? WAITS : one.reason)),
      h("div", { class: "queued-tools" },
        waits && isFirst && ready.length ? button(toReady(ready), () => this.#send(one, { lanes: ready.map(({ id }) => id) }),
          { face: face(ready), class: "quiet queued-ready" }) : null,
        !waits && isFirst ? button(over ? "Send anyway" : "Send now", () => this.#send(one, { over }), { class: "quiet queued-send" }) : null,
        button("Edit this queued prompt", () => this.#edit(one), { face: "Edit", class: "quiet" }),
        button("Remove this queued prompt", () => this.#remove(one), { face: "Remove", class: "quiet" })));
  }

  async #send(one, { lanes = /** @type {string[]} */ ([]), over = false }) {
    const url = `${this.#url(one)}/send`;
    const request = { method: "POST", json: { lanes } };
    await this.#change(() => (over ? ask(overBudget(url), request) : askWithinBudget(url, request, this.actions.mayPass)));
  }

  #remove(one) {
    return this.#change(() => ask(this.#url(one), { method: "DELETE" }));
  }

  #url(one) {
    return `${urlOf(chat.conversation)}/${one.id}`;
  }

  /** Put the prompt back into the box. It is removed from the queue once it is here, so it is never lost. */
  async #edit(one) {
    const url = this.#url(one);
    await this.#change(async () => {
      const found = await ask(`${url}/edit`, { method: "POST" });
      const state = await ask(url, { method: "DELETE" }).catch((error) => {
        if (error.code !== "unreachable") throw error; // it was sent meanwhile
        return null;
      });
      this.actions.edit(found);
      return state;
    });
  }

  /** Make a change and show what the server answers; on a refusal say why and ask how the queue is. */
  async #change(change) {
    const { conversation } = chat;
    try {
      const state = await change();
      if (state && conversation === chat.conversation) this.#take(state);
      tabs.postMessage({ queue: conversation });
    } catch (error) {
      this.actions.say(error.message);
      await this.refresh(true);
    }
  }
}

/** The face and the name of a button that sends to these lanes, though others are running. */
export const face = (ready) => `Send to ${ready.length} ready`;
export const toReady = (ready) => `${face(ready)}: ${ready.map(({ label }) => label).join(", ")}`;

const urlOf = (conversation) => `/kimi/conversations/${encodeURIComponent(conversation)}/queue`;
