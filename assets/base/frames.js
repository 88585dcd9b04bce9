/**
 * Frames as values (the protocol is in kimi_ui/view/frames.py): `merged` adds frames up to one that holds everything so
 * far, `since` is the difference between such a sum and an earlier one. Pure.
 *
 * @import { Frame, LanePart, Step } from "./protocol"
 */

/**
 * The sum of `sum` (null: nothing yet), which is changed and returned, and the next frame, which is not changed.
 *
 * @param {Frame | null} sum
 * @param {Frame} frame
 * @returns {Frame}
 */
export function merged(sum, frame) {
  /** @type {Frame} */
  const total = sum === null || frame.turn ? { lanes: {} } : sum;
  if (frame.turn) total.turn = frame.turn;
  total.now_ms = frame.now_ms;
  for (const [id, part] of Object.entries(frame.lanes)) total.lanes[id] = mergedPart(total.lanes[id], part);
  return total;
}

/**
 * The same for one lane's or trajectory's part of a frame. A new attempt begins a new sum.
 *
 * @param {LanePart | undefined} sum
 * @param {LanePart} part
 * @returns {LanePart}
 */
function mergedPart(sum, part) {
  const { reasoning, clear_answer: clear, text, blocks, tail, append, steps, race, trajectories, ...latest } = part;
  /** @type {LanePart} */
  const total = sum === undefined || part.attempt ? {} : sum;
  if (clear) for (const name of ["text", "blocks", "tail", "append", "whole"]) delete total[name];
  Object.assign(total, latest);
  if (reasoning) total.reasoning = (total.reasoning ?? "") + reasoning;
  if (text) total.text = (total.text ?? "") + text;
  if (blocks) {
    total.blocks ??= [];
    total.blocks.push(...blocks);
  }
  if (tail !== undefined) Object.assign(total, { tail, append: "" });
  if (append) total.append = (total.append ?? "") + append;
  if (steps) total.steps = mergedSteps(total.steps ?? [], steps);
  if (race) total.race = { ...total.race, ...race, points: [...(total.race?.points ?? []), ...(race.points ?? [])] };
  for (const [k, child] of Object.entries(trajectories ?? {})) {
    total.trajectories = { ...total.trajectories, [k]: mergedPart(total.trajectories?.[k], child) };
  }
  return total;
}

/**
 * @param {Step[]} sum
 * @param {Step[]} steps
 */
function mergedSteps(sum, steps) {
  const byNumber = new Map(sum.map((step) => [step.i, step]));
  for (const step of steps) byNumber.set(step.i, step);
  return [...byNumber.values()].filter((step) => !step.dropped);
}

/**
 * The frame that turns the sum `before` into the later sum `after` of the same turn.
 *
 * @param {Frame} before
 * @param {Frame} after
 * @returns {Frame}
 */
export function since(before, after) {
  /** @type {Frame["lanes"]} */
  const lanes = {};
  for (const [id, part] of Object.entries(after.lanes)) {
    const news = partSince(before.lanes[id], part);
    if (Object.keys(news).length) lanes[id] = news;
  }
  return { now_ms: after.now_ms, lanes };
}

/**
 * @param {LanePart | undefined} before
 * @param {LanePart} after
 * @returns {LanePart}
 */
function partSince(before, after) {
  if (!before || before.attempt?.attempt_id !== after.attempt?.attempt_id || (before.later && !after.later)) return after;
  const { reasoning = "", text = "", blocks, tail, append, whole, steps = [], race, trajectories = {}, ...latest } = after;
  if (!reasoning.startsWith(before.reasoning ?? "")) return after;
  const news = changed(before, latest);
  Object.assign(news, answerSince(before, after));
  if (text.startsWith(before.text ?? "")) news.text = text.slice(before.text?.length ?? 0);
  else Object.assign(news, { clear_answer: true, text });
  news.reasoning = reasoning.slice(before.reasoning?.length ?? 0);
  news.steps = stepsSince(before.steps ?? [], steps);
  if (race && !same(race, before.race)) news.race = { ...race, points: race.points.slice(before.race?.points.length ?? 0) };
  news.trajectories = {};
  for (const [k, child] of Object.entries(trajectories)) {
    const of = partSince(before.trajectories?.[k], child);
    if (Object.keys(of).length) news.trajectories[k] = of;
  }
  for (const name of ["text", "reasoning", "steps", "trajectories"]) if (!Object.keys(news[name]).length) delete news[name];
  return news;
}

/**
 * @param {LanePart} before
 * @param {LanePart} after
 * @returns {LanePart}
 */
function answerSince(before, { blocks = [], tail, append, whole }) {
  if (whole) return whole === before.whole ? {} : { whole };
  const known = before.blocks ?? [];
  const cleared = before.whole !== undefined || (tail === undefined && (before.tail ?? before.append) !== undefined);
  const goesOn = !cleared && known.every((block, i) => block === blocks[i]);
  if (!goesOn) return given({ clear_answer: true, blocks, tail, append });
  if (tail === before.tail && append === before.append && known.length === blocks.length) return {};
  return given({ blocks: blocks.slice(known.length), tail, append });
}

/**
 * @param {Step[]} before
 * @param {Step[]} steps
 * @returns {Step[]}
 */
function stepsSince(before, steps) {
  const known = new Map(before.map((step) => [step.i, step]));
  const kept = new Set(steps.map(({ i }) => i));
  const dropped = before.filter(({ i }) => !kept.has(i)).map(({ i }) => ({ i, dropped: true }));
  return [...dropped, ...steps.filter((step) => !same(step, known.get(step.i)))];
}

/**
 * The fields of `after` that differ from `before`.
 *
 * @param {LanePart} before
 * @param {LanePart} after
 * @returns {LanePart}
 */
function changed(before, after) {
  return Object.fromEntries(Object.entries(after).filter(([name, value]) => !same(value, before[name])));
}

function given(object) {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
