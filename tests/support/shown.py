"""What a page shows after some frames: a minimal reader of their protocol (``kimi_ui.view.frames``)."""

from __future__ import annotations

from typing import Any


class Shown:
    def __init__(self) -> None:
        self.lanes: dict[str, dict[str, Any]] = {}

    def take(self, frame: dict[str, Any] | None) -> Shown:
        if frame is None:
            return self
        if "turn" in frame:
            self.lanes = {}
        for lane_id, part in frame["lanes"].items():
            self._lane(self.lanes.setdefault(lane_id, _empty()), part)
        return self

    def _lane(self, lane: dict[str, Any], part: dict[str, Any]) -> None:
        if "attempt" in part:
            lane.clear()
            lane |= _empty() | {"attempt": part["attempt"]}
        for name in ("stamps", "metrics", "failure", "retry", "notes", "preparing", "phase"):
            if name in part:
                lane[name] = part[name]
        if part.get("clear_answer"):
            lane |= {"blocks": "", "tail": ""}
        lane["reasoning"] += part.get("reasoning", "")
        lane["race"] += part.get("race", {}).get("points", [])
        lane["blocks"] += "".join(part.get("blocks", []))
        lane["tail"] = part.get("tail", lane["tail"]) + part.get("append", "")
        if part.get("whole"):
            lane |= {"blocks": part["whole"], "tail": ""}
        for step in part.get("steps", []):
            lane["steps"].pop(step["i"], None)
            if "dropped" not in step:
                lane["steps"][step["i"]] = step
        for k, child in part.get("trajectories", {}).items():
            row = lane["trajectories"].setdefault(k, {"reasoning": "", "text": ""})
            if "attempt" in child:
                row |= {"reasoning": "", "text": ""}
            row["reasoning"] += child.get("reasoning", "")
            row["text"] += child.get("text", "")
            row |= {name: child[name] for name in ("answer", "phase", "tokens", "failure") if name in child}


def _empty() -> dict[str, Any]:
    return {"reasoning": "", "blocks": "", "tail": "", "steps": {}, "trajectories": {}, "phase": None, "race": []}
