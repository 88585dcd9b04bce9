/**
 * The sidebar: the visitor's conversations with search, new, rename, export and delete. On a wide window it is
 * beside the chat and can be folded; on a narrow one it is a drawer. Everything shown is read from the server.
 */
import { chat, tabs } from "../base/bus.js";
import { button, focusedElement, h, promptBox, setAttribute, setText } from "../base/dom.js";
import { ask, rooted } from "../base/http.js";
import { Newest } from "../base/newest.js";
import { sidebarOpen } from "../base/preferences.js";
import { ConversationItem } from "./conversation_item.js";

const DRAWER = matchMedia("(max-width: 1100px)");
const PARTS = { title: "Title", prompt: "Prompt", answer: "Answer", reasoning: "Reasoning" };
const TYPING_MS = 160;
const SETTLE_MS = 250; // several events of the chat cause one request
const ELSEWHERE_MS = 3000; // running conversations that are not shown are polled, since no event reports their end

let mounted = null;

/** Draw the sidebar into `element`. */
export function mountSidebar(element) {
  mounted?.close();
  mounted = new Sidebar(element);
}

class Sidebar {
  constructor(element) {
    this.items = new Map(); // id -> ConversationItem, in the order shown
    this.more = null;
    this.listNote = this.searchNote = this.importNote = "";
    this.searches = new Newest();
    this.#build(element);
    this.ends = [
      chat.on("conversation", () => this.#chatChanged()),
      ...["began", "ended"].map((name) => chat.on(name, () => this.#soon())),
      listen(tabs, "message", () => this.#soon()),
      listen(DRAWER, "change", () => this.#setOpen(wantedOpen())),
      listen(document, "keydown", (event) => this.#escape(event)),
    ];
    this.#setOpen(wantedOpen());
    this.refresh();
  }

  close() {
    clearTimeout(this.timer);
    this.nearEnd.disconnect();
    for (const end of this.ends) end();
  }

  /** Load the newest conversations again; older ones that were loaded stay. */
  async refresh() {
    clearTimeout(this.timer);
    try {
      const { conversations, more, can_log_out: canLogOut } = await ask("/kimi/conversations");
      this.logout.hidden = !canLogOut;
      const oldest = conversations.at(-1)?.at_utc ?? "";
      const ids = new Set(conversations.map(({ id }) => id));
      const older = more === null ? [] : [...this.items.values()].map((item) => item.head).filter(({ id, at_utc: at }) => !ids.has(id) && at < oldest);
      if (!older.length) this.more = more;
      this.listNote = "";
      this.#show([...conversations, ...older]);
      if (conversations.some(({ id, running }) => running && id !== chat.conversation)) this.#soon(ELSEWHERE_MS);
    } catch (error) {
      this.listNote = error.message;
    }
    this.#arrange();
  }

  #build(element) {
    this.toggle = button("Conversations", () => this.#setOpen(!this.open, true), {
      face: "", class: "history-toggle", "aria-expanded": "false", "aria-controls": "kimi-history" });
    this.toggle.append(h("span", { class: "history-icon", "aria-hidden": "true" }));
    const fresh = button("New conversation", () => this.#go(""), { face: "New", class: "quiet history-new" });
    this.file = /** @type {HTMLInputElement} */ (h("input", { type: "file", accept: ".json,application/json", hidden: true,
      class: "history-file", onchange: () => this.#takeIn() }));
    const take = button("Import a conversation that was exported as JSON", () => this.file.click(), { face: "Import", class: "quiet history-import" });
    this.search = h("input", { type: "search", class: "history-search", placeholder: "Search", "aria-label": "Search conversations",
                               autocomplete: "off", spellcheck: "false", oninput: () => this.#typed() });
    this.list = h("div", { class: "history-list" });
    this.moreButton = h("button", { type: "button", class: "quiet history-more", hidden: true, onclick: () => this.#loadMore() }, "Show older");
    this.results = new Results((match) => this.#seek(match));
    this.logout = h("a", { class: "history-logout", href: rooted("/kimi/logout"), hidden: true }, "Log out");
    this.note = h("p", { class: "history-note", role: "status", hidden: true });
    this.scroller = h("div", { class: "history-scroller", onkeydown: (event) => this.#moved(event) },
      this.list, this.moreButton, this.results.element, this.note);
    this.panel = h("aside", { class: "history", id: "kimi-history", "aria-label": "Conversations" },
      h("div", { class: "history-head" }, h("h2", {}, "Conversations"), take, this.file, fresh), this.search, this.scroller, this.logout);
    this.search.addEventListener("keydown", (event) => event.key === "ArrowDown" && this.#focusFirst(event));
    this.shade = h("div", { class: "history-shade", hidden: true, onclick: () => this.#setOpen(false) });
    element.replaceChildren(this.toggle, this.shade, this.panel);
    this.nearEnd = new IntersectionObserver(([entry]) => entry.isIntersecting && this.#loadMore(), { root: this.scroller, rootMargin: "300px" });
    this.nearEnd.observe(this.moreButton);
  }

  #show(heads) {
    if ([...this.items.values()].some((item) => item.busy)) return this.#soon();
    const before = this.items;
    this.items = new Map(heads.map((head) => {
      const item = before.get(head.id) ?? new ConversationItem(head.id, this.#itemActions());
      item.show(head, head.id === chat.conversation);
      return [head.id, item];
    }));
    const groups = Object.entries(Object.groupBy(heads, ({ at_utc: at }) => period(at)));
    const focused = focusedElement();
    this.list.replaceChildren(...groups.map(([name, members]) => h("section", { "aria-label": name },
      h("h3", { class: "history-period" }, name),
      h("ul", {}, ...members.map(({ id }) => this.items.get(id).element)))));
    if (this.list.contains(focused)) focused.focus({ preventScroll: true });
    if (!heads.length) this.listNote = "Your conversations appear here.";
    this.#arrange();
    return undefined;
  }

  #itemActions() {
    return {
      open: (id) => this.#go(id),
      changed: () => tabs.postMessage({ history: true }),
      deleted: (id) => this.#deleted(id),
    };
  }

  #deleted(id) {
    const places = [...this.items.keys()];
    const next = places[places.indexOf(id) + 1] ?? places[places.indexOf(id) - 1];
    this.items.delete(id);
    this.#show([...this.items.values()].map((item) => item.head));
    (this.items.get(next)?.face ?? this.search).focus({ preventScroll: true });
    tabs.postMessage({ history: true });
    if (id === chat.conversation) chat.emit("open", "");
    this.refresh();
  }

  /** Import the chosen file and show its conversation. */
  async #takeIn() {
    const file = this.file.files?.[0];
    this.file.value = "";
    if (!file) return;
    this.importNote = `Importing ${file.name} …`;
    this.#arrange();
    try {
      const { id } = await ask("/kimi/conversations", { method: "POST", body: file });
      this.importNote = "";
      await this.refresh();
      tabs.postMessage({ history: true });
      this.#go(id);
    } catch (error) {
      this.importNote = `${file.name} was not imported. ${error.message}`;
      this.#arrange();
    }
  }

  async #loadMore() {
    if (this.more === null || this.loading) return;
    this.loading = true;
    try {
      const { conversations, more } = await ask(`/kimi/conversations?before=${encodeURIComponent(this.more)}`);
      this.more = more;
      this.#show([...[...this.items.values()].map((item) => item.head), ...conversations.filter(({ id }) => !this.items.has(id))]);
    } catch (error) {
      this.listNote = error.message;
      this.#arrange();
    } finally {
      this.loading = false;
    }
  }

  #typed() {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.#find(), TYPING_MS);
  }

  async #find() {
    const query = this.search.value.trim();
    const signal = this.searches.begin();
    this.searchNote = "";
    if (!query) this.results.clear();
    this.#arrange();
    if (!query) return;
    try {
      const { matches } = await ask(`/kimi/search?q=${encodeURIComponent(query)}`, { signal });
      this.results.show(matches, chat.conversation);
      if (!matches.length) this.searchNote = "Nothing found.";
    } catch (error) {
      if (error.name === "AbortError") return;
      this.searchNote = error.message;
    }
    this.#arrange();
  }

  /**
   * Show the list or the search. Each and the import have a note of their own, which reloading the list leaves alone.
   */
  #arrange() {
    const searching = this.search.value.trim() !== "";
    this.list.hidden = searching;
    this.moreButton.hidden = searching || this.more === null;
    const note = searching ? this.searchNote : this.importNote || this.listNote;
    setText(this.note, note);
    this.note.hidden = !note;
  }

  /** Show a conversation in the chat. */
  #go(id) {
    if (DRAWER.matches) this.#setOpen(false);
    chat.emit("open", id);
    if (!id) promptBox()?.focus();
  }

  /** Show in the chat what a search has found. */
  #seek({ id, turn, part, label, snippet }) {
    if (!turn) return this.#go(id);
    if (DRAWER.matches) this.#setOpen(false);
    const words = [...new Set(snippet.filter(({ hit }) => hit).map(({ text }) => text))];
    return chat.emit("seek", { conversation: id, turn, hit: { part, label, words } });
  }

  #chatChanged() {
    for (const [id, item] of this.items) item.mark(id === chat.conversation);
    this.results.mark(chat.conversation);
    this.#soon();
  }

  #soon(wait = SETTLE_MS) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.refresh(), wait);
  }

  /** Up and down move through the entries; above the first is the search. */
  #moved(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by || event.target.matches("input")) return;
    const faces = this.#faces();
    const at = faces.indexOf(event.target.closest("li")?.querySelector(".history-open"));
    if (at < 0) return;
    event.preventDefault();
    (faces[at + by] ?? (by < 0 ? this.search : faces[at])).focus();
  }

  #focusFirst(event) {
    event.preventDefault();
    this.#faces()[0]?.focus();
  }

  /** @returns {HTMLElement[]} */
  #faces() {
    const faces = /** @type {NodeListOf<HTMLElement>} */ (this.scroller.querySelectorAll(".history-open"));
    return [...faces].filter((face) => face.offsetParent !== null);
  }

  #escape(event) {
    if (event.key !== "Escape" || !this.open || event.defaultPrevented || document.querySelector(":popover-open")) return;
    if (this.search.value && event.target === this.search) return void setTimeout(() => this.#typed());
    if (!DRAWER.matches) return;
    event.preventDefault();
    this.#setOpen(false);
    this.toggle.focus();
  }

  #setOpen(open, remember = false) {
    this.open = open;
    this.panel.inert = !open;
    this.shade.hidden = !open || !DRAWER.matches;
    setAttribute(this.toggle, "aria-expanded", String(open));
    document.documentElement.toggleAttribute("data-history-open", open);
    if (!remember) return;
    if (!DRAWER.matches) sidebarOpen.set(open);
    else if (open) this.search.focus();
  }
}

function listen(target, name, listener) {
  target.addEventListener(name, listener);
  return () => target.removeEventListener(name, listener);
}

/** The heading for a conversation, by this browser's calendar. */
function period(utc) {
  const day = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
  const days = Math.round((day(new Date()) - day(new Date(utc))) / 86_400_000);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  return days < 7 ? "Last 7 days" : "Earlier";
}

const wantedOpen = () => !DRAWER.matches && sidebarOpen.on;

/** The matches of a search: one conversation each, with the part and the words that match. All of it as text. */
class Results {
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
    const place = [PARTS[match.part], match.label].filter(Boolean).join(" · ");
    const snippet = match.snippet.map(({ text, hit }) => (hit ? h("mark", {}, text) : text));
    return h("li", { class: "history-item", "data-conversation": match.id },
      h("button", { type: "button", class: "history-open", onclick: () => this.onopen(match) },
        h("span", { class: "history-words" },
          match.part === "title" ? null : h("span", { class: "history-title", dir: "auto" }, match.title),
          h("span", { class: match.part === "title" ? "history-title" : "history-snippet", dir: "auto" }, ...snippet),
          h("span", { class: "history-meta" }, place))));
  }
}
