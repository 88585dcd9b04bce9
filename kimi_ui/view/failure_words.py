"""Sentences for the user about an attempt's end and its flags."""

from __future__ import annotations

from dataclasses import replace

from ..core import blind
from ..core.attempt import AttemptFold
from ..core.context import offer
from ..core.events import CONTINUED, Failure

# Ends without a failure event that the user must see. ``stopped`` is not one: the user did that.
_SILENT_ENDS = {
    "length": Failure(
        "length",
        "The answer was cut at the length limit.",
        "Raise max_tokens in this lane's params, or ask for less.",
    ),
    "context_full": Failure(
        "length",
        "The answer filled the context: prompt and answer together have {}, and all of it was kept.",
        "Raise num_ctx in this lane (max_tokens was not the limit), or start a new conversation.",
    ),
    "cut_early": Failure(
        "length",
        "The answer was cut before the lane's limit, after {}.",
        "The context may be full, or the server allows less than max_tokens: start a new conversation or ask for less.",
    ),
    "no_answer": Failure(
        "no_answer",
        "The model finished without writing an answer.",
        "Asking again often helps.",
    ),
    "incomplete": Failure(
        "incomplete",
        "The stream ended without saying that it was finished.",
        "The text so far is kept and may be cut off: compare it with care, or send again.",
    ),
    "interrupted": Failure(
        "interrupted",
        "Kimi UI was closed while this was being written.",
        "The text so far is kept: send again for a whole answer.",
    ),
    "error": Failure("upstream", "The model server ended the answer with an error.", "Send again."),
}

# Of a lane without an attempt in a turn that is over: its process ended first.
NEVER_SENT = Failure(
    "interrupted", "Kimi UI was closed before this was sent to the model.", "Nothing was lost: press Retry."
)

_LOOK = "Look at its reasoning; asking again often helps."
_ALL_REASONING = Failure("no_answer", "The model put all its text into its reasoning.", "Asking again often helps.")

_COUNTS = ("below_quorum", "single_survivor", "unanimous", "budget", "width_shrunk")  # their details are like 2/3

# Flags shown to the user; ``{}`` is the flag's detail. Other flags are only logged.
_NOTES = {
    "below_quorum": "Only {} trajectories gave an answer that can be used, fewer than this lane's quorum.",
    "single_survivor": "Only {} trajectories gave an answer that can be used; it is shown as it is.",
    "unanimous": "All answers state the same result ({}), so no aggregation was needed: one of them is shown as it is.",
    "budget": "The time set for this lane was over with {} answers in hand; these were aggregated.",
    "width_shrunk": "The server had no room for all trajectories: {} were answered.",
    "no_majority": "There is no majority. {}",
    "picked": "The model picked T{}; it is shown as it is.",
    "pick_unreadable": "The pick failed. {}",
    "aggregator_failed": "The aggregation failed. {}",
    "continued/prefix": "The model was given the text so far as the beginning of its answer. The figures are of the "
    "continuation alone.",
    "continued/words": "This server takes no beginning of an answer, so the model was asked for the rest in words: "
    "something may be repeated or missing where it goes on. The figures are of the continuation alone.",
    "non_streaming": "The server sent the whole answer at once, so the time to the first token is unknown.",
    "late_reasoning": "Some reasoning came after the answer had begun.",
    blind.READY: "{} answers are ready. All are shown together, so that speed does not identify a lane.",
    blind.CUT: "This answer was cut off.",
    "unclosed_think": "The reasoning has no end marker: all of the text is shown.",
    "context_truncated": "The server read only part of the prompt ({}): the rest was cut or compressed on the way. "
    "Raise the lane's context (num_ctx on Ollama), or ask the gateway to send prompts as they are.",
    "reloaded": "The server unloaded {} for this lane. Lanes that alternate on it pay that each time.",
    "may_truncate": "This lane's params let Ollama drop what does not fit its context ({}).",
    "num_ctx_too_large": "num_ctx is more than this model can use ({}): the smaller one is used.",
    "text_limit": "The {} grew too long; reading stopped there.",
    "skipped_pieces": "Part of the stream could not be read and is missing ({} of its events).",
    "unseparated_events": "The server did not separate the events of its stream as it should; all of them were read.",
    "repeated_answer": "The server sent the whole answer once more at its end; it is shown once.",
    "message_differs": "The server's closing message ({} characters) is not what it had streamed, which is kept.",
    "text_after_finish": "Some text came after the server had said that the answer was finished; it is kept.",
    "dropped_option": "The server refused the option {}; the request was sent again without it.",
    "images_left_out": "Images were left out of the request ({}); a note in the prompt says so to the model.",
    "reasoning_apart": "The server counts reasoning separately from its completion tokens: the output is {} tokens.",
    "cached_apart": "The server counts cached tokens separately from its prompt tokens: the input is {} tokens.",
    "usage_total": "The server's total holds {} tokens that it does not explain; they are not counted.",
    "invalid_utf8": "Some characters were invalid and are shown as \ufffd.",
    "refusal": "The model declined: {}",
    "tool_calls": "The model wanted to call a tool; this app offers none.",
    "tool_markers": "The model's text held raw tool-call markers; they are left out.",
    "template_markers": "The model's text held raw markers of its chat template; they are left out.",
    "think_unsupported": "This model cannot think: the lane's `think` was not sent.",
    "think_level_unsupported": "This server has no levels of thinking: the model was asked to think, without a level.",
    "usage_suspect": "The server's token counts cannot be right ({}).",
}


def failure_of(fold: AttemptFold) -> Failure | None:
    """The failure to show for an attempt that has ended; None if there is none."""
    if fold.promoted:
        return None
    if fold.can_promote:
        return _ALL_REASONING
    found = fold.failure or _silent_end(fold)
    return replace(found, remedy=_LOOK) if found and fold.status == "no_answer" and fold.reasoning.strip() else found


def _silent_end(fold: AttemptFold) -> Failure | None:
    """An end without a failure event. What filled up where the length was the end is known by a flag."""
    for name in ("context_full", "cut_early") if fold.status == "length" else ():
        if name in fold.flags:
            failure = _SILENT_ENDS[name]
            return replace(failure, message=failure.message.format(fold.flags[name]), again=offer(fold))
    return _SILENT_ENDS.get(fold.status)


def notes_of(fold: AttemptFold) -> list[str]:
    """Sentences about unusual events that are not failures, in order of occurrence."""
    details = {**fold.flags, "reloaded": _reload_words(fold.flags.get("reloaded", ""))}
    details |= {name: details[name].replace("/", " of ") for name in _COUNTS if name in details}
    names = (f"{CONTINUED}/{detail}" if name == CONTINUED else name for name, detail in fold.flags.items())
    return [_NOTES[name].format(details.get(name, "")) for name in names if name in _NOTES]


def _reload_words(detail: str) -> str:
    """``detail``: the model, the milliseconds that its load took (empty: not known), the models unloaded for it."""
    model, took_ms, *gone = detail.split(" ") if detail else ("", "")
    others = [name for name in gone if name != model]
    what = ", ".join(others) if others else f"{model} with another context"
    return f"{what} and took {int(took_ms) / 1000:.1f} s to load {model}" if took_ms else what
