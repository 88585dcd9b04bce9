/**
 * The header of a reasoning panel: `headerFacts` is the state of an attempt at a moment, `headerLine` is its text.
 * Pure.
 *
 * @import { Stamps } from "../base/protocol"
 */
import { seconds, tokens } from "../base/format.js";

const NO_REASONING = "This model does not expose its reasoning";

/**
 * From an attempt's stamps and the turn's clock; all times in ms.
 *
 * @param {{ stamps: Stamps, sent: number, phase: string, reasoningTokens?: number | null, reasoningEstimated?: boolean }} attempt
 * @param {number | null} now since the turn began; null: no clock
 * @param {{ answered: boolean, heavy?: boolean }} seen
 */
export function headerFacts({ stamps, sent, phase, reasoningTokens, reasoningEstimated }, now, { answered, heavy = false }) {
  const local = now === null ? stamps.end_ms ?? 0 : now - sent;
  const first = stamps.first_reasoning_ms ?? stamps.first_token_ms ?? null;
  const ended = stamps.end_ms !== undefined && stamps.end_ms !== null;
  const until = stamps.first_answer_ms ?? (ended ? stamps.last_token_ms ?? stamps.end_ms : null);
  return {
    phase,
    waiting: local,
    thinking: first === null ? null : local - first,
    thinkingEnded: first !== null && until !== null && until !== undefined ? until - first : null,
    reasoningTokens,
    reasoningEstimated,
    answered,
    ended,
    heavy,
  };
}

/**
 * `shown`: whether the panel has any text. `state`: waiting | thinking | thought | none; `over`: no more text follows.
 *
 * @param {ReturnType<typeof headerFacts>} facts
 * @param {boolean} shown
 */
export function headerLine({ phase, waiting, thinking, thinkingEnded, reasoningTokens, reasoningEstimated, answered, ended, heavy }, shown) {
  if (shown) {
    const counted = `${reasoningEstimated ? "~" : ""}${tokens(reasoningTokens)}`;
    const amount = reasoningTokens && !heavy ? ` · ${counted}` : ""; // heavy's count is that of all its streams together
    return thinkingEnded === null
      ? { state: "thinking", title: `Thinking ${seconds(thinking)}${amount}` }
      : { state: "thought", title: `Thought for ${seconds(thinkingEnded)}${amount}` };
  }
  if (heavy && thinking !== null) return { state: answered || ended ? "none" : "waiting", title: "The reasoning is in the trajectories" };
  if (answered) return { state: "none", title: NO_REASONING };
  if (ended || phase === "interrupted") return { state: "none", title: "No reasoning came" }; // interrupted before it was sent
  if (phase === "idle") return { state: "none", title: "Reasoning appears here as it is written" };
  if (phase === "thinking") return { state: "waiting", title: `Thinking ${seconds(thinking)}` };
  return { state: "waiting", title: `${phase === "queued" ? "Queued" : "Waiting"} ${seconds(waiting)}` };
}
