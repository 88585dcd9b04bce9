/** The search in a list of a provider's models, which the settings drawer and the Lanes tab have. */
import { count } from "./format.js";

/** The models whose names have every word of the search. */
export function matching(models, search) {
  const words = search.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  return models.filter((model) => words.every((word) => model.toLocaleLowerCase().includes(word)));
}

/** What to say below the list: `found` of the `models` match, and `most` are shown. */
export function searchStatus(models, found, most) {
  if (!models.length) return "The provider lists no models.";
  if (!found.length) return "No model of that name.";
  return found.length > most ? `${count(found.length - most)} more: search to find them.` : "";
}

/** Enter takes the first of the `list`, Escape closes it; neither is the form's. */
export function searchKey(event, list, close) {
  if (event.key === "Enter") list.querySelector("button")?.click();
  else if (event.key === "Escape") close();
  else return;
  event.preventDefault();
  event.stopPropagation();
}
