/**
 * What was spent: one quiet line with the sums of this conversation and of today (UTC), read from the log whenever a
 * turn has ended. Where nothing has a price there is no line.
 */
import { ask, chat } from "./chat.js";
import { h, setAttribute, setText } from "./dom.js";
import { usd } from "./format.js";

export class TotalsLine {
  constructor() {
    this.element = h("p", { class: "totals", id: "totals", hidden: true });
    const back = () => document.hidden || this.refresh(); // another tab may have sent meanwhile
    document.addEventListener("visibilitychange", back);
    this.ends = ["conversation", "ended", "budget"].map((name) => chat.on(name, () => this.refresh()));
    this.ends.push(() => document.removeEventListener("visibilitychange", back));
  }

  close() {
    for (const end of this.ends) end();
    this.asking?.abort();
  }

  async refresh() {
    this.asking?.abort();
    const asking = (this.asking = new AbortController());
    try {
      const spent = await ask(`/kimi/spent?c=${encodeURIComponent(chat.conversation)}`, { signal: asking.signal });
      if (!asking.signal.aborted) this.#show(spent);
    } catch (error) {
      if (error.name !== "AbortError") this.element.hidden = true; // no sum rather than an old one
    }
  }

  #show({ conversation, today }) {
    const shown = [["This conversation", conversation], ["today", today]].filter(([, spent]) => spent);
    this.element.hidden = !shown.some(([, { usd }]) => usd > 0);
    if (this.element.hidden) return;
    setText(this.element, shown.map(([name, spent]) => `${name} ${sum(spent)}`).join(" · "));
    setAttribute(this.element, "title", title(shown.map(([, spent]) => spent)));
  }
}

/** "$0.0123", "~$0.45 of $1.00 (+2 unpriced)". */
function sum({ usd: spent, n_estimated: estimated, n_unknown: unknown, limit_usd: limit }) {
  const parts = [`${estimated ? "~" : ""}${amount(spent)}`];
  if (limit !== null) parts.push(`of ${amount(limit)}`);
  if (unknown) parts.push(`(+${unknown} unpriced)`);
  return parts.join(" ");
}

function amount(dollars) {
  return dollars >= 0.1 ? `$${dollars.toFixed(2)}` : usd(dollars);
}

function title(spent) {
  const begins = new Date();
  begins.setUTCHours(0, 0, 0, 0);
  const here = begins.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const parts = ["What has been spent, all lanes, retries and edited prompts together.", `Today is the day in UTC: since ${here} here, in all your conversations.`];
  if (spent.some((one) => one.n_estimated)) parts.push("~: in part estimated, where a provider did not count the tokens.");
  const unknown = Math.max(...spent.map((one) => one.n_unknown));
  if (unknown) parts.push(unknown === 1 ? "One answer without a price is not in it." : `${unknown} answers without a price are not in it.`);
  return parts.join(" ");
}
