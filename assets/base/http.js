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
