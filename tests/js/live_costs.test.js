import assert from "node:assert/strict";
import { test } from "node:test";

import { LiveCosts } from "../../assets/composer/live_costs.js";

const cost = (attempt, usd, running, estimated = false) => ({ attempt, usd, running, estimated });

test("an attempt counts while it runs and until the log's sums include it", () => {
  const live = new LiveCosts();
  live.see(cost("a", 0.1, true));
  live.see(cost("a", 0.2, true, true));
  assert.deepEqual(live.sum, { usd: 0.2, estimated: true });
  assert.deepEqual(live.ended, []);
  live.see(cost("a", 0.3, false));
  assert.deepEqual(live.sum, { usd: 0.3, estimated: false });
  const ended = live.ended; // the sums are read now
  live.see(cost("b", 0.5, true));
  live.see(cost("b", 0.5, false)); // it ended while they were read
  live.forget(ended);
  assert.deepEqual(live.sum, { usd: 0.5, estimated: false });
});

test("an attempt that had ended before it was seen is in the log's sums", () => {
  const live = new LiveCosts();
  live.see(cost("a", 0.1, false));
  assert.deepEqual(live.sum, { usd: 0, estimated: false });
});

test("an unknown cost adds nothing", () => {
  const live = new LiveCosts();
  live.see(cost("a", null, true));
  live.see(cost("b", 0.2, true));
  assert.deepEqual(live.sum, { usd: 0.2, estimated: false });
});
