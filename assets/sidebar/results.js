/** The matches of a search: one conversation each, with the part and the words that match. All of it as text. */
import { h, setAttribute } from "../base/dom.js";

const PARTS = { title: "Title", prompt: "Prompt", answer: "Answer", reasoning: "Reasoning" };

export class Results {
  /** `onopen(match)` is called when the reader chooses a match. */
  constructor(onopen) {
    this.onopen = onopen;
    this.element = h("ul", { class: "history-results", "aria-label": "Found", hidden: true });
  }

  clear() {
    this.element.replaceChildren();
    this.element.hidden = true;
  }

  show(matches, current) {
    this.element.replaceChildren(...matches.map((match) => this.#item(match)));
    this.element.hidden = false;
    this.mark(current);
  }

  mark(current) {
    for (const item of this.element.children) {
      const shown = item.getAttribute("data-conversation") === current;
      setAttribute(item.firstElementChild, "aria-current", shown ? "page" : null);
    }
  }

  #item(match) {
    const place = [PARTS[match.part], match.label, match.trajectory !== null && `T${match.trajectory + 1}`,
      match.attempts > 1 && `attempt ${match.attempt} of ${match.attempts}`, match.branch_of && `branch of ${match.branch_of}`, match.archived && "archived"];
    const snippet = match.snippet.map(({ text, hit }) => (hit ? h("mark", {}, text) : text));
    return h("li", { class: "history-item", "data-conversation": match.id },
      h("button", { type: "button", class: "history-open", onclick: () => this.onopen(match) },
        h("span", { class: "history-words" },
          match.part === "title" ? null : h("span", { class: "history-title", dir: "auto" }, match.title),
          h("span", { class: match.part === "title" ? "history-title" : "history-snippet", dir: "auto" }, ...snippet),
          h("span", { class: "history-meta" }, place.filter(Boolean).join(" · ")))));
  }
}
