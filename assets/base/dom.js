/**
 * Small DOM helpers. Text always goes in as text; nothing here takes markup (answers, which the server has rendered and
 * passed through its allow-list, are inserted by lane/answer.js).
 */
const TOGETHER_MS = 300; // changes this close together are announced as one
const GAP_PX = 6; // around a panel beside its button

/**
 * An element with attributes, listeners (`onclick`, …) and children; strings become text nodes.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} [props] null, undefined and false: the attribute is absent
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child !== null && child !== undefined && child !== false) element.append(child);
  return element;
}

/**
 * Set text only where it differs: an unchanged node costs no layout.
 *
 * @param {Node} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Set an attribute only where it differs; null removes it.
 *
 * @param {Element} node
 * @param {string} name
 * @param {string | null} value
 */
export function setAttribute(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** Set a boolean property (`hidden`, `disabled`) only where it differs: setting it again would restyle the element. */
export function setFlag(node, name, value) {
  if (node[name] !== value) node[name] = value;
}

/**
 * Make these the children of `parent`, in this order. Those that are in their place are not touched: the list is not laid
 * out again, and what has the focus keeps it.
 *
 * @param {Element} parent
 * @param {Element[]} children
 */
export function setChildren(parent, children) {
  const kept = new Set(children);
  for (const child of [...parent.children]) if (!kept.has(child)) child.remove();
  let next = parent.firstElementChild;
  for (const child of children) {
    if (child === next) next = child.nextElementSibling;
    else parent.insertBefore(child, next);
  }
}

/** A dialog that a click beside it closes, and that leaves the page when it is closed. */
export function modal(props, ...children) {
  const dialog = h("dialog", { ...props, onclick: (event) => event.target === dialog && dialog.close() }, ...children);
  dialog.addEventListener("close", () => dialog.remove());
  return dialog;
}

/** A button with a text or icon face and a name for assistive tools. */
export function button(label, onclick, props = {}) {
  const { face = label, ...rest } = props;
  return h("button", { type: "button", "aria-label": label, title: label, onclick, ...rest }, face);
}

export function numberField(id, props = {}) {
  return h("input", { type: "number", id, inputmode: "decimal", ...props });
}

/**
 * The number in a field, null for an empty one. Other text is sent unchanged; the server refuses it with a sentence.
 */
export function numeric(input) {
  if (input.validity.badInput) return "not a number";
  return input.value === "" ? null : Number(input.value);
}

/**
 * Copy text, given as a string or a promise of one, and say so on the button for a moment.
 * The promise form keeps the click's permission while the text is fetched.
 */
export async function copyFrom(source, from) {
  let done = false;
  try {
    const blob = Promise.resolve(source).then((text) => new Blob([text], { type: "text/plain" }));
    await navigator.clipboard.write([new ClipboardItem({ "text/plain": blob })]);
    done = true;
  } catch {
    done = await Promise.resolve(source).then(copyBySelection, () => false);
  }
  const face = from.textContent;
  from.textContent = done ? "Copied" : "Not copied";
  setTimeout(() => (from.textContent = face), 1200);
}

/** Without HTTPS (and not on localhost) a browser has no clipboard API; then the text is selected and copied. */
function copyBySelection(text) {
  const area = h("textarea", { class: "kimi-offscreen", readonly: true });
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

/** The accent of the lane at this index, from 0, as a CSS value (kimi_ui/view/lane_colours.py has six). */
export const laneAccent = (place) => `var(--kimi-lane-${place % 6})`;

/** The box the next prompt is written in; null where the page has none. @returns {HTMLTextAreaElement | null} */
export const promptBox = () => document.querySelector("#prompt textarea");

/** The element with the keyboard focus. @returns {HTMLElement | null} */
export const focusedElement = () => /** @type {HTMLElement | null} */ (document.activeElement);

/** Whether nothing has the keyboard focus, as when what had it is gone. Else the reader is there, and typing perhaps. */
export const isFocusLost = () => !document.activeElement || document.activeElement === document.body;

export const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/**
 * Call it in a popover's `beforetoggle` event: as the popover opens, the element gets the focus. `focus()` in the `toggle`
 * event, which follows later, would take the focus from an element that was chosen meanwhile.
 *
 * @param {Element} element inside the popover
 * @param {boolean} gets false: another element gets it
 */
export const focusAsPopoverOpens = (element, gets = true) => setAttribute(element, "autofocus", gets ? "" : null);

/** Place an open popover above its button, whose box is `at`, or below where there is more room, inside the window. */
export function placeBeside(panel, at) {
  const above = at.top > window.innerHeight - at.bottom;
  const top = above ? at.top - panel.offsetHeight - GAP_PX : at.bottom + GAP_PX;
  const most = (size, own) => Math.max(GAP_PX, size - own - GAP_PX);
  panel.style.top = `${Math.min(Math.max(GAP_PX, top), most(window.innerHeight, panel.offsetHeight))}px`;
  panel.style.left = `${Math.min(Math.max(GAP_PX, at.left), most(window.innerWidth, panel.offsetWidth))}px`;
}

/**
 * The page's one polite live region. Changes at the same moment are announced together, each once: if the text of a
 * region is replaced before it was read, the first one is lost.
 */
export class Announcer {
  constructor() {
    this.element = h("div", { class: "kimi-offscreen", id: "announcements", role: "status", "aria-live": "polite" });
    this.waiting = [];
    this.timer = 0;
  }

  say(text) {
    this.waiting.push(text);
    this.timer ||= setTimeout(() => {
      this.timer = 0;
      setText(this.element, this.waiting.splice(0).join(". "));
    }, TOGETHER_MS);
  }
}
