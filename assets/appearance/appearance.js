/**
 * The page's appearance, remembered in this browser: light, dark or as the system has it, and the size of what is read
 * (prompts, reasoning, answers). Applied as soon as this module is loaded; a menu in the top bar changes it.
 */
import { button, focusAsPopoverOpens, h, setAttribute, setText } from "../base/dom.js";
import { textSize, theme } from "../base/preferences.js";

const SYSTEM = matchMedia("(prefers-color-scheme: dark)");
const THEMES = { auto: "As the system", light: "Light", dark: "Dark" };
const GAP_PX = 6;

let menu = null;

apply();
SYSTEM.addEventListener("change", apply);
// Gradio sets its class by the system when it starts and whenever the system changes.
new MutationObserver(apply).observe(document.body, { attributeFilter: ["class"] });
theme.on(apply);
textSize.on(apply);

/** Put the menu's button into the top bar of the page; `extra`: further elements of the menu. */
export function mountAppearance(...extra) {
  menu?.remove();
  menu = appearanceMenu(extra);
  document.body.append(menu);
}

function apply() {
  document.body.classList.toggle("dark", isDark());
  document.documentElement.style.setProperty("--kimi-text", textSize.value);
}

/** Gradio's own parameter in the address counts until the reader chooses. */
function isDark() {
  if (theme.value !== "auto") return theme.value === "dark";
  const named = new URLSearchParams(location.search).get("__theme");
  return named === "dark" || (named !== "light" && SYSTEM.matches);
}

function appearanceMenu(extra) {
  const themes = h("div", { class: "appearance-choices", role: "radiogroup", "aria-label": "Colours" },
    ...Object.entries(THEMES).map(([value, label]) => h("label", { class: "appearance-choice" },
      h("input", { type: "radio", name: "kimi-theme", value, checked: theme.value === value, onchange: () => theme.set(value) }), label)));
  const size = h("output", { class: "appearance-size", "aria-live": "polite" });
  const smaller = button("Smaller text", () => resize(-1), { face: "A−", class: "quiet" });
  const larger = button("Larger text", () => resize(1), { face: "A+", class: "quiet" });
  const resize = (by) => {
    const { values, value } = textSize;
    const place = values.indexOf(value) + by;
    if (by && values[place]) textSize.set(values[place]);
    setText(size, `${Math.round(100 * Number(textSize.value))} %`);
    smaller.disabled = textSize.value === values[0];
    larger.disabled = textSize.value === values.at(-1);
  };
  resize(0);
  const panel = h(
    "div",
    { class: "appearance-panel", id: "kimi-appearance", popover: "auto", role: "group", "aria-label": "Appearance" },
    h("p", { class: "appearance-name" }, "Colours"),
    themes,
    h("p", { class: "appearance-name" }, "Text size"),
    h("div", { class: "appearance-row" }, smaller, size, larger),
    ...extra,
  );
  const face = h(
    "button",
    {
      type: "button",
      class: "appearance-button",
      popovertarget: "kimi-appearance",
      "aria-expanded": "false",
      "aria-label": "Appearance",
      title: "Appearance",
    },
    h("span", { "aria-hidden": "true" }, "Aa"),
  );
  panel.addEventListener("beforetoggle", () => {
    for (const input of panel.querySelectorAll("input")) focusAsPopoverOpens(input, input.checked);
  });
  panel.addEventListener("toggle", ({ newState }) => {
    setAttribute(face, "aria-expanded", String(newState === "open"));
    if (newState === "open") panel.style.top = `${face.getBoundingClientRect().bottom + GAP_PX}px`;
  });
  return h("div", { class: "kimi", "data-kimi": "appearance" }, face, panel);
}
