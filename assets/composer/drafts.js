/**
 * What is written and not sent yet, for each conversation; "" is one that has not begun. Kept in this tab, also over a
 * refresh, unless the browser refuses to store it.
 */
const KEY = "kimi.draft:"; // and the conversation's id
const BASIS = "kimi.basis:";
const PERSON = "kimi.person";
const MAX_CHARS = 1_000_000;

/** Drop what another person than that of `state` has written in this tab; null: there are no accounts. Returns it. */
export function forDrafts(state) {
  const { person } = state;
  storage((drafts) => {
    const before = drafts.getItem(PERSON);
    if (!person || before === person) return;
    const written = Object.keys(drafts).filter((key) => key.startsWith(KEY) || key.startsWith(BASIS));
    if (before) for (const key of written) drafts.removeItem(key);
    drafts.setItem(PERSON, person);
  });
  return state;
}

export function draftOf(conversation) {
  return storage((drafts) => drafts.getItem(KEY + conversation)) ?? "";
}

export function keepDraft(conversation, text) {
  if (text.length > MAX_CHARS) return;
  storage((drafts) => (text ? drafts.setItem(KEY + conversation, text) : drafts.removeItem(KEY + conversation)));
}

/** The lane whose answer the conversation's next prompt goes on from in all lanes; null: each from its own. */
export function basisOf(conversation) {
  return JSON.parse(storage((drafts) => drafts.getItem(BASIS + conversation)) ?? "null");
}

export function keepBasis(conversation, basis) {
  storage((drafts) => (basis ? drafts.setItem(BASIS + conversation, JSON.stringify(basis)) : drafts.removeItem(BASIS + conversation)));
}

/** A text was sent that may be the beginning of the conversation's draft. */
export function takeFromDraft(conversation, sent) {
  const draft = draftOf(conversation);
  if (draft.startsWith(sent)) keepDraft(conversation, draft.slice(sent.length).trimStart());
}

function storage(use) {
  try {
    return use(sessionStorage);
  } catch {
    return null;
  }
}
