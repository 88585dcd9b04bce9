"""Images from a prompt to the models, by the real clients, and to the log: who gets them, in what form, how long they
are kept."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kimi_ui.core.images import Image, image_of
from kimi_ui.core.lane import LaneSpec
from kimi_ui.core.portable import NotAnExport, import_turns
from kimi_ui.providers.base import Provider
from kimi_ui.providers.heavy import HeavyLane, HeavyProvider
from kimi_ui.providers.images import modalities
from kimi_ui.providers.ollama.provider import Ollama, OllamaLane
from kimi_ui.providers.openai_compatible.provider import OpenAICompatible
from kimi_ui.view.export import export
from kimi_ui.view.failure_words import notes_of
from tests.support.engine_run import running, turns_at
from tests.support.image_files import picture
from tests.support.scripted import ScriptedProvider, thinker
from tests.support.telling import END, A, error, refuse, tell
from tests.support.turns import attempt, ended, tokens, turn
from tests.support.upstream import Upstream
from tests.support.wire import Request, Stream

PNG = picture(size=(2, 1))
DOT = image_of("dot.png", "image/png", 2, 1, PNG)
NOTE = "[Attached image: dot.png (2 × 1 pixels); it was not sent to you: {}]\n\n"
PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(PNG).decode()}}


def test_each_lane_is_sent_what_its_model_takes_and_the_log_says_what(upstream: Upstream) -> None:
    names = {lane: f"m-2000-0-{n}" for n, lane in enumerate(("sees", "reads", "silent", "refuses"), 5)}
    upstream.models = list(names.values())
    upstream.facts = {names["sees"]: {"supports_image_in": True}, names["reads"]: {"input_modalities": ["text"]}}
    upstream.alias("vision:4b", "m-2000-0-20", sees=True)
    upstream.alias("text:4b", "m-2000-0-21")
    refusal = refuse(400, error(f"{names['refuses']} is not a multimodal model"))

    def refuse_images(request: Request) -> Stream:
        has_images = any(isinstance(message["content"], list) for message in request.body["messages"])
        return (refusal if has_images else tell(A("No idea."), *END))(request)

    upstream.script(names["refuses"], refuse_images)
    lanes: list[Provider] = [
        OpenAICompatible(LaneSpec(lane, lane, "openai", model=model, base_url=upstream.base_url))
        for lane, model in names.items()
    ]
    lanes += [
        Ollama(OllamaLane(lane, lane, "ollama", model=f"{lane}:4b", base_url=upstream.ollama_url))
        for lane in ("vision", "text")
    ]
    lanes.append(
        HeavyProvider(HeavyLane("heavy", "heavy", "heavy", of="sees", width=2, quorum=2, preset="full"), lanes[0])
    )

    with running(None, *lanes) as run:
        first = run.engine.send("What is it?", images=[DOT])
        folds = run.folds(first)
        second = run.engine.send("And now?", conversation_id=first.conversation_id)
        run.folds(second)
        run.writer.flush().result()
        stored = run.reader.turn(first.turn_id)
    assert {lane: fold.status for lane, fold in folds.items()} == dict.fromkeys(folds, "ok")
    assert stored.images == (DOT,)

    def asked(lane: str, model: str) -> list[Any]:
        """The messages of both turns: the first one's only, and that one in the history of the second."""
        path = "/api/chat" if lane in ("vision", "text") else "/v1/chat/completions"
        bodies = [one.body for one in upstream.requests if one.path == path and one.model == model]
        return [body["messages"] for body in bodies]

    shown = [PART, {"type": "text", "text": "What is it?"}]
    takes_none, refuses = (
        NOTE.format(why) + "What is it?" for why in ("this model takes no images", "the model's server refused it")
    )
    for lane in ("sees", "silent"):
        histories = [
            messages for messages in asked(lane, names[lane]) if messages[-1]["content"] in (shown, "And now?")
        ]
        assert all(messages[0] == {"role": "user", "content": shown} for messages in histories)
        assert {len(messages) for messages in histories} == {1, 3}
        assert folds[lane].flags["images_sent"] == "1"
    assert [messages[0]["content"] for messages in asked("reads", names["reads"])] == [takes_none] * 2
    assert [messages[0]["content"] for messages in asked("refuses", names["refuses"])] == [shown, refuses, refuses]
    assert [messages[0] for messages in asked("vision", "vision:4b")] == [
        {"role": "user", "content": "What is it?", "images": [base64.b64encode(PNG).decode()]}
    ] * 2
    assert [messages[0] for messages in asked("text", "text:4b")] == [{"role": "user", "content": takes_none}] * 2
    for lane in ("reads", "refuses", "text"):
        assert "images_left_out" in folds[lane].flags
        assert any("note in the prompt says so" in note for note in notes_of(folds[lane]))
    # Heavy's trajectories and its aggregation are sent the image too.
    merged = [messages for messages in asked("sees", names["sees"]) if "What is it?" in str(messages[-1]["content"])]
    assert len(merged) >= 3
    assert all(messages[-1]["content"][0] == PART for messages in merged)


