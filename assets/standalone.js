/**
 * The exported page: its turns as they ended, each with its replay. Opened from a file, without a server: the document
 * holds whatever the page's parts would request from a server (kimi_ui/view/export_page.py).
 */
import { copyFrom, h } from "./base/dom.js";
import { copyCodeOnClick } from "./lane/markdown.js";
import { Replay } from "./turn/replay.js";
import { TurnRow } from "./turn/turn.js";

const held = JSON.parse(document.getElementById("kimi-export").textContent);
window.fetch = async (url) => {
  const route = Object.keys(held.routes).find((path) => String(url).endsWith(path)); // whatever the file's own address
  return new Response(held.routes[route] ?? "", { status: route ? 200 : 404 });
};

const page = h("div", { class: "kimi standalone-turns" });
copyCodeOnClick(page, copyFrom);
document.querySelector("main").append(page);
for (const [place, turn] of held.replays.entries()) show(turn, place < held.replays.length - 1);

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark", dark.matches);
dark.addEventListener("change", follow);
follow();

/** A turn as it ended; its replay is shown in its place. `past`: other turns follow it. */
function show(document, past) {
  let focused = null;
  const drawn = (next) => {
    if (past) next.retire();
    next.focusLane(focused);
    row = next;
  };
  const actions = {
    stop: () => {}, retry: () => {}, refresh: () => {}, opened: () => {}, announce: () => {},
    focus: (lane) => {
      focused = focused === lane ? null : lane;
      row.focusLane(focused);
    },
    attempt: () => Promise.resolve(null),
    answerText: (lane) => Promise.resolve(document.answers[lane] ?? ""),
    replay: () => watch(),
  };
  let row = null;
  const ended = new TurnRow(document.turn, actions);
  drawn(ended);
  page.append(ended.element);
  const whole = document.wholes.at(-1) ?? { after: 0, frame: { lanes: {} } };
  const rest = document.frames.slice(whole.after).map(({ frame }) => frame);
  ended.applyAll([whole.frame, ...rest].map((frame) => ({ ...frame, now_ms: null })), false);

  function watch() {
    const replay = new Replay(document, { ...actions, replay: null }, {
      drawn,
      onclose: () => {
        replay.close();
        replay.element.replaceWith(ended.element);
        row = ended;
        row.focusLane(focused);
        row.element.querySelector('[data-action="replay"]').focus();
      },
    });
    ended.element.replaceWith(replay.element);
    replay.playButton.focus();
    replay.play();
  }
}
