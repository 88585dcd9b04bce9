/** The path at which the page is published: empty at the root; a proxy may put it below a path like `/chat`. */
const ROOT = new URL(".", document.baseURI).pathname.replace(/\/$/, "");

/** The address of one of the page's own routes. */
export const rooted = (path) => ROOT + path;

const TOO_LARGE = "This is more than the server takes at once (4 MB). Send a part of it.";

/**
 * A request to one of the page's own routes, by its path below the root. Resolves to its JSON. Throws an `Error` whose
 * message is a sentence for the user: the server's own (its `code` names what to do and its `key` the field that is wrong,
 * if anything), or that the server did not answer (code `unreachable`).
 *
 * @param {string} url
 * @param {{ method?: string, json?: any, body?: BodyInit, signal?: AbortSignal }} [options] `json` is sent as JSON, `body` as it is
 * @returns {Promise<any>}
 */
export async function ask(url, { method = "GET", json, body, signal } = {}) {
  /** @type {RequestInit} */
  const options = { method, body: json === undefined ? body : JSON.stringify(json), signal };
  if (json !== undefined) options.headers = { "Content-Type": "application/json" };
  let response;
  try {
    response = await fetch(rooted(url), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw Object.assign(new Error("The server did not answer. Try again once it runs."), { code: "unreachable" });
  }
  const content = await response.json().catch(() => ({}));
  if (!response.ok) {
    const sentence = content.error ?? (response.status === 413 ? TOO_LARGE : `The server refused (HTTP ${response.status}). Reload the page.`);
    throw Object.assign(new Error(sentence), { code: content.code ?? "", key: content.key ?? "" });
  }
  return content;
}

/**
 * `ask` for something that costs money. If the server says that it is over budget, `mayPass(question)` resolves to whether
 * to send it all the same; if not, this resolves to null.
 *
 * @param {string} url
 * @param {{ method?: string, json?: any }} options
 * @param {(question: string) => Promise<boolean>} mayPass
 */
export async function askWithinBudget(url, options, mayPass) {
  try {
    return await ask(url, options);
  } catch (error) {
    if (error.code !== "over_budget") throw error;
    return (await mayPass(error.message)) ? ask(overBudget(url), options) : null;
  }
}

/** The address by which the person agrees to exceed the budget. */
export const overBudget = (url) => `${url}${url.includes("?") ? "&" : "?"}over_budget=yes`;
