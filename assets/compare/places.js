/** Places in a comparison, without the document: which pair is shown first, what is folded, which mark is next. */

const FOLD_ROWS = 4; // a run of fewer equal rows, or of fewer characters, is shown whole
const FOLD_CHARS = 1500;

/**
 * The ids of the pair that is shown first: the answers of two lanes, if there are two.
 *
 * @param {{ id: string, lane: string }[]} sources at least two
 */
export function pairOf(sources) {
  const [first] = sources;
  const other = sources.find(({ lane }) => lane !== first.lane) ?? sources[1];
  return [first.id, other.id];
}

/**
 * The runs of equal rows to fold, as places of the first and last row that is hidden. The rows at a run's ends are
 * shown, since they say where the difference beside them is.
 *
 * @param {{ same: boolean, chars: number }[]} rows
 */
export function folds(rows) {
  const found = [];
  let start = 0;
  for (let end = 0; end <= rows.length; end += 1) {
    if (rows[end]?.same) continue;
    const hidden = rows.slice(start + 1, end - 1);
    const chars = hidden.reduce((sum, row) => sum + row.chars, 0);
    if (end - start >= FOLD_ROWS && chars >= FOLD_CHARS) found.push({ first: start + 1, last: end - 2, chars });
    start = end + 1;
  }
  return found;
}

/** The number of the mark `by` steps after mark `at` of `n`, from 1; after the last comes the first. */
export function stepped(at, by, n) {
  if (at === 0 && by < 0) return n;
  return ((at - 1 + by + n) % n) + 1;
}

/** Which mark is the current one, in words. */
export function atPlace(at, n, unlike) {
  const noun = unlike ? "match" : "difference";
  const nouns = unlike ? "matches" : "differences";
  if (at === 0 || n === 0) return `${n} ${n === 1 ? noun : nouns}`;
  return `${noun[0].toUpperCase()}${noun.slice(1)} ${at} of ${n}`;
}
