import assert from "node:assert/strict";
import { test } from "node:test";

import { LineLog } from "../../assets/lane/lines.js";
import { install } from "./elements.js";

install();

function logOf(...pieces) {
  const root = document.createElement("div");
  const log = new LineLog(root);
  for (const piece of pieces) log.append(piece);
  const pages = [...root.children];
  return { log, root, pages, lines: pages.flatMap((page) => [...page.children]).map((line) => line.textContent) };
}

test("each line is an element, whatever pieces the text arrives in", () => {
  for (const pieces of [["one\ntwo\n\nthree"], ["o", "ne\nt", "wo\n", "\nthr", "ee"]]) {
    const { log, lines } = logOf(...pieces);
    assert.deepEqual(lines, ["one\n", "two\n", "\n", "three"]);
    assert.equal(log.text(), "one\ntwo\n\nthree");
    assert.equal(log.length, 14);
  }
});

test("a long line is split after a space and never inside a character", () => {
  const emoji = "\u{1f600}";
  for (const text of [`${"word ".repeat(1000)}end`, "x".repeat(5000), `a${emoji.repeat(3000)}`]) {
    const { lines, root } = logOf(text.slice(0, 777), text.slice(777));
    assert.equal(root.textContent, text);
    assert.ok(lines.length > 2 && lines.every((line) => line.length <= 1500));
    assert.ok(lines.every((line) => line.isWellFormed()));
  }
  assert.ok(logOf("word ".repeat(1000)).lines.every((line) => line.endsWith(" ")));
});

test("pages hold some thousand characters each", () => {
  const { pages } = logOf("a line of the trace\n".repeat(2000));
  assert.equal(pages.length, 2000 * 20 / 4000);
});

test("an offset in the text maps to an offset in a text node", () => {
  const { log } = logOf("one\ntwo\n", "three");
  for (let offset = 0; offset < log.length; offset += 1) {
    const { node, offset: at } = log.locate(offset);
    assert.equal(node.textContent[at], log.text()[offset]);
  }
  const range = log.range(2, 6);
  assert.deepEqual([range.start.node.textContent, range.start.offset], ["one\n", 2]);
  assert.deepEqual([range.end.node.textContent, range.end.offset], ["two\n", 2]);
});

test("a cleared log starts empty", () => {
  const { log, root } = logOf("before");
  log.clear();
  log.append("after");
  assert.deepEqual([log.text(), root.textContent, log.length], ["after", "after", 5]);
});
