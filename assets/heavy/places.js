/**
 * Where a piece of Markdown stands in its rendered form. Both are compared by their letters and digits alone, since
 * rendering drops marks and changes white space; a display formula is drawn, so it is found by its number. Painted with
 * the CSS Custom Highlight API; a browser without it paints nothing.
 */
const NAME = "kimi-part";
const SIGNIFICANT = /[\p{L}\p{N}]/u;

/**
 * Paint these pieces in `element`, and nothing else; where one does not stand there, it is left out.
 *
 * @param {Element} element
 * @param {(string | number)[]} pieces texts, and numbers of display formulas from 0
 */
export function paint(element, pieces) {
  if (!window.Highlight || !CSS.highlights) return;
  const ranges = element && pieces.length ? placesOf(element, pieces) : [];
  if (ranges.length) CSS.highlights.set(NAME, new Highlight(...ranges));
  else CSS.highlights.delete(NAME);
}

/**
 * @param {Element} element
 * @param {(string | number)[]} pieces
 * @returns {Range[]}
 */
function placesOf(element, pieces) {
  const nodes = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const at = []; // the node and the place of each significant character
  let all = "";
  for (let node = nodes.nextNode(); node; node = nodes.nextNode()) {
    const text = node.nodeValue;
    for (let i = 0; i < text.length; i += 1) {
      if (!SIGNIFICANT.test(text[i])) continue;
      all += text[i];
      at.push([node, i]);
    }
  }
  const formulas = element.querySelectorAll('math[display="block"]');
  const ranges = [];
  for (const piece of pieces) {
    if (typeof piece === "number") {
      if (formulas[piece]) ranges.push(around(formulas[piece]));
      continue;
    }
    const wanted = significant(piece);
    const found = wanted ? all.indexOf(wanted) : -1;
    if (found < 0) continue;
    const range = document.createRange();
    const [first, last] = [at[found], at[found + wanted.length - 1]];
    range.setStart(first[0], first[1]);
    range.setEnd(last[0], last[1] + 1);
    ranges.push(range);
  }
  return ranges;
}

function around(element) {
  const range = document.createRange();
  range.selectNodeContents(element);
  return range;
}

/** A piece of Markdown without the marks that rendering drops: list numbers, link targets, everything but letters. */
function significant(markdown) {
  const shown = markdown.replace(/^\s*\d{1,9}[.)]\s+/, "").replace(/\]\([^)\s]*\)/g, "]");
  return [...shown].filter((character) => character.length === 1 && SIGNIFICANT.test(character)).join("");
}
