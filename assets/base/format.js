/** Numbers as the page shows them. An unknown number is an en dash, never 0. */

export const UNKNOWN = "–";

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** Milliseconds as "0.84 s", "12.4 s", "3 m 05 s". */
export function seconds(ms, digits = 1) {
  if (ms === null || ms === undefined) return UNKNOWN;
  const s = Math.max(0, ms) / 1000;
  if (s < 100) return `${s.toFixed(digits)} s`;
  const rest = Math.floor(s % 60);
  return `${Math.floor(s / 60)} m ${String(rest).padStart(2, "0")} s`;
}

export function count(n) {
  return n === null || n === undefined ? UNKNOWN : whole.format(n);
}

/** An estimated number, to three figures: "~98,400". */
export function about(n) {
  return n === null || n === undefined ? UNKNOWN : `~${whole.format(Number(n.toPrecision(3)))}`;
}

/** "1 token", "412 tokens". */
export function tokens(n) {
  return `${count(n)} ${n === 1 ? "token" : "tokens"}`;
}

/** An image's size: "1,024 × 768 pixels". */
export function pixels({ width, height }) {
  return `${count(width)} × ${count(height)} pixels`;
}

export function rate(tps) {
  return tps === null || tps === undefined ? UNKNOWN : `${tps < 10 ? tps.toFixed(1) : whole.format(tps)} tok/s`;
}

/** US dollars with enough digits to distinguish small amounts; exactly zero is "$0". */
export function usd(amount) {
  if (amount === null || amount === undefined) return UNKNOWN;
  if (amount === 0) return "$0";
  if (amount < 0.0001) return "<$0.0001";
  return `$${amount < 1 ? amount.toFixed(4) : amount.toFixed(2)}`;
}

/** Bytes as "12.3 MB". */
export function bytes(n) {
  if (n === null || n === undefined) return UNKNOWN;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = n;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit ? value.toFixed(1) : value} ${units[unit]}`;
}