@pytest.mark.parametrize(
    ("item", "takes"),
    [
        ({"supports_image_in": True, "supports_video_in": False}, True),
        ({"supports_image_in": False}, False),
        ({"architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]}}, True),
        ({"architecture": {"input_modalities": ["text"], "output_modalities": ["image"]}}, False),
        ({"architecture": {"modality": "text->image"}}, False),
        ({"architecture": {"modality": "text+image->text"}}, True),
        ({"input_modalities": ["TEXT", "IMAGE"]}, True),
        ({"capabilities": {"vision": True}}, True),
        ({"capabilities": ["completion", "multimodal"]}, True),
        ({"capabilities": ["completion"]}, False),
        ({"supports_image_in": "yes", "architecture": None, "capabilities": {}, "input_modalities": []}, None),
        ({"id": "kimi-k2", "object": "model"}, None),
    ],
)
def test_what_a_model_list_says_of_images(item: dict[str, Any], takes: bool | None) -> None:
    assert modalities(item) is takes


def test_an_image_is_stored_once_and_goes_with_its_last_turn(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    named = [turn((attempt("a"), ended(tokens(2, start_ms=1, gap_ms=1))), owner="me", images=(DOT,)) for _ in "12"]
    with turns_at(path) as turns:
        for one in named:
            written = replace(one, entries=[], closed=False)
            turns.open(written).result()
            written.entries += one.entries
            turns.close(written)
        turns.writer.flush().result()

        def count() -> int:
            return turns.reader.rows("SELECT count(*) FROM images")[0][0]

        assert count() == 1
        assert [one.images for one in turns.reader.conversation(named[0].conversation_id, with_entries=False)] == [
            (DOT._replace(data=b""),)
        ]
        assert turns.reader.history(named[0].conversation_id, "a")[0].images == (DOT._replace(data=b""),)
        assert PNG in path.read_bytes() + path.with_name(f"{path.name}-wal").read_bytes()
        for left, one in ((1, named[0]), (0, named[1])):
            turns.writer.delete_conversation(one.conversation_id, "me").result()
            assert count() == left
        turns.writer.flush().result()
    assert PNG not in path.read_bytes()


def test_exports_hold_the_images_and_an_import_checks_them() -> None:
    made = turn((attempt("a"), ended(tokens(2, start_ms=1, gap_ms=1))), prompt="", images=(DOT,))
    files = {kind: export([made], "A dot", kind).data.decode() for kind in ("html", "md", "json")}
    assert f"![dot.png]({DOT.data_url})" in files["md"]
    assert files["html"].count(DOT.base64) == 1
    assert "img-src data:" in files["html"]
    document = json.loads(files["json"])
    assert import_turns(document)[0].images == (DOT,)
    for wrong in ({"media_type": "image/svg+xml"}, {"data": base64.b64encode(b"<svg/>").decode()}, {"width": 10**6}):
        tampered = {
            **document,
            "turns": [{**document["turns"][0], "images": [{**DOT.described(), "data": DOT.base64} | wrong]}],
        }
        with pytest.raises(NotAnExport, match="damaged"):
            import_turns(tampered)


def test_an_image_that_the_log_has_lost_is_named_in_the_prompt() -> None:
    lane = ScriptedProvider(LaneSpec("a", "A", "openai", model="m"), [thinker()], sees=True)
    gone = Image("0" * 64, "gone.png", "image/png", 3, 3, 9)
    with running(None, lane) as run:
        run.folds(run.engine.send("What is it?", images=[gone]))
    (message,) = lane.requests[0].messages
    assert message.images == ()
    assert message.content.startswith(
        "[Attached image: gone.png (3 × 3 pixels); it was not sent to you: it is no longer"
    )
