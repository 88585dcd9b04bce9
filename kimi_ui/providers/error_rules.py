"""What gateways are known to say when they refuse, and what that means for a person. A table, nothing else.

``status`` 0 stands for an error inside a stream or a 200. Patterns look at the server's own words in lower case.
Sources: the error pages of Moonshot, OpenRouter and Ollama, the source of Chutes' API and of Ollama's server.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class ErrorRule(NamedTuple):
    """Fits if the status is among ``statuses`` (empty: any), the words match, and the gateway is the one named."""

    statuses: tuple[int, ...]
    pattern: str
    kind: str
    message: str
    remedy: str
    retryable: bool = False
    command: str = ""
    gateway: str = ""

    def fits(self, status: int, words: str, gateway: str) -> bool:
        return (
            (not self.statuses or status in self.statuses)
            and (not self.gateway or self.gateway == gateway)
            and re.search(self.pattern, words) is not None
        )


_WAIT = "Wait a moment and try again."
_PACE = r"(?:per |/ ?)(?:second|minute|min\b|hour)|\b[rt]p[ms]\b"  # a quota of so many at a time refills by itself
_TOP_UP = "Add balance at {gateway}, or choose another route in the lanes file."
_PICK = "Choose an id from the provider's list (Lanes tab, or `python -m kimi_ui doctor`)."
_ANOTHER = "Choose another model or route in the lanes file."

# Stands before every rule that speaks of the key, for lanes that name none.
NO_KEY_NAMED = ErrorRule(
    (401,),
    r"",
    "auth",
    "{gateway} wants a key, and this lane names none.",
    'Write api_key_env = "NAME_OF_THE_VARIABLE" into the lane, and set that variable in the environment or in .env.',
)

RULES: tuple[ErrorRule, ...] = (
    # -- money: asking again costs time and helps nobody
    ErrorRule(
        (0, 402, 403, 429),
        r"usage cap",
        "billing",
        "The subscription at {gateway} has reached its usage cap.",
        "The windows (4 hours and a month at Chutes) reset by themselves; wait, or add balance.",
    ),
    ErrorRule(
        (402,),
        r"quota exceeded",
        "billing",
        "The quota at {gateway} is used up and the balance is empty.",
        "Wait for the quota's reset (the details say when), or add balance at {gateway}.",
    ),
    ErrorRule(
        (402,),
        r"subscription",
        "billing",
        "{model} needs a higher subscription at {gateway} or a positive balance.",
        _TOP_UP,
    ),
    ErrorRule((402,), r"", "billing", "{gateway} wants to be paid before it answers.", _TOP_UP),
    ErrorRule(
        (0, 403, 429),
        r"insufficient_quota|exceeded_current_quota|exceeded your current quota|insufficient balance|billing"
        rf"|account balance|positive balance|\A(?!(?s:.)*(?:{_PACE}))(?s:.)*quota exceeded",
        "billing",
        "The quota or balance at {gateway} is used up.",
        _TOP_UP,
    ),
    # -- who may ask
    ErrorRule(
        (401,),
        r"",
        "auth",
        "Moonshot did not accept the key in {key}.",
        "Keys of api.moonshot.ai and api.moonshot.cn are not interchangeable: check key and region (base_url).",
        gateway="Moonshot",
    ),
    ErrorRule(
        (0, 403),
        r"moderation|flagged|content.?filter|content policy",
        "content_filter",
        "{gateway} refused the prompt for its content.",
        "Put it another way, or choose another model.",
    ),
    ErrorRule(
        (401, 403),
        r"",
        "auth",
        "{gateway} did not accept the key in {key}.",
        "Check the key (copied whole? still valid? allowed to use {model}?).",
    ),
    # -- the model
    ErrorRule(
        (0, 400),
        r"does not support thinking|invalid think value",
        "bad_request",
        "{model} does not support thinking.",
        "Remove `think` from the lane.",
    ),
    ErrorRule(
        (404,),
        r"model .*not found|try pulling",
        "model_missing",
        "{model} is not pulled on this Ollama.",
        "Pull it once.",
        command="ollama pull {model}",
        gateway="Ollama",
    ),
    ErrorRule(
        (0, 400, 500),
        r"pull model manifest",
        "model_missing",
        "Ollama's library has no model named {model}.",
        "Check the spelling at ollama.com/library.",
        gateway="Ollama",
    ),
    ErrorRule(
        (0, 400, 404, 410, 422),
        r"model[ _]?not[ _]?found|resource_not_found|no endpoints found|not a valid model|model .*(not exist|not found)"
        r"|(unknown|invalid|no such|unsupported) model|model .*(retired|deprecated|no longer)|not found the model",
        "model_missing",
        "{gateway} does not know the model {model}; ids get retired.",
        _PICK,
    ),
    ErrorRule(
        (404, 405),
        r"",
        "bad_url",
        "{host} has nothing at this address.",
        "Check base_url: most end in /v1, once, and without /chat/completions.",
    ),
    # -- the request
    ErrorRule(
        (400,),
        r"https (port|server)",
        "tls",
        "{host} speaks TLS on this port, and base_url says http://.",
        "Write https:// in base_url.",
    ),
    ErrorRule(
        (0, 400, 413, 422),
        r"context.?(length|window|size)|maximum context|model token limit|too many tokens|prompt is too long"
        r"|input length|exceeds? the available context",
        "context",
        "The conversation is too long for {model}.",
        "Start a new conversation, or lower max_tokens in the lane's params.",
    ),
    ErrorRule(
        (0, 400, 422),
        r"content.?filter|high risk",
        "content_filter",
        "{gateway} refused the prompt for its content.",
        "Put it another way, or choose another model.",
    ),
    ErrorRule(
        (0, 400, 422),
        r"temperature",
        "bad_request",
        "{model} does not take this temperature.",
        "Remove `temperature` from the lane's params: Kimi K2.5 and later allow their own only.",
    ),
    ErrorRule((426,), r"", "bad_request", "{model} is not the kind of model the request insists on (TEE).", _ANOTHER),
    ErrorRule((413,), r"", "too_large", "{gateway} finds the request too large.", "Start a new conversation."),
    # -- not now
    ErrorRule((), r"under maintenance", "capacity", "{model} is under maintenance at {gateway}.", _ANOTHER),
    ErrorRule((), r"currently disabled", "capacity", "{model} is switched off at {gateway}.", _ANOTHER),
    ErrorRule(
        (503,),
        r"no instances available",
        "capacity",
        "{gateway} has no instance of {model} running; starting one takes minutes.",
        _WAIT,
        retryable=True,
    ),
    ErrorRule(
        (503,),
        r"server busy|maximum pending",
        "capacity",
        "Ollama's queue is full.",
        _WAIT,
        retryable=True,
        gateway="Ollama",
    ),
    ErrorRule(
        (0, 429, 502, 503, 529),
        r"capacity|overloaded|insufficient_system_resource|no instances|try again later",
        "capacity",
        "{gateway} is at capacity.",
        _WAIT,
        retryable=True,
    ),
    ErrorRule(
        (429,),
        r"",
        "rate_limit",
        "{gateway} limits how often this key may ask.",
        "Wait a moment; fewer lanes or a smaller heavy width ask less often.",
        retryable=True,
    ),
    ErrorRule(
        (0,),
        r"rate.?limit|quota exceeded",
        "rate_limit",
        "{gateway} limits how often this key may ask.",
        _WAIT,
        retryable=True,
    ),
    # -- the server broke
    ErrorRule(
        (0, 500),
        r"requires more system memory|out of memory|cudamalloc",
        "backend_died",
        "{gateway} has not enough memory for {model}.",
        "Close other programs, lower num_ctx, or choose a smaller model.",
    ),
    ErrorRule(
        (0, 500, 502),
        r"runner process|has terminated|unexpectedly stopped|segmentation fault",
        "backend_died",
        "The process that ran {model} died.",
        "Try again; if it stays so, look into the server's log.",
        retryable=True,
    ),
    ErrorRule((503, 529), r"", "capacity", "{gateway} is busy ({status}).", _WAIT, retryable=True),
    ErrorRule((408, 409, 425, 500, 502, 504), r"", "upstream", "{gateway} failed ({status}).", _WAIT, retryable=True),
    ErrorRule((0,), r"", "upstream", "{gateway} broke off with an error.", _WAIT, retryable=True),
    ErrorRule(
        tuple(range(500, 600)), r"", "upstream", "{gateway} failed ({status}).", "Try another route.", retryable=True
    ),
    ErrorRule(
        (),
        r"",
        "bad_request",
        "{gateway} did not accept the request ({status}).",
        "The details say why; the lane's params and extra_body are sent as they are.",
    ),
)
