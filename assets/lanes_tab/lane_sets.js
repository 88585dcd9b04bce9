/** Which set of lanes is in use, saving the lanes in use as a set, and taking the last change back. */
import { button, h, setText } from "../base/dom.js";

export class LaneSets {
  /** `editing`: as the server describes it. `change(changes, words)` makes changes; `undo()` takes the last one back. */
  constructor(editing, change, undo) {
    this.editing = editing;
    this.change = change;
    const { sets, use } = editing;
    this.choice = h("select", { id: "lt-set", "data-focus": "set", onchange: () => this.#use() },
      h("option", { value: "" }, "All lanes of the file"), ...sets.map(({ name }) => h("option", { value: name }, name)));
    this.choice.value = use;
    this.name = h("input", { type: "text", id: "lt-set-name", maxlength: "40", autocomplete: "off", placeholder: "like: writing" });
    this.problem = h("p", { class: "lt-problem", role: "alert", hidden: true });
    this.form = h(
      "form",
      {
        class: "lt-set-form",
        hidden: true,
        onsubmit: (event) => this.#save(event),
        onkeydown: (event) => event.key === "Escape" && this.#open(false),
      },
      h("label", { for: "lt-set-name" }, "Name of the set"),
      this.name,
      h("button", { type: "submit", class: "lt-button lt-primary" }, "Save"),
      button("Cancel", () => this.#open(false), { face: "Cancel", class: "lt-button" }),
    );
    this.opener = button("Save the lanes shown as a set", () => this.#open(true), {
      face: "Save as a set…",
      class: "lt-button",
      "data-focus": "save-set",
      "aria-expanded": "false",
    });
    this.element = h(
      "div",
      { class: "lt-sets" },
      h("label", { for: "lt-set" }, "Lanes in use"),
      this.choice,
      this.opener,
      use
        ? button(
            `Delete the set ${use}`,
            () =>
              this.#run([{ op: "remove_set", set: use }], `Deleted the set ${use}. Its lanes are still in the file.`),
            { face: "Delete the set", class: "lt-button" },
          )
        : null,
      editing.can_undo
        ? button("Undo the last change of the lanes", undo, { face: "Undo", class: "lt-button", "data-focus": "undo" })
        : null,
      this.form,
      this.problem,
    );
  }

  #use() {
    const name = this.choice.value;
    return this.#run([{ op: "use", set: name }], name ? `The set ${name} is in use.` : "All lanes of the file are in use.");
  }

  #open(open) {
    this.form.hidden = !open;
    this.opener.setAttribute("aria-expanded", String(open));
    (open ? this.name : this.opener).focus();
  }

  async #save(event) {
    event.preventDefault();
    const name = this.name.value.trim();
    await this.#run([{ op: "save_set", set: name }], `Saved these lanes as the set ${name}.`);
  }

  async #run(changes, words) {
    const error = await this.change(changes, words);
    if (!error) return;
    this.choice.value = this.editing.use;
    this.problem.hidden = false;
    setText(this.problem, error.message);
  }
}
