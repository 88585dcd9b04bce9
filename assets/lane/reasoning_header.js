/** What the reasoning header says: a function of an attempt's stamps and the turn's clock (ms, null: no clock). */

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
