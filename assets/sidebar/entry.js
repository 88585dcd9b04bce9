/**
 * An entry of the sidebar: a conversation, with its branches below it if edited prompts began any. Each of them is
 * opened, renamed in place, exported and deleted; the entry as a whole is pinned, archived and picked.
 */
import { button, focusedElement, h, setAttribute, setChildren, setFlag, setText } from "../base/dom.js";
import { exportMenu } from "../base/export_menu.js";
import { count } from "../base/format.js";
import { ask } from "../base/http.js";

/** What a conversation's row has: its face, the menu and the field to rename it. */
class Row {
  /** `choices()`: the buttons of the menu between renaming and deleting. `actions` as in `Entry`. */
  constructor(id, actions, { choices, remove }) {
    this.id = id;
    this.url = `/kimi/conversations/${encodeURIComponent(id)}`;
    this.actions = actions;
    this.choices = choices;
    this.remove = remove;
    this.busy = false; // being renamed: not drawn again
    /** @type {HTMLElement | null} */
    this.item = null; // of a branch: its list item
    this.title = h("span", { class: "history-title", dir: "auto" });
    this.meta = h("span", { class: "history-meta" });
    this.face = h("button", { type: "button", class: "history-open" },
      h("span", { class: "dot", "aria-hidden": "true" }), h("span", { class: "history-words" }, this.title, this.meta));
    this.face.addEventListener("keydown", (event) => this.#key(event));
    this.menuButton = button("More", () => this.toggleMenu(), { face: "⋯", class: "icon history-menu", "aria-expanded": "false" });
    this.menu = h("div", { class: "history-actions", hidden: true });
    this.element = h("div", { class: "history-row" }, this.face, this.menuButton);
    this.note = h("p", { class: "history-note", role: "alert", hidden: true });
    this.menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.defaultPrevented || this.menu.querySelector(":popover-open")) return;
      event.preventDefault();
      this.toggleMenu(false);
      this.menuButton.focus();
    });
  }

  show(head, words) {
    this.head = head;
    setText(this.title, head.title);
    setText(this.meta, words.filter(Boolean).join(" · "));
    setAttribute(this.face, "title", head.title);
    setAttribute(this.menuButton, "aria-label", `More for ${head.title}`);
  }

  /** A field in place of the title. Enter or leaving keeps what is typed, Esc does not; empty gives the first title back. */
  rename() {
    this.toggleMenu(false);
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
      const kept = await ask(`${this.url}/title`, { method: "PUT", json: { title } });
      this.head = { ...this.head, ...kept };
      setText(this.title, kept.title);
      this.say("");
      this.actions.changed();
    } catch (error) {
      this.say(error.message);
    }
  }

  #key(event) {
    if (event.key === "F2") this.rename();
    else if (event.key === "Delete") this.remove();
    else return;
    event.preventDefault();
  }

  /** The menu is made when it is opened: a list of hundreds has hundreds. */
  toggleMenu(open = this.menu.hidden) {
    this.menu.hidden = !open;
    setAttribute(this.menuButton, "aria-expanded", String(open));
    if (!open) return;
    this.menu.replaceChildren(
      button("Rename", () => this.rename(), { class: "quiet" }), ...this.choices(),
      button("Delete", () => this.remove(), { class: "quiet history-delete" }));
    this.menu.querySelector("button").focus();
  }

  say(text) {
    setText(this.note, text);
    this.note.hidden = !text;
  }
}

