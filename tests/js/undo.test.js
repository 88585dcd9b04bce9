import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { install } from "./elements.js";

install();
const { UndoLine } = await import("../../assets/sidebar/undo.js");

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
});

/** A line on which the pointer is or is not, and what was called. */
function line() {
  const undo = new UndoLine();
  const called = [];
  const pointer = { on: false };
  undo.element.matches = () => pointer.on;
  const offer = (key, ms) => undo.offer(key, ms, { text: `Deleted ${key}`, undo: () => called.push(`undo ${key}`), over: () => called.push(`over ${key}`) });
  return { undo, called, pointer, offer };
}

test("the newest offer is shown, and the one before it once that is over", () => {
  const { undo, called, offer } = line();
  offer("a", 10_000);
  offer("b", 4000);
  assert.deepEqual([undo.element.hidden, undo.text.textContent], [false, "Deleted b"]);
  mock.timers.tick(4000);
  assert.deepEqual([called, undo.text.textContent], [["over b"], "Deleted a"]);
  assert.equal(undo.undo(), true);
  mock.timers.tick(20_000);
  assert.deepEqual([called, undo.element.hidden, undo.undo()], [["over b", "undo a"], true, false]);
});

test("an offer does not end under the pointer or the focus", () => {
  const { called, pointer, offer } = line();
  offer("a", 10_000);
  pointer.on = true;
  mock.timers.tick(60_000);
  assert.deepEqual(called, []);
  pointer.on = false;
  mock.timers.tick(2000);
  assert.deepEqual(called, ["over a"]);
});

test("a page that is closed decides nothing", () => {
  const { undo, called, offer } = line();
  offer("a", 10_000);
  undo.close();
  mock.timers.tick(60_000);
  assert.deepEqual(called, []);
});
