/**
 * What the parts of the chat tell each other. Events: `conversation` (another one is shown, or it has grown by a turn),
 * `began` and `ended` (a lane of the shown turn answers, none does any more), `settings` (of the shown conversation), `budget` (the person's), `open` (show
 * the conversation whose id is the event's `detail`; empty: begin a new one).
 */
class Chat extends EventTarget {
  conversation = ""; // id of the shown conversation, "" before its first prompt

  show(conversation) {
    this.conversation = conversation ?? "";
    this.tell("conversation");
  }

  tell(name, detail = null) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  on(name, listener) {
    this.addEventListener(name, listener);
    return () => this.removeEventListener(name, listener);
  }
}

export const chat = new Chat();

/** To the other tabs of this browser. One channel for the whole page, so that it does not hear itself. */
export const tabs = new BroadcastChannel("kimi");

/**
 * A request to one of the page's own routes. Resolves to its JSON; throws an `Error` whose message is a sentence for the
 * person: the server's own (its `code` says what to do about it, if there is anything), or that it did not answer.
 */
export async function ask(url, { method = "GET", json, body, signal } = {}) {
  const options = { method, body: json === undefined ? body : JSON.stringify(json), signal };
  if (json !== undefined) options.headers = { "Content-Type": "application/json" };
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server did not answer. Try again once it runs.");
  }
  const said = await response.json().catch(() => ({}));
  if (!response.ok) {
    const sentence = said.error ?? `The server refused (HTTP ${response.status}). Reload the page.`;
    throw Object.assign(new Error(sentence), { code: said.code ?? "" });
  }
  return said;
}
