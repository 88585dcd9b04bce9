import assert from "node:assert/strict";
import { test } from "node:test";

import { Find } from "../../assets/lane/find.js";
import { LineLog } from "../../assets/lane/lines.js";
import { install } from "./elements.js";

install();

function searched(text, query) {
  const log = new LineLog(document.createElement("div"));
  log.append(text);
  const jumps = [];
  const find = new Find(log, (range) => jumps.push(range.start.offset), () => {});
  find.open();
  find.input.value = query;
  find.search();
  return { find, log, jumps };
}

const offsets = (text, query) => searched(text, query).find.offsets;

test("find ignores case and matches special characters literally", () => {
  assert.deepEqual(offsets("alpha Alpha ALPHA", "aLpHa"), [0, 6, 12]);
  assert.deepEqual(offsets("a.b axb (a.b)*", "a.b"), [0, 9]);
  assert.deepEqual(offsets("x [y] x", "[y]"), [2]);
  assert.deepEqual(offsets("In İzmir: alpha", "alpha"), [10]);
  assert.deepEqual(offsets("anything", ""), []);
});

test("appended text is searched too: a match across the boundary is found, none is found twice", () => {
  const text = "kimi kim ki k beta kimi";
  for (let cut = 1; cut < text.length; cut += 1) {
    const { find, log } = searched(text.slice(0, cut), "kimi");
    log.append(text.slice(cut));
    find.grew();
    assert.deepEqual(find.offsets, [0, 19], `cut ${cut}`);
  }
});

test("matches do not overlap", () => {
  const { find, log } = searched("aaa", "aa");
  log.append("aa");
  find.grew();
  assert.deepEqual(find.offsets, [0, 2]);
});

test("next and previous wrap around, and the count shows the position", () => {
  const { find, jumps } = searched("one two one two one", "one");
  assert.equal(find.status.textContent, "1 of 3");
  find.step(-1);
  assert.equal(find.status.textContent, "3 of 3");
  find.step(1);
  find.step(1);
  assert.deepEqual(jumps, [0, 16, 0, 8]);
});

test("no match is announced, and appended text keeps the position", () => {
  const { find, log } = searched("one", "two");
  assert.equal(find.status.textContent, "no match");
  log.append(" two two");
  find.grew();
  assert.equal(find.status.textContent, "2 found");
  find.step(-1);
  assert.equal(find.status.textContent, "2 of 2");
});
