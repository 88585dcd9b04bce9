import assert from "node:assert/strict";
import { test } from "node:test";

import { placeAfter } from "../../assets/lane/markdown.js";

test("a text is cut after a number of lines", () => {
  for (const [text, n, place] of [["a\nb\nc", 1, 2], ["a\nb\nc", 2, 4], ["a\nb\nc", 3, 5], ["a\n", 1, 2], ["abc", 4, 3], ["a\n", 0, 0]]) {
    assert.equal(placeAfter(text, n), place, JSON.stringify([text, n]));
  }
});
