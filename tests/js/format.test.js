import assert from "node:assert/strict";
import { test } from "node:test";

import { about, bytes, count, rate, seconds, tokens, usd } from "../../assets/base/format.js";

test("an unknown number is a dash, never 0", () => {
  for (const write of [about, bytes, count, rate, seconds, usd]) {
    assert.equal(write(null), "–");
    assert.equal(write(undefined), "–");
  }
  assert.equal(tokens(null), "– tokens");
});

test("times are in seconds, from 100 s in minutes", () => {
  assert.equal(seconds(0), "0.0 s");
  assert.equal(seconds(842, 2), "0.84 s");
  assert.equal(seconds(99_940), "99.9 s");
  assert.equal(seconds(185_000), "3 m 05 s");
  assert.equal(seconds(-5), "0.0 s");
});

test("counts, estimates, rates and bytes", () => {
  assert.equal(count(1024), "1,024");
  assert.equal(about(98_412), "~98,400");
  assert.equal(tokens(1), "1 token");
  assert.equal(tokens(412), "412 tokens");
  assert.equal(rate(9.94), "9.9 tok/s");
  assert.equal(rate(104.4), "104 tok/s");
  assert.equal(bytes(999), "999 B");
  assert.equal(bytes(12_345_678), "12.3 MB");
});

test("small amounts of money keep enough digits, and zero is $0", () => {
  assert.equal(usd(0), "$0");
  assert.equal(usd(0.00001), "<$0.0001");
  assert.equal(usd(0.0123), "$0.0123");
  assert.equal(usd(3.5), "$3.50");
});
