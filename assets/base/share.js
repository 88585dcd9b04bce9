/** The dialog that makes read-only links to a conversation or one of its turns, and lists and revokes them. */
import { chat } from "./bus.js";
import { button, copyFrom, h, isFocusLost, modal, setText } from "./dom.js";
import { ask, rooted } from "./http.js";

const DAYS = [1, 7, 30];

/**
 * `turn`: the turn that the dialog was opened at, "" at a conversation. `conversation`: "" for the one that is shown.
 *
 * @param {{ conversation?: string, turn?: string }} of
 */
export function openShare({ conversation = "", turn = "" }) {
  const dialog = new ShareDialog(conversation || chat.conversation, turn);
  dialog.open();
}

class ShareDialog {
  constructor(conversation, turn) {
    this.conversation = conversation;
    this.turn = turn;
    this.onlyTurn = h("input", { type: "radio", name: "share-what", checked: Boolean(turn) });
    const whole = h("input", { type: "radio", name: "share-what" });
    this.what = turn ? h("fieldset", {}, h("legend", {}, "What"), h("label", {}, this.onlyTurn, "This turn"),
      h("label", {}, whole, "The conversation, also what is sent to it later")) : null;
    this.reasoning = h("input", { type: "checkbox" });
    this.days = h("select", {}, ...DAYS.map((days) => h("option", { value: days, selected: days === 7 }, days === 1 ? "1 day" : `${days} days`)));
    this.makeButton = h("button", { type: "submit", class: "share-button share-make" }, "Make link and copy it");
    this.made = h("input", { type: "text", readonly: true, "aria-label": "The link", onfocus: () => this.made.select() });
    this.copyButton = h("button", { type: "button", class: "share-button", onclick: () => copyFrom(this.made.value, this.copyButton) }, "Copy");
    this.result = h("p", { class: "share-made", hidden: true }, this.made, this.copyButton);
    this.said = h("p", { class: "share-said", role: "status" });
    this.list = h("ul", { class: "share-links" });
    this.closeButton = button("Close", () => this.dialog.close(), { face: "✕", class: "icon" });
    this.dialog = modal({ class: "kimi share", "aria-labelledby": "share-title" },
      h("div", { class: "share-page" },
        h("header", { class: "share-head" }, h("h2", { id: "share-title" }, turn ? "Share a link" : "Share a link to this conversation"), this.closeButton),
        h("form", { onsubmit: (event) => { event.preventDefault(); this.#make(); } }, this.what,
          h("label", {}, this.reasoning, "With reasoning"),
          h("label", {}, "Ends after", this.days),
          h("p", { class: "share-who" }, "Anybody who can reach this server with the link can open it, also without a password. They see "
            + "prompts, attached files and images, and answers; they can change nothing."),
          this.makeButton),
        this.said, this.result, h("h3", {}, "Links of this conversation"), this.list));
  }

  open() {
    document.body.append(this.dialog);
    this.dialog.showModal();
    (this.what ? this.onlyTurn : this.reasoning).focus();
    this.#refresh();
  }

  async #make() {
    if (this.makeButton.disabled) return;
    const turn = this.onlyTurn.checked ? this.turn : "";
    const making = ask("/kimi/shares", {
      method: "POST",
      json: { conversation: this.conversation, turn, reasoning: this.reasoning.checked, days: Number(this.days.value) },
    }).then(({ path }) => new URL(rooted(path), location.href).href);
    this.makeButton.disabled = true;
    const copied = copyFrom(making, this.makeButton);
    try {
      this.made.value = await making;
      this.result.hidden = false;
      this.#say("The link is made. It is shown only now: keep it.");
      this.#refresh();
    } catch (error) {
      this.result.hidden = true;
      this.#say(error.message, true);
    }
    await copied;
    this.makeButton.disabled = false;
    if (isFocusLost()) this.makeButton.focus();
  }

  async #revoke(link) {
    try {
      await ask(`/kimi/shares/${link.id}`, { method: "DELETE" });
      this.result.hidden = true;
      this.#say("The link is revoked: it shows nothing any more.");
    } catch (error) {
      this.#say(error.message, true);
    }
    await this.#refresh();
    if (isFocusLost()) /** @type {HTMLElement} */ (this.list.querySelector("button") ?? this.makeButton).focus();
  }

  async #refresh() {
    try {
      const { links } = await ask(`/kimi/shares?conversation=${encodeURIComponent(this.conversation)}`);
      this.list.replaceChildren(...(links.length ? links.map((link) => this.#row(link)) : [h("li", { class: "share-none" }, "None.")]));
    } catch (error) {
      this.list.replaceChildren(h("li", { class: "share-none" }, error.message));
    }
  }

  #row(link) {
    const what = link.turn ? (link.turn === this.turn ? "This turn" : `Turn ${link.turn_number ?? "–"}`) : "The conversation";
    const until = new Date(link.ends_at_utc).toLocaleString([], { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
    const words = `${what}, ${link.reasoning ? "with" : "without"} reasoning, until ${until}`;
    return h("li", {}, h("span", {}, words),
      button(`Revoke the link: ${words}`, () => this.#revoke(link), { face: "Revoke", class: "share-button" }));
  }

  #say(text, isError = false) {
    setText(this.said, text);
    this.said.classList.toggle("share-error", isError);
  }
}
