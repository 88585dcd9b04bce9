/** Several entries of the sidebar picked by checkboxes, and the bar with what is done with all of them. */
import { button, h, setFlag, setText } from "../base/dom.js";
import { exportMenu } from "../base/export_menu.js";
import { count } from "../base/format.js";

export class Selection {
  /**
   * `entries()`: those of the list in order. `act(name, entries)`: archive, unarchive or delete these. `changed()`: the
   * selection has begun or ended, or has other entries.
   */
  constructor(entries, act, changed) {
    this.entries = entries;
    this.changed = changed;
    this.on = false;
    this.archived = false; // the archive is listed
    this.picked = new Set(); // ids of entries
    this.anchor = ""; // where a range begins: the entry that was picked or opened last
    this.number = h("span", { class: "history-picked", role: "status" });
    this.archive = h("button", {
      type: "button",
      class: "quiet",
      onclick: () => act(this.archived ? "unarchive" : "archive", this.chosen),
    });
    this.delete = h(
      "button",
      { type: "button", class: "quiet history-delete", onclick: () => act("delete", this.chosen) },
      "Delete",
    );
    this.export = exportMenu(
      () => `/kimi/conversations/export?ids=${this.chosen.flatMap((entry) => entry.conversations).join(",")}`,
      "the selected conversations",
    );
    this.element = h(
      "div",
      { class: "history-selection", role: "group", "aria-label": "Selected conversations", hidden: true },
      h(
        "div",
        { class: "history-selection-row" },
        this.number,
        button("Select all that are listed", () => this.all(), { face: "All", class: "quiet" }),
        button("End the selection", () => this.end(), { face: "Done", class: "quiet" })),
      h("div", { class: "history-selection-row" }, this.archive, this.export, this.delete));
  }

  /** The picked entries, in the order of the list. */
  get chosen() {
    return this.entries().filter(({ id }) => this.picked.has(id));
  }

  begin() {
    this.on = true;
    this.show();
  }

  end() {
    this.on = false;
    this.picked.clear();
    this.show();
  }

  /** Pick an entry or leave it out; with `range` pick all from the one before. */
  pick(entry, range) {
    this.on = true;
    const all = this.entries();
    const from = all.findIndex(({ id }) => id === this.anchor);
    const to = all.indexOf(entry);
    if (range && from >= 0) this.#add(all.slice(Math.min(from, to), Math.max(from, to) + 1));
    else if (!this.picked.delete(entry.id)) this.picked.add(entry.id);
    if (!range || from < 0) this.anchor = entry.id;
    this.show();
  }

  all() {
    this.#add(this.entries());
    this.show();
  }

  /** Draw the checkboxes and the bar; entries that are gone are picked no more. */
  show(archived = this.archived) {
    this.archived = archived;
    const entries = this.entries();
    const known = new Set(entries.map(({ id }) => id));
    for (const id of this.picked) if (!known.has(id)) this.picked.delete(id);
    for (const entry of entries) entry.select(this.on, this.picked.has(entry.id));
    this.element.hidden = !this.on;
    setText(this.number, `${count(this.picked.size)} selected`);
    setText(this.archive, archived ? "Unarchive" : "Archive");
    for (const choice of [this.archive, this.delete, this.export.querySelector("button")]) setFlag(choice, "disabled", !this.picked.size);
    this.changed();
  }

  #add(entries) {
    for (const { id } of entries) this.picked.add(id);
  }
}
