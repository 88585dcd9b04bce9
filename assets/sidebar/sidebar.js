/**
 * The sidebar: the visitor's conversations with their branches, the pinned ones first; search, the archive, and what is
 * done with one or several of them. On a wide window it is beside the chat and can be folded; on a narrow one it is a
 * drawer. Everything shown is read from the server, and also what was deleted and can still be taken back.
 */
import { chat, tabs } from "../base/bus.js";
import { button, focusedElement, h, isFocusLost, promptBox, setAttribute, setChildren, setText } from "../base/dom.js";
import { count } from "../base/format.js";
import { ask, rooted } from "../base/http.js";
import { Newest } from "../base/newest.js";
import { sidebarOpen } from "../base/preferences.js";
import { branchesOf, conversationsOf, Entry } from "./entry.js";
import { Results } from "./results.js";
import { Selection } from "./selection.js";
import { UndoLine } from "./undo.js";

const DRAWER = matchMedia("(max-width: 1100px)");
const DELETED = "deleted "; // begins the key of an offer to take a deletion back
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
    /** @type {Map<string, Entry>} */
    this.items = new Map(); // by id, in the order shown
    /** @type {string[] | null} what each entry was drawn from, in that order; null before the first list */
    this.shown = null;
    /** @type {Map<string, HTMLElement>} */
    this.sections = new Map(); // by name
    this.more = null;
    this.archived = false; // the archive is listed
    this.left = ""; // the conversation that was shown when it was deleted
    this.undoS = 0; // how long something is offered to be taken back
    this.removed = []; // heads of entries before conversations of theirs were deleted
    this.erasing = new Set(); // deletions whose Undo is over
    this.lists = new Newest();
    /** @type {Promise<void> | null} settles once the newest list is shown */
    this.listed = null;
    this.listNote = this.searchNote = this.importNote = this.actionNote = "";
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
    this.lists.drop();
    this.listed = null;
    this.undo.close();
    this.nearEnd.disconnect();
    for (const end of this.ends) end();
  }

  /**
   * Load the newest conversations again; older ones that were loaded stay. Settles once that list is shown, or the one of
   * a later call.
   */
  refresh() {
    this.listed = this.#list();
    return this.listed;
  }

  async #list() {
    clearTimeout(this.timer);
    const signal = this.lists.begin();
    try {
      const { conversations, more, deleted, undo_s: undoS, can_log_out: canLogOut, person } = await ask(this.#url(), { signal });
      this.logout.hidden = !canLogOut;
      this.#showPerson(person);
      const oldest = conversations.at(-1)?.at_utc ?? "";
      const ids = new Set(conversations.flatMap(conversationsOf));
      const older = more === null ? [] : this.#heads.filter(({ id, at_utc: at }) => !ids.has(id) && at <= oldest);
      if (!older.length) this.more = more;
      this.listNote = "";
      this.undoS = undoS;
      this.#offerUndo(deleted);
      this.#show([...conversations, ...older]);
      if (conversations.flatMap(branchesOf).some(({ id, running }) => running && id !== chat.conversation)) this.#soon(ELSEWHERE_MS);
    } catch (error) {
      if (error.name === "AbortError") return this.listed;
      this.listNote = error.message;
    }
    this.#arrange();
  }

  /** The name of the person with an account; null: there are no accounts. */
  #showPerson(name) {
    this.person.hidden = !name;
    if (!name) return;
    this.person.textContent = this.person.title = name;
    this.logout.textContent = "Sign out";
  }

  get #heads() {
    return [...this.items.values()].map((item) => item.head);
  }

  #url(before = "") {
    const query = new URLSearchParams({ ...(this.archived && { archived: "1" }), ...(before && { before }) });
    return query.size ? `/kimi/conversations?${query}` : "/kimi/conversations";
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
    this.selection = new Selection(() => [...this.items.values()], (name, entries) => this.#actOn(name, entries), () => this.#showSelecting());
    this.undo = new UndoLine();
    this.select = h(
      "button",
      { type: "button", class: "quiet history-select", "aria-pressed": "false", onclick: () => this.#select() },
      "Select",
    );
    this.archive = h(
      "button",
      {
        type: "button",
        class: "quiet history-archive",
        "aria-pressed": "false",
        onclick: () => this.#showArchive(!this.archived),
      },
      "Archived",
    );
    this.logout = h("a", { class: "history-logout", href: rooted("/kimi/logout"), hidden: true }, "Log out");
    this.person = h("span", { class: "history-person", hidden: true });
    this.note = h("p", { class: "history-note", role: "status", hidden: true });
    this.scroller = h("div", { class: "history-scroller" }, this.list, this.moreButton, this.results.element, this.note);
    this.heading = h("h2", {}, "Conversations");
    this.panel = h("aside", { class: "history", id: "kimi-history", "aria-label": "Conversations", onkeydown: (event) => this.#pressed(event) },
      h("div", { class: "history-head" }, this.heading, take, this.file, fresh), this.search, this.selection.element, this.scroller,
      this.undo.element, h("div", { class: "history-foot" }, this.select, this.archive, h("div", { class: "history-who" }, this.person, this.logout)));
    this.search.addEventListener("keydown", (event) => event.key === "ArrowDown" && this.#focusFirst(event));
    this.shade = h("div", { class: "history-shade", hidden: true, onclick: () => this.#setOpen(false) });
    element.replaceChildren(this.toggle, this.shade, this.panel);
    this.nearEnd = new IntersectionObserver(([entry]) => entry.isIntersecting && this.#loadMore(), { root: this.scroller, rootMargin: "300px" });
    this.nearEnd.observe(this.moreButton);
  }

  #show(heads) {
    if ([...this.items.values()].some((item) => item.busy)) return this.#soon();
    const sorted = heads.toSorted((a, b) => Number(b.pinned) - Number(a.pinned) || Number(a.at_utc < b.at_utc) - Number(a.at_utc > b.at_utc));
    const named = sorted.map((head) => ({ head, name: head.pinned && !this.archived ? "Pinned" : period(head.at_utc) }));
    const shown = named.map((one) => JSON.stringify(one));
    if (this.shown?.length === shown.length && shown.every((one, place) => one === this.shown[place])) return undefined;
    const [known, before] = [new Set(this.shown), this.items];
    this.shown = shown;
    this.items = new Map(sorted.map((head, place) => {
      const item = before.get(head.id) ?? new Entry(head.id, this.#itemActions());
      if (!known.has(shown[place])) item.show(head, chat.conversation); // of hundreds one or two have changed
      return [head.id, item];
    }));
    const focused = focusedElement();
    setChildren(this.list, [...Map.groupBy(named, ({ name }) => name)].map(([name, members]) => this.#section(name, members)));
    if (this.list.contains(focused)) focused.focus({ preventScroll: true });
    this.selection.show(this.archived);
    this.#arrange();
    return undefined;
  }

  #section(name, members) {
    if (!this.sections.has(name)) this.sections.set(name, h("section", { "aria-label": name }, h("h3", { class: "history-period" }, name), h("ul")));
    const section = this.sections.get(name);
    setChildren(section.lastElementChild, members.map(({ head }) => this.items.get(head.id).element));
    return section;
  }

  #itemActions() {
    return {
      open: (id) => this.#go(id),
      changed: () => this.#renamed(),
      mark: (entry, mark, on) => (mark === "archived" ? this.#archive([entry], on) : this.#pin(entry, on)),
      remove: (entry, ids) => (this.selection.on && this.selection.picked.size ? this.#actOn("delete", this.selection.chosen) : this.#remove([entry], ids)),
      pick: (entry, event) => this.#pick(entry, event),
    };
  }

  #renamed() {
    tabs.postMessage({ history: true });
    this.refresh();
  }

  /** A click on an entry: whether it picks the entry. A click with Shift begins the selection. */
  #pick(entry, event) {
    const picks = this.selection.on || event.shiftKey;
    if (picks) this.selection.pick(entry, event.shiftKey);
    else this.selection.anchor = entry.id;
    return picks;
  }

  #select() {
    if (this.selection.on) this.selection.end();
    else this.selection.begin();
  }

  #showSelecting() {
    setAttribute(this.select, "aria-pressed", String(this.selection.on));
    this.panel.toggleAttribute("data-selecting", this.selection.on);
  }

  /** What the bar does with the picked entries. */
  async #actOn(name, entries) {
    if (!entries.length) return;
    const done =
      name === "delete"
        ? await this.#remove(
            entries,
            entries.flatMap((entry) => entry.conversations),
          )
        : await this.#archive(entries, name === "archive");
    if (!done) return;
    this.selection.end();
  }

  /** Mark conversations, or take that back. False, with the reason below the list, if the server refused. */
  async #mark(ids, mark, on) {
    try {
      await ask("/kimi/conversations/marks", { method: "POST", json: { ids, mark, on } });
      tabs.postMessage({ history: true });
      this.actionNote = "";
      await this.refresh();
      return true;
    } catch (error) {
      this.actionNote = error.message;
      this.#arrange();
      return false;
    }
  }

  async #pin(entry, on) {
    if (!(await this.#mark([entry.id], "pinned", on))) return;
    this.#show(this.#heads.map((head) => (head.id === entry.id ? { ...head, pinned: on } : head)));
    this.#focus(entry.id);
  }

  /** Move entries into the archive or out of it, which can be undone. */
  async #archive(entries, on) {
    const heads = entries.map((entry) => entry.head);
    const ids = heads.map(({ id }) => id);
    const next = this.#after(entries);
    if (!(await this.#mark(ids, "archived", on))) return false;
    if (this.archived !== on) { // the list that they have left is still shown
      this.#drop(heads.flatMap(conversationsOf));
      this.#focus(next);
    }
    this.undo.offer(`archived ${ids}`, this.undoS * 1000, {
      text: `${on ? "Archived" : "Took out of the archive:"} ${named(heads.map(({ title }) => title))}`,
      undo: async () => (await this.#mark(ids, "archived", !on)) && this.#again(heads),
    });
    return true;
  }

  /** Delete conversations of these entries. That they can be taken back is offered by what the server says then. */
  async #remove(entries, ids) {
    const heads = entries.map((entry) => entry.head);
    const next = this.#after(entries);
    const shown = chat.conversation;
    if (!(await this.#mark(ids, "deleted", true))) return false;
    this.removed.push(...heads);
    this.#drop(ids);
    const kept = this.#entryWith(conversationsOf(heads[0]));
    this.#focus(kept?.id ?? next);
    if (ids.includes(shown)) {
      this.left = shown;
      if (chat.conversation === shown) chat.emit("open", "");
    }
    return true;
  }

  /** Offer to take back what was deleted: here, by another tab, or by a page that was closed before it was final. */
  #offerUndo(deleted) {
    const groups = Object.groupBy(deleted, ({ deleted_at_utc: at }) => at);
    for (const key of this.undo.keys) if (key.startsWith(DELETED) && !groups[key.slice(DELETED.length)]) this.undo.withdraw(key);
    for (const [at, members] of Object.entries(groups)) {
      const key = DELETED + at;
      if (this.undo.has(key) || this.erasing.has(key)) continue;
      const ids = members.map(({ conversation_id: id }) => id);
      this.undo.offer(key, members[0].left_s * 1000, {
        text: `Deleted ${named(members.map(({ title }) => title))}`,
        undo: () => this.#takeBack(ids),
        over: () => this.#erase(key, ids),
      });
    }
  }

  async #takeBack(ids) {
    if (!(await this.#mark(ids, "deleted", false))) return;
    this.#again(this.removed.filter((head) => conversationsOf(head).some((id) => ids.includes(id))));
    const opened = new URLSearchParams(location.search).has("c"); // the chat may still be loading what was opened last
    if (ids.includes(this.left) && !opened) chat.emit("open", this.left);
  }

  /** Delete for good. If that fails, the next list offers to take it back again. */
  async #erase(key, ids) {
    this.erasing.add(key);
    try {
      await ask("/kimi/conversations/erase", { method: "POST", json: { ids } });
    } catch (error) {
      this.erasing.delete(key);
      this.actionNote = error.message;
    }
    this.#arrange();
  }

  /** Draw the list without these conversations, also where the server does not list it again. */
  #drop(ids) {
    const gone = new Set(ids);
    this.#show(this.#heads.map((head) => without(head, gone)).filter(Boolean));
  }

  /** Draw entries that are back in the list which is shown, also where the server does not list them: it lists the newest. */
  #again(back) {
    const heads = back.filter(({ archived }) => archived === this.archived);
    const listed = new Set(this.#heads.flatMap(conversationsOf));
    const missing = heads.filter((head) => !conversationsOf(head).every((id) => listed.has(id)));
    const replaced = new Set(missing.map((head) => this.#entryWith(conversationsOf(head))?.id));
    this.#show([...this.#heads.filter(({ id }) => !replaced.has(id)), ...missing]);
    if (heads.length) this.#focus(this.#entryWith(conversationsOf(heads[0]))?.id);
  }

  /** The entry that has one of these conversations. */
  #entryWith(ids) {
    return [...this.items.values()].find((entry) => entry.conversations.some((id) => ids.includes(id)));
  }

  /** The id of the entry next to these. */
  #after(entries) {
    const ids = [...this.items.keys()];
    const gone = new Set(entries.map(({ id }) => id));
    const last = Math.max(...entries.map(({ id }) => ids.indexOf(id)));
    return ids.slice(last + 1).find((id) => !gone.has(id)) ?? ids.slice(0, Math.max(last, 0)).findLast((id) => !gone.has(id));
  }

  /** Focus an entry, unless the reader has left the list while the server answered. */
  #focus(id) {
    if (!isFocusLost() && !this.panel.contains(focusedElement())) return;
    (this.items.get(id)?.face ?? this.search).focus({ preventScroll: true });
  }

  #showArchive(archived) {
    this.archived = archived;
    this.items.clear();
    this.shown = null;
    this.more = null;
    this.selection.end();
    setText(this.heading, archived ? "Archived" : "Conversations");
    setAttribute(this.archive, "aria-pressed", String(archived));
    this.search.value = "";
    this.#find();
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
    const { archived } = this;
    try {
      const { conversations, more } = await ask(this.#url(this.more));
      if (archived !== this.archived) return;
      this.more = more;
      this.#show([...this.#heads, ...conversations.filter(({ id }) => !this.items.has(id))]);
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
    const empty = this.items.size || !this.shown ? "" : this.archived ? "No conversation is archived." : "Your conversations appear here.";
    const note = this.actionNote || (searching ? this.searchNote : this.importNote || this.listNote || empty);
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
  #seek({ id, turn, part, lane, attempt, trajectory, snippet }) {
    if (!turn) return this.#go(id);
    if (DRAWER.matches) this.#setOpen(false);
    const words = [...new Set(snippet.filter(({ hit }) => hit).map(({ text }) => text))];
    return chat.emit("seek", { conversation: id, turn, hit: { part, lane, attempt, trajectory, words } });
  }

  #chatChanged() {
    for (const item of this.items.values()) item.mark(chat.conversation);
    this.results.mark(chat.conversation);
    this.#soon();
  }

  #soon(wait = SETTLE_MS) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.refresh(), wait);
  }

  /** Keys of the panel; those of one conversation are in entry.js. */
  #pressed(event) {
    const { key, shiftKey: shift, ctrlKey, metaKey, target } = event;
    if (event.defaultPrevented || target.matches("input:not([type=checkbox])") || target.closest(":popover-open")) return;
    const command = (ctrlKey || metaKey) && !event.altKey && key.toLowerCase();
    const entry = this.list.hidden ? null : this.items.get(target.closest(".history-item")?.dataset.conversation);
    if (command === "z" && !shift) this.undo.undo();
    else if (command === "a" && this.selection.on) this.selection.all();
    else if (command) return;
    else if (key === "Escape" && this.selection.on) this.#select();
    else if (key === "ArrowDown" || key === "ArrowUp") return this.#move(event, key === "ArrowDown" ? 1 : -1, entry);
    else if (key === "ArrowRight" && entry?.branches.size && !entry.isUnfolded) entry.setUnfolded(true);
    else if (key === "ArrowLeft" && entry?.isUnfolded) {
      entry.setUnfolded(false);
      entry.face.focus();
    } else return;
    event.preventDefault();
  }

  /** To the next face up or down; above the first is the search. With Shift that picks the entries on the way. */
  #move(event, by, entry) {
    const faces = this.#faces();
    const at = faces.indexOf(event.target.closest("li")?.querySelector(".history-open"));
    if (at < 0) return;
    event.preventDefault();
    const next = faces[at + by] ?? (by < 0 ? this.search : faces[at]);
    next.focus();
    const reached = this.items.get(/** @type {HTMLElement} */ (next.closest(".history-item"))?.dataset.conversation);
    if (!event.shiftKey || !entry || !reached) return;
    if (!this.selection.on) this.selection.pick(entry, false);
    this.selection.pick(reached, true);
  }

  #focusFirst(event) {
    event.preventDefault();
    this.#faces()[0]?.focus();
  }

  /** @returns {HTMLElement[]} */
  #faces() {
    const faces = /** @type {NodeListOf<HTMLElement>} */ (this.scroller.querySelectorAll(".history-open"));
    return [...faces].filter((face) => face.checkVisibility());
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

/** An entry of the list without the conversations that are gone; null if none is left. */
function without(head, gone) {
  if (!conversationsOf(head).some((id) => gone.has(id))) return head;
  const left = head.branches.filter(({ id }) => !gone.has(id));
  if (!left.length) return null;
  const [{ id, title }] = left;
  const newest = gone.has(head.newest) ? left.at(-1).id : head.newest;
  return { ...head, id, title, newest, branches: left.length > 1 ? left : [] };
}

/** The first of these titles, and how many there are besides. */
const named = (titles) => `“${titles[0]}”${titles.length > 1 ? ` and ${count(titles.length - 1)} more` : ""}`;

const wantedOpen = () => !DRAWER.matches && sidebarOpen.on;
