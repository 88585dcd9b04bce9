/** The letter of an answer (A, B, C …), as a chip or a cell: coloured and lettered, so that colour alone says nothing. */
import { h, setAttribute, setFlag, setText } from "../base/dom.js";

const COLOURS = 6;

/** Give an element the colour of a letter as --letter; letters from the seventh on are grey, "" takes it away. */
export function colour(element, letter) {
  if (!letter) return element.style.removeProperty("--letter");
  const place = letter.charCodeAt(0) - 65;
  return element.style.setProperty("--letter", letter.length === 1 && place < COLOURS ? `var(--answer-${place})` : "var(--answer-more)");
}

/** An empty chip; `show(letter, label)` fills it. */
export function letterChip() {
  const chip = h("span", { class: "letter", hidden: true });
  return Object.assign(chip, {
    /** @param {string} letter @param {string} label what it stands for */
    show(letter, label) {
      setFlag(chip, "hidden", !letter);
      setText(chip, letter);
      setAttribute(chip, "title", label ? `Says ${label}` : null);
      colour(chip, letter);
    },
  });
}
