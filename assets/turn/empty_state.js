/** What the page shows before the first prompt: what the app does, example prompts, recorded turns. */
import { h } from "../base/dom.js";
import { ask } from "../base/http.js";

const STARTERS = [
  [
    "SQL",
    "Write a SQL query to find the top 3 users who spent the most money in the last month, but exclude users who refunded more than 50% of their orders.",
  ],
  [
    "Reasoning",
    "Three people check in to a hotel room that costs $30. The clerk should have charged $25, gives $5 to the bellhop to " +
      "return, and he keeps $2. Each guest paid $9, which is $27, plus $2 is $29. Where is the missing dollar?",
  ],
  [
    "Code",
    "Write a Python function that merges overlapping intervals, with its complexity and three tests that would catch a wrong version.",
  ],
  ["Math", "Find the sum of all positive divisors of 360, and show how it follows from the prime factorisation."],
];

/** `onpick(prompt)` puts a prompt into the composer, `onwatch(name)` replays a recorded turn. */
export function emptyState(onpick, onwatch) {
  const examples = h("p", { class: "start-examples", hidden: true }, "Watch an example:");
  offer(examples, onwatch);
  return h(
    "div", { class: "start" },
    h("h2", {}, "One prompt, every model at once"),
    h("p", {}, "Watch each one think, compare the answers, keep the numbers."),
    h("div", { class: "starters" },
      ...STARTERS.map(([kind, prompt]) =>
        h("button", { type: "button", class: "starter", onclick: () => onpick(prompt) },
          h("span", { class: "starter-kind" }, kind), h("span", { class: "starter-text" }, prompt)))),
    examples,
  );
}

/** Recorded turns that are part of the app: they replay without any model. */
async function offer(place, onwatch) {
  const { examples } = await ask("/kimi/examples").catch(() => ({ examples: [] }));
  place.append(...examples.map(({ name, title }) =>
    h("button", { type: "button", class: "quiet start-example", onclick: () => onwatch(name) }, `▶ ${title}`)));
  place.hidden = !examples.length;
}
