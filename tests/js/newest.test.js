import assert from "node:assert/strict";
import { test } from "node:test";

import { Newest } from "../../assets/base/newest.js";

test("only the newest request counts, in whatever order the answers arrive", async () => {
  const requests = new Newest();
  const shown = [];
  const answers = [];
  const load = async (name) => {
    const request = requests.begin();
    await new Promise((resolve) => (answers[name] = resolve));
    if (!request.aborted) shown.push(name);
  };
  const loads = ["first", "second", "third"].map(load);
  for (const name of ["second", "third", "first"]) answers[name]();
  await Promise.all(loads);
  assert.deepEqual(shown, ["third"]);
});

test("a dropped request is outdated, and the next one is not", () => {
  const requests = new Newest();
  requests.drop();
  const dropped = requests.begin();
  assert.equal(dropped.aborted, false);
  requests.drop();
  assert.equal(dropped.aborted, true);
  assert.equal(requests.begin().aborted, false);
});

test("a fetch with the signal of an outdated request is cancelled", async () => {
  const requests = new Newest();
  const request = requests.begin();
  const cancelled = new Promise((resolve) => request.addEventListener("abort", resolve));
  requests.begin();
  await cancelled;
});

test("each user has requests of its own", () => {
  const [one, other] = [new Newest(), new Newest()];
  const request = one.begin();
  other.begin();
  assert.equal(request.aborted, false);
});