export class Entry {
  /**
   * `actions`: open(id) a conversation, changed() its title, mark(entry, mark, on) the entry, remove(entry, ids) of its
   * conversations, pick(entry, event), which answers whether a click picks the entry instead of opening it.
   */
  constructor(id, actions) {
    this.id = id;
    this.actions = actions;
    this.current = ""; // the conversation that is shown
    this.unfolded = null; // by the reader; null: while one of its branches is shown
    this.row = new Row(id, actions, { choices: () => this.#choices(), remove: () => actions.remove(this, this.conversations) });
    this.row.face.addEventListener("click", (event) => actions.pick(this, event) || actions.open(this.head.newest));
    this.check = h("input", {
      type: "checkbox",
      class: "history-check",
      hidden: true,
      onclick: (event) => actions.pick(this, event),
    });
    this.fold = h("button", {
      type: "button",
      class: "quiet history-fold",
      "aria-controls": `history-branches-${id}`,
      hidden: true,
      onclick: () => this.setUnfolded(!this.isUnfolded),
    });
    this.row.element.prepend(this.check);
    this.row.menuButton.before(this.fold);
    /** @type {Map<string, Row>} */
    this.branches = new Map();
    this.list = h("ul", { class: "history-branches", id: `history-branches-${id}`, hidden: true });
    this.element = h("li", { class: "history-item", "data-conversation": id }, this.row.element, this.row.menu, this.row.note, this.list);
  }

  get busy() {
    return this.row.busy || [...this.branches.values()].some((branch) => branch.busy);
  }

  get face() {
    return this.row.face;
  }

  /** The ids of the conversations in this entry. */
  get conversations() {
    return conversationsOf(this.head);
  }

  get isUnfolded() {
    return this.branches.size > 0 && (this.unfolded ?? this.branches.has(this.current));
  }

  show(head, current) {
    this.head = head;
    const n = head.branches.length;
    this.row.show(head, [head.by_program && "terminal or program", n ? `${n} branches` : turns(head), when(head.at_utc)]);
    setAttribute(this.element, "data-running", head.running ? "" : null);
    setAttribute(this.check, "aria-label", `Select ${head.title}`);
    setText(this.fold, n ? String(n) : "");
    setFlag(this.fold, "hidden", !n);
    const before = this.branches;
    this.branches = new Map(head.branches.map((branch) => [branch.id, before.get(branch.id) ?? this.#branch(branch.id)]));
    for (const branch of head.branches) this.#showBranch(branch);
    const focused = focusedElement();
    setChildren(this.list, [...this.branches.values()].map((row) => row.item));
    if (this.list.contains(focused)) focused.focus({ preventScroll: true });
    this.mark(current);
  }

  /** The conversation that is shown. */
  mark(current) {
    if (current !== this.current) this.unfolded = null;
    this.current = current;
    for (const [id, row] of this.branches) setAttribute(row.face, "aria-current", id === current ? "page" : null);
    this.#fold();
  }

  setUnfolded(unfolded) {
    this.unfolded = unfolded;
    this.#fold();
  }

  /** `selecting`: entries have a checkbox. */
  select(selecting, picked) {
    setFlag(this.check, "hidden", !selecting);
    setFlag(this.check, "checked", picked);
    setAttribute(this.face, "aria-pressed", selecting ? String(picked) : null);
    if (selecting) this.row.toggleMenu(false);
  }

  #fold() {
    const unfolded = this.isUnfolded;
    setFlag(this.list, "hidden", !unfolded);
    setAttribute(this.fold, "aria-expanded", String(unfolded));
    setAttribute(this.fold, "aria-label", `${this.branches.size} branches of ${this.head.title}`);
    const shown = this.branches.size ? this.branches.has(this.current) && !unfolded && "true" : this.id === this.current && "page";
    setAttribute(this.face, "aria-current", shown || null);
  }

  #choices() {
    const { pinned, archived } = this.head;
    const act = (face, mark, on) => button(face, () => this.actions.mark(this, mark, on), { class: "quiet" });
    return [
      archived ? null : act(pinned ? "Unpin" : "Pin", "pinned", !pinned),
      act(archived ? "Unarchive" : "Archive", "archived", !archived),
      exportMenu(
        this.branches.size
          ? `/kimi/conversations/export?ids=${this.conversations.join(",")}`
          : `${this.row.url}/export`,
        "this conversation",
        this.branches.size ? null : { conversation: this.row.id },
      ),
    ].filter(Boolean);
  }

  #branch(id) {
    const row = new Row(id, this.actions, {
      choices: () => [exportMenu(`${row.url}/export`, "this branch", { conversation: id })],
      remove: () => this.actions.remove(this, [id]),
    });
    row.face.addEventListener("click", () => this.actions.open(id));
    row.item = h("li", { class: "history-branch", "data-conversation": id }, row.element, row.menu, row.note);
    return row;
  }

  #showBranch(branch) {
    const row = this.branches.get(branch.id);
    row.show(branch, [branch.edited === null ? "original" : `prompt ${branch.edited} edited`, turns(branch), when(branch.at_utc)]);
    row.item.style.setProperty("--depth", String(Math.min(branch.depth, 3)));
    setAttribute(row.item, "data-running", branch.running ? "" : null);
  }
}

/** The conversations in an entry, as the server describes it. */
export const branchesOf = (head) => (head.branches.length ? head.branches : [head]);

/** @returns {string[]} */
export const conversationsOf = (head) => branchesOf(head).map(({ id }) => id);

const turns = ({ turns: n }) => `${count(n)} ${n === 1 ? "turn" : "turns"}`;

/** The time of today, else the day. */
function when(utc) {
  const date = new Date(utc);
  const today = date.toDateString() === new Date().toDateString();
  return today
    ? date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
    : date.toLocaleDateString([], { day: "numeric", month: "short", year: sameYear(date) });
}

/** @returns {"numeric" | undefined} */
function sameYear(date) {
  return date.getFullYear() === new Date().getFullYear() ? undefined : "numeric";
}
