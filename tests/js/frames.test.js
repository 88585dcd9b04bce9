import assert from "node:assert/strict";
import { test } from "node:test";

import { merged, since } from "../../assets/base/frames.js";

/** A seeded random generator (mulberry32). */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Frames as the server makes them: attempts, text, blocks and tails, steps that come, change and go, trajectories. */
function frames(next, n) {
  const made = [{ turn: { turn_id: "t" }, now_ms: 0, lanes: { a: { phase: "connecting" }, b: { phase: "connecting" } } }];
  let serial = 0;
  const attempt = () => ({ attempt: { attempt_id: `x${++serial}`, sent_ms: serial } });
  const child = () => {
    const kinds = [{ text: `t${++serial} ` }, { reasoning: `r${++serial} ` }, { answer: `<p>${++serial}</p>` }, { tokens: ++serial }, { clear_answer: true }];
    return kinds[Math.floor(next() * kinds.length)];
  };
  const part = () => {
    const kinds = [
      () => ({ reasoning: `r${++serial} ` }),
      () => ({ blocks: [`<p>${++serial}</p>`], tail: `<p>open ${serial}` }),
      () => ({ tail: `<p>open ${++serial}` }),
      () => ({ append: ` more${++serial}` }),
      () => ({ steps: [{ i: Math.floor(next() * 5), label: `s${++serial}` }] }),
      () => ({ steps: [{ i: Math.floor(next() * 5), dropped: true }] }),
      () => ({ race: { points: [++serial, serial * 3] } }),
      () => ({ race: { connect_ms: ++serial } }),
      () => ({ metrics: { output_tokens: ++serial }, stamps: { first_token_ms: serial } }),
      () => ({ trajectories: { [Math.floor(next() * 3)]: { phase: "thinking", ...child() } } }),
      () => ({ trajectories: { [Math.floor(next() * 3)]: { ...attempt(), phase: "connecting" } } }),
      () => ({ clear_answer: true, reasoning: `r${++serial} ` }),
      () => ({ clear_answer: true, tail: `<p>again ${++serial}` }),
      () => ({ blocks: [], tail: "", whole: `<p>all ${++serial}</p>`, phase: "done" }),
    ];
    return next() < 0.04 ? { ...attempt(), phase: "connecting" } : kinds[Math.floor(next() * kinds.length)]();
  };
  const whole = new Set(); // lanes with a whole answer: it is cleared before anything is added to it
  for (let i = 1; i < n; i += 1) {
    const id = next() < 0.5 ? "a" : "b";
    const news = part();
    if (news.attempt || news.clear_answer) whole.delete(id);
    if (whole.has(id) && ("tail" in news || "append" in news)) continue;
    if (news.whole) whole.add(id);
    made.push({ now_ms: i, lanes: { [id]: news } });
  }
  return made;
}

const copy = (value) => JSON.parse(JSON.stringify(value));
const sum = (list) => list.reduce((total, frame) => merged(total, copy(frame)), null);

/** What a page shows after a sum: an answer as one text; empty lists are left out. */
function shown(total) {
  const part = ({ blocks = [], tail = "", append = "", whole, steps = [], race, trajectories = {}, clear_answer, ...rest }) => ({
    ...rest,
    answer_html: whole ?? [...blocks, tail, append].join("|"),
    steps: [...steps].sort((one, other) => one.i - other.i),
    race: { points: [], ...race },
    trajectories: Object.fromEntries(Object.entries(trajectories).map(([k, child]) => [k, part(child)])),
  });
  return { turn: total.turn, now_ms: total.now_ms, lanes: Object.fromEntries(Object.entries(total.lanes).map(([id, lane]) => [id, part(lane)])) };
}

test("a sum and the frame since it add up to the later sum", () => {
  for (let seed = 1; seed <= 300; seed += 1) {
    const next = random(seed);
    const all = frames(next, 60);
    const cut = 1 + Math.floor(next() * (all.length - 1));
    const [early, late] = [sum(all.slice(0, cut)), sum(all)];
    const news = since(copy(early), copy(late));
    assert.deepEqual(shown(merged(early, copy(news))), shown(late), `seed ${seed}, cut ${cut}`);
  }
});

test("without changes the frame is empty", () => {
  const all = sum(frames(random(7), 80));
  assert.deepEqual(since(copy(all), all).lanes, {});
});

test("a sum does not change the frames it is made of", () => {
  const list = frames(random(3), 60);
  const before = copy(list);
  list.reduce(merged, null);
  assert.deepEqual(list, before);
});

test("a frame with a turn begins a new sum", () => {
  const [first, second] = [frames(random(1), 40), frames(random(2), 40)];
  assert.deepEqual(sum([...first, ...second]), sum(second));
});

test("a tab that has no text yet begins again where another one has it", () => {
  const attempt = { attempt_id: "x", sent_ms: 0 };
  const before = { lanes: { a: { attempt, later: { chars: 3 } } } };
  const after = { lanes: { a: { attempt, reasoning: "abc" } } };
  assert.deepEqual(since(before, after).lanes.a, after.lanes.a);
  assert.deepEqual(since(before, before).lanes, {});
});
