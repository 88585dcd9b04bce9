import assert from "node:assert/strict";
import { test } from "node:test";

import { headerFacts, headerLine } from "../../assets/lane/reasoning_header.js";

/** The header of an attempt that was sent 500 ms into the turn, at `now` ms of the turn's clock. */
function header(stamps, { phase = "waiting", now = null, shown = false, answered = false, heavy = false, tokens = null, estimated = false } = {}) {
  const attempt = { stamps, sent: 500, phase, reasoningTokens: tokens, reasoningEstimated: estimated };
  const { state, title } = headerLine(headerFacts(attempt, now, { answered, heavy }), shown);
  return [state, title];
}

test("the header shows waiting, thinking and the thinking time", () => {
  assert.deepEqual(header({}, { now: 1900 }), ["waiting", "Waiting 1.4 s"]);
  const thinking = { first_token_ms: 1000, first_reasoning_ms: 1000 };
  assert.deepEqual(header(thinking, { phase: "thinking", now: 8800, shown: true, tokens: 412 }), ["thinking", "Thinking 7.3 s · 412 tokens"]);
  assert.deepEqual(header(thinking, { phase: "thinking", now: 8800 }), ["waiting", "Thinking 7.3 s"]);
  const thought = { ...thinking, first_answer_ms: 13_400 };
  assert.deepEqual(header(thought, { phase: "answering", now: 20_000, shown: true, answered: true, tokens: 1024 }), ["thought", "Thought for 12.4 s · 1,024 tokens"]);
});

test("tokens counted by this app are marked", () => {
  const stamps = { first_token_ms: 0, first_reasoning_ms: 0, first_answer_ms: 1000 };
  assert.deepEqual(header(stamps, { shown: true, tokens: 7, estimated: true }), ["thought", "Thought for 1.0 s · ~7 tokens"]);
});

test("the thinking time of a cut-off attempt ends with its last token", () => {
  const stamps = { first_token_ms: 100, first_reasoning_ms: 100, last_token_ms: 2100, end_ms: 9000 };
  assert.deepEqual(header(stamps, { phase: "stopped", shown: true }), ["thought", "Thought for 2.0 s"]);
});

test("without reasoning the header says why there is none", () => {
  assert.deepEqual(header({ first_token_ms: 5, first_answer_ms: 5 }, { phase: "answering", now: 900, answered: true }), ["none", "This model does not expose its reasoning"]);
  assert.deepEqual(header({ end_ms: 300 }, { phase: "error" }), ["none", "No reasoning came"]);
  assert.deepEqual(header({}, { phase: "interrupted" }), ["none", "No reasoning came"], "it was never sent");
  assert.deepEqual(header({}, { phase: "idle" }), ["none", "Reasoning appears here as it is written"]);
});

test("heavy's own header refers to its trajectories and shows no tokens", () => {
  const stamps = { first_token_ms: 100, first_reasoning_ms: 100 };
  assert.deepEqual(header(stamps, { phase: "thinking", now: 900, heavy: true }), ["waiting", "The reasoning is in the trajectories"]);
  assert.deepEqual(header({ ...stamps, end_ms: 900 }, { phase: "stopped", heavy: true }), ["none", "The reasoning is in the trajectories"]);
  assert.deepEqual(header(stamps, { phase: "thinking", now: 1600, heavy: true, shown: true, tokens: 99 }), ["thinking", "Thinking 1.0 s"]);
});
