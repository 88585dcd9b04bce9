import assert from "node:assert/strict";
import { test } from "node:test";

import { RaceLane } from "../../assets/turn/race_lane.js";

function laneAfter(...parts) {
  const lane = new RaceLane();
  for (const part of parts) lane.apply(part);
  return lane;
}

const phases = (lane, now = null) => lane.phases(now).map(({ kind, from, to }) => [kind, from, to]);
const sent = (sentMs, attemptNo = 1) => ({ sent_ms: sentMs, attempt_no: attemptNo });

test("the server's own durations are parts of the wait, also where headers come with the first token", () => {
  const stamps = { first_token_ms: 1000, first_answer_ms: 1000, last_token_ms: 3000, end_ms: 3010 };
  const race = { connect_ms: 990, load_ms: 600, prompt_ms: 300 };
  assert.deepEqual(phases(laneAfter({ attempt: sent(10), stamps, race })), [
    ["ready", 0, 10], ["connect", 10, 110], ["load", 110, 710], ["prompt", 710, 1010], ["answer", 1010, 3010],
  ]);
});

test("a queue at the server is a part of the wait of its own", () => {
  const stamps = { first_token_ms: 3100, first_answer_ms: 3100, last_token_ms: 4000, end_ms: 4010 };
  const race = { connect_ms: 3090, server_queue_ms: 2000, load_or_wait_ms: 500, load_ms: 400, prompt_ms: 100 };
  assert.deepEqual(phases(laneAfter({ attempt: sent(0), stamps, race })), [
    ["connect", 0, 100], ["queue", 100, 2100], ["unsplit", 2100, 2600], ["load", 2600, 3000], ["prompt", 3000, 3100], ["answer", 3100, 4000],
  ]);
});

test("a retry begins after the earlier attempts and replaces them", () => {
  const stamps = { first_token_ms: 400, first_reasoning_ms: 400, end_ms: 900, last_token_ms: 850 };
  const lane = laneAfter({ attempt: sent(10), race: { points: [1, 2] } }, { attempt: sent(5000, 2), stamps, race: { connect_ms: 100 } });
  assert.deepEqual(phases(lane), [["earlier", 0, 5000], ["connect", 5000, 5100], ["wait", 5100, 5400], ["think", 5400, 5850]]);
  assert.deepEqual(lane.points, []);
});

test("the last phase of a running attempt lasts until now", () => {
  assert.deepEqual(phases(laneAfter(), 700), []);
  assert.deepEqual(phases(laneAfter({ attempt: sent(100) }), 700), [["ready", 0, 100], ["connect", 100, 700]]);
  const thinking = laneAfter({ attempt: sent(100), stamps: { first_token_ms: 200, first_reasoning_ms: 200 }, race: { connect_ms: 50 } });
  assert.deepEqual(phases(thinking, 700), [["ready", 0, 100], ["connect", 100, 150], ["wait", 150, 300], ["think", 300, 700]]);
});

test("the phases of heavy are sending, drafting and waiting for the aggregation", () => {
  const trajectories = Object.fromEntries([0, 1, 2].map((k) => [k, { attempt: sent(2), stamps: { end_ms: 500 + 100 * k } }]));
  const stamps = { first_token_ms: 50, first_reasoning_ms: 800, first_answer_ms: 900, last_token_ms: 950 };
  const heavy = laneAfter({ attempt: sent(0), stamps, race: { aggregating_ms: 720 }, trajectories });
  assert.deepEqual(phases(heavy), [["fan", 0, 50], ["drafts", 50, 720], ["wait", 720, 800], ["think", 800, 900], ["answer", 900, 950]]);
  assert.equal(heavy.slowest(), "2");
  assert.equal(laneAfter({ attempt: sent(0), race: { aggregating_ms: 650 }, trajectories }).slowest(), "1");
  assert.equal(laneAfter({ attempt: sent(0) }).slowest(), null);
});

const STAMPS = { first_token_ms: 100, first_reasoning_ms: 100, first_answer_ms: 500.04 };
const PART = { attempt: sent(0), stamps: STAMPS, race: { points: [100, 0, 300, 40, 499, 80, 500, 90, 900, 180] } };

test("curves end at the lane's tokens, reasoning and answer each by their own count", () => {
  const [curve] = laneAfter({ ...PART, metrics: { output_tokens: 60, reasoning_tokens: 40 } }).curves();
  assert.deepEqual(curve.think, [[100, 0], [300, 20], [499, 40], [500.04, 40]]);
  assert.deepEqual(curve.answer, [[500.04, 40], [500, 42], [900, 60]]);
});

test("hidden reasoning tokens are at the start of the curve, not in the answer's slope", () => {
  const stamps = { first_token_ms: 100, first_answer_ms: 100 };
  const [curve] = laneAfter({ ...PART, stamps, metrics: { output_tokens: 60, reasoning_tokens: 40 } }).curves();
  assert.deepEqual([curve.think, curve.answer[0], curve.answer.at(-1)], [[], [100, 40], [900, 60]]);
});

test("heavy's token count is that of all its streams", () => {
  const draft = { attempt: sent(0), stamps: { first_token_ms: 1 }, race: { points: [1, 0, 9, 20] } };
  const curves = laneAfter({ ...PART, metrics: { output_tokens: 100 }, trajectories: { 0: draft } }).curves();
  assert.deepEqual(curves.map(({ k }) => k), ["0", null]);
  assert.ok(Math.abs(curves[0].think.at(-1)[1] + curves[1].answer.at(-1)[1] - 100) < 1e-9);
});

test("without tokens there is no curve, and counts of this app are estimates", () => {
  assert.deepEqual(laneAfter(PART).curves(), []);
  assert.equal(laneAfter({ ...PART, metrics: { output_tokens: 1, token_source: "usage" } }).estimated, false);
  assert.equal(laneAfter({ ...PART, metrics: { output_tokens: 1, token_source: "tokenizer" } }).estimated, true);
});

test("apply returns whether the race has anything new to draw", () => {
  assert.equal(new RaceLane().apply({ reasoning: "words" }), false);
  assert.equal(new RaceLane().apply({ attempt: sent(0) }), true);
});

test("a wait in the app's queue is a segment of its own before the sending, and grows while it lasts", () => {
  const joined = { attempt: { ...sent(100), queue_ms: null }, phase: "queued" };
  assert.deepEqual(phases(laneAfter(joined), 700), [["ready", 0, 100], ["queue", 100, 700]]);
  const left = { sent: { sent_ms: 900, queue_ms: 800 }, phase: "connecting" };
  assert.deepEqual(phases(laneAfter(joined, left), 1000), [["ready", 0, 100], ["queue", 100, 900], ["connect", 900, 1000]]);
  const stored = { attempt: { ...sent(900), queue_ms: 800 }, stamps: { first_token_ms: 50, first_answer_ms: 50, last_token_ms: 90, end_ms: 91 } };
  assert.deepEqual(phases(laneAfter(stored)), [["ready", 0, 100], ["queue", 100, 900], ["connect", 900, 950], ["answer", 950, 990]]);
});
