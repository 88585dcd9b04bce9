import assert from "node:assert/strict";
import { test } from "node:test";
import { atPlace, folds, pairOf, stepped } from "../../assets/compare/places.js";

test("the first pair is of two lanes, else of one lane's first two answers", () => {
  const heavy = [{ id: "h", lane: "H" }, { id: "h/0", lane: "H" }];
  assert.deepEqual(pairOf([...heavy, { id: "k", lane: "K" }]), ["h", "k"]);
  assert.deepEqual(pairOf(heavy), ["h", "h/0"]);
});

test("a long run of equal rows is folded between its ends", () => {
  const same = { same: true, chars: 600 };
  const other = { same: false, chars: 600 };
  assert.deepEqual(folds([other, same, same, same, same, same, other]), [{ first: 2, last: 4, chars: 1800 }]);
  assert.deepEqual(folds([same, same, same, other, same, same, same, same, same]), [{ first: 5, last: 7, chars: 1800 }]);
  assert.deepEqual(folds([same, same, same]), []);
  assert.deepEqual(folds(Array(9).fill({ same: true, chars: 10 })), []);
  assert.deepEqual(folds([]), []);
});

test("steps go round", () => {
  assert.deepEqual([1, 2, 3, 1], [0, 1, 2, 3].map((at) => stepped(at, 1, 3)));
  assert.deepEqual([3, 3, 1, 2], [0, 1, 2, 3].map((at) => stepped(at, -1, 3)));
});

test("the place is said in words", () => {
  assert.equal(atPlace(0, 1, false), "1 difference");
  assert.equal(atPlace(0, 0, false), "0 differences");
  assert.equal(atPlace(3, 9, false), "Difference 3 of 9");
  assert.equal(atPlace(2, 4, true), "Match 2 of 4");
});
