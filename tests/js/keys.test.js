import assert from "node:assert/strict";
import { test } from "node:test";

import { listenToKeys } from "../../assets/base/keys.js";

/** A page with three lanes that records the effects of keys; `dialog`: one is open. */
function pageWith({ dialog = false, active = null, ...state } = {}) {
  const did = [];
  const note = (name, result) => (...given) => {
    did.push([name, ...given].join(" "));
    return result;
  };
  const lane = (id) => ({
    id, running: true, element: { contains: (node) => node === id }, stop: { click: note(`stop ${id}`) },
    reasoning: { open: false }, toggleThinking: note(`thinking ${id}`),
  });
  const lanes = new Map(["a", "b", "c"].map((id) => [id, lane(id)]));
  const page = {
    visible: true, narrow: false, running: false, focusedLane: null, composer: null,
    shown: { lanes, shownLane: lanes.get("c"), element: { parentElement: { querySelector: () => ({ click: note("replay") }) } } },
    focusLane: note("focus"), endReplay: note("endReplay", false), stop: note("stop all"), openShortcuts: note("shortcuts"),
    ...state,
  };
  let listener;
  globalThis.document = {
    activeElement: active,
    addEventListener: (_, added) => (listener = added),
    querySelector: (selector) => (selector.startsWith("dialog") ? (dialog ? {} : null) : { focus: note("prompt") }),
  };
  listenToKeys(page);
  const press = (key, { field = null, ...more } = {}) => {
    did.length = 0;
    let prevented = false;
    listener({ key, target: { closest: () => field }, preventDefault: () => (prevented = true), ...more });
    assert.ok(prevented || !did.length, "a key that does something does nothing else");
    return did.join(", ");
  };
  return { page, lanes, press };
}

const prompt = { closest: (selector) => selector === "#prompt", blur: () => {} };
const search = { closest: () => null };

test("digits widen a lane, and letters do what the buttons do", () => {
  const { press } = pageWith();
  assert.equal(press("1"), "focus a");
  assert.equal(press("3"), "focus c");
  assert.equal(press("/"), "prompt");
  assert.equal(press("?"), "shortcuts");
  assert.equal(press("r"), "replay");
  assert.equal(press("x"), "");
});

test("without a lane in focus T opens or folds all lanes", () => {
  const { press, lanes } = pageWith();
  assert.equal(press("T"), "thinking a true, thinking b true, thinking c true");
  lanes.get("b").reasoning.open = true;
  assert.equal(press("t"), "thinking a false, thinking b false, thinking c false");
});

test("T and S act on the widened lane, the one with the keyboard focus, or the one a narrow screen shows", () => {
  assert.equal(pageWith({ focusedLane: "b" }).press("t"), "thinking b true");
  assert.equal(pageWith({ active: "a" }).press("s"), "stop a");
  assert.equal(pageWith({ narrow: true }).press("s"), "stop c");
  const { press, lanes } = pageWith({ focusedLane: "b" });
  lanes.get("b").running = false;
  assert.equal(press("s"), "");
});

test("Escape closes one thing at a time", () => {
  const composer = { closeOpen: () => true, editing: false };
  assert.equal(pageWith({ composer, running: true }).press("Escape", { field: prompt }), "");
  assert.equal(pageWith({ focusedLane: "a", running: true }).press("Escape"), "focus ");
  assert.equal(pageWith({ running: true }).press("Escape"), "endReplay, stop all");
  assert.equal(pageWith({ running: true }).press("Escape", { field: prompt }), "endReplay, stop all");
});

test("shortcuts do nothing while typing, with a modifier, behind a dialog or on another tab of the page", () => {
  const { press } = pageWith();
  assert.equal(press("s", { field: prompt }), "");
  assert.equal(press("Escape", { field: search }), "");
  for (const held of ["ctrlKey", "metaKey", "altKey", "isComposing", "defaultPrevented"]) assert.equal(press("t", { [held]: true }), "");
  assert.equal(pageWith({ dialog: true }).press("t"), "");
  assert.equal(pageWith({ visible: false }).press("t"), "");
});
