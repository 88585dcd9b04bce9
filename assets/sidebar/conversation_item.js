/** One conversation in the sidebar: opening, renaming in place, export, and deleting after a question. */
import { button, h, setAttribute, setText } from "../base/dom.js";
import { exportMenu } from "../base/export_menu.js";
import { count } from "../base/format.js";
import { ask } from "../base/http.js";

export class ConversationItem {
  /** `actions`: open(id), changed(), deleted(id). */
  constructor(id, actions) {
    this.id = id;
    this.url = `/kimi/conversations/${encodeURIComponent(id)}`;
    this.actions = actions;
    this.busy = false; // being renamed or about to be deleted: not drawn again
    this.title = h("span", { class: "history-title", dir: "auto" });
    this.meta = h("span", { class: "history-meta" });
    this.face = h("button", { type: "button", class: "history-open", onclick: () => actions.open(id) },
      h("span", { class: "dot", "aria-hidden": "true" }), h("span", { class: "history-words" }, this.title, this.meta));
    this.face.addEventListener("keydown", (event) => this.#key(event));
    this.menuButton = button("More", () => this.#toggleMenu(), { face: "⋯", class: "icon history-menu", "aria-expanded": "false" });
    this.menu = h("div", { class: "history-actions", hidden: true },
      button("Rename", () => this.rename(), { class: "quiet" }),
      exportMenu(`${this.url}/export`, "this conversation"),
      button("Delete", () => this.askToDelete(), { class: "quiet history-delete" }));
    this.row = h("div", { class: "history-row" }, this.face, this.menuButton);
    this.note = h("p", { class: "history-note", role: "alert", hidden: true });
    this.element = h("li", { class: "history-item", "data-conversation": id }, this.row, this.menu, this.note);
    this.menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.defaultPrevented || this.menu.querySelector(":popover-open")) return;
      event.preventDefault();
      this.#toggleMenu(false);
      this.menuButton.focus();
    });
  }

  show(head, current) {
    this.head = head;
    setText(this.title, head.title);
    const turns = `${count(head.turns)} ${head.turns === 1 ? "turn" : "turns"}`;
    const kind = head.is_fork ? "edited branch" : head.by_program ? "terminal or program" : "";
    setText(this.meta, [kind, turns, when(head.at_utc)].filter(Boolean).join(" · "));
    setAttribute(this.face, "title", head.title);
    setAttribute(this.element, "data-running", head.running ? "" : null);
    setAttribute(this.menuButton, "aria-label", `More for ${head.title}`);
    this.mark(current);
  }

  mark(current) {
    setAttribute(this.face, "aria-current", current ? "page" : null);
  }

  /** A field in place of the title. Enter or leaving keeps what is typed, Esc does not; empty gives the first title back. */
  rename() {
    this.#toggleMenu(false);
    this.busy = true;
    const field = h("input", { type: "text", class: "history-rename", maxlength: "200", "aria-label": "Title", dir: "auto" });
    field.value = this.head.title;
    let done = false;
    const finish = async (keep) => {
      if (done) return;
      done = true;
      const title = field.value;
      const hadFocus = document.activeElement === field;
      field.replaceWith(this.face);
      this.busy = false;
      if (hadFocus) this.face.focus();
      if (keep && title.trim() !== this.head.title) await this.#keepTitle(title);
    };
    field.addEventListener("keydown", (event) => {
      if (event.isComposing || (event.key !== "Enter" && event.key !== "Escape")) return;
      event.preventDefault();
      event.stopPropagation();
      finish(event.key === "Enter");
    });
    field.addEventListener("blur", () => finish(true));
    this.face.replaceWith(field);
    field.select();
    field.focus();
  }

  async #keepTitle(title) {
    try {
      this.show({ ...this.head, ...(await ask(`${this.url}/title`, { method: "PUT", json: { title } })) }, this.face.hasAttribute("aria-current"));
      this.#say("");
      this.actions.changed();
    } catch (error) {
      this.#say(error.message);
    }
  }

  /** Ask in the item's own place whether to delete. */
  askToDelete() {
    this.#toggleMenu(false);
    this.busy = true;
    const back = () => {
      question.replaceWith(this.row);
      this.busy = false;
      this.face.focus();
    };
    const yes = h("button", { type: "button", class: "history-yes", onclick: async () => {
      yes.disabled = true;
      try {
        await ask(this.url, { method: "DELETE" });
        this.busy = false;
        this.actions.deleted(this.id);
      } catch (error) {
        back();
        this.#say(error.message);
      }
    } }, "Delete");
    const keep = h("button", { type: "button", class: "quiet", onclick: back }, "Keep");
    const question = h("div", { class: "history-question", role: "group", "aria-label": "Delete this conversation?", onkeydown: (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      back();
    } },
      h("p", {}, "Delete ", h("b", { dir: "auto" }, this.head.title), " for good? Branches keep the turns they share with it."),
      h("div", { class: "history-choices" }, yes, keep));
    this.row.replaceWith(question);
    keep.focus();
  }

  #key(event) {
    if (event.key === "F2") this.rename();
    else if (event.key === "Delete") this.askToDelete();
    else return;
    event.preventDefault();
  }

  #toggleMenu(open = this.menu.hidden) {
    this.menu.hidden = !open;
    setAttribute(this.menuButton, "aria-expanded", String(open));
    if (open) this.menu.querySelector("button").focus();
  }

  #say(text) {
    setText(this.note, text);
    this.note.hidden = !text;
  }
}

/** The time of today, else the day. */
function when(utc) {
  const date = new Date(utc);
  const today = date.toDateString() === new Date().toDateString();
  return today ? date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) : date.toLocaleDateString([], { day: "numeric", month: "short", year: sameYear(date) });
}

/** @returns {"numeric" | undefined} */
function sameYear(date) {
  return date.getFullYear() === new Date().getFullYear() ? undefined : "numeric";
}
