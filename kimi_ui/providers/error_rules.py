"""What servers say when they refuse, and what that means for a person. A table, nothing else.

The first row that fits decides. ``status`` 0 stands for an error inside a stream or in an answer with status 200. The
patterns look at the server's own words in lower case; the sentences may use a named group of the pattern: ``limit`` and
``need``, which are numbers, ``field``, ``range``. ``example`` holds words that the row is for; a test checks that the
row decides them. The rows for one kind of server are with it (``ollama/error_rules.py``) and are tried first.
Sources: the error pages of Moonshot, OpenRouter, MiniMax and Ollama; the sources of Chutes' API, vLLM, SGLang,
llama.cpp and Ollama; public bug reports.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class ErrorRule(NamedTuple):
    """Fits if the status is among ``statuses`` (empty: any), the words match, and the gateway is the one named.

    ``is_loading``: the server is loading the model and will answer the same request when it has done so.
    """

    statuses: tuple[int, ...]
    pattern: str
    kind: str
    message: str
    remedy: str
    retryable: bool = False
    command: str = ""
    gateway: str = ""
    is_loading: bool = False
    example: str = ""

    def fit(self, status: int, words: str, gateway: str) -> re.Match[str] | None:
        """The match in the words (lower case), None where the row does not fit."""
        if (self.statuses and status not in self.statuses) or self.gateway not in ("", gateway):
            return None
        return re.search(self.pattern, words)


WAIT = "Wait a moment and try again."
_PACE = r"(?:per[- ]?|/ ?)(?:second|minute|min\b|hour)|\brp[ms]\b|\btp[ms]\b"  # a rate, which refills in time
_A_DAY = r"per[- _]?day|daily|\b[rt]pd\b|86400 ?s|/ ?day\b"
_TOP_UP = "Add balance at {gateway}, or choose another route in the lanes file."
_PICK = "Choose an id from the provider's list (Lanes tab, or `python -m kimi_ui doctor`)."
_ANOTHER = "Choose another model or route in the lanes file."
_PRIVACY = "Allow more in the privacy settings of your account at {gateway} (openrouter.ai/settings/privacy), or "
_LOWER = "Lower `max_tokens` in the lane's params"
_N = r"(?P<limit>\d[\d,]*)"
_BOUND = r"(?:in|between|at least|at most|within|less|greater|no more|non-negative|positive|[<>]=?|-?\d)"
_BOUND_ENDS = r",? (?:but )?got\b|, but\b|,? (?:and )?(?:you|received)\b|\.(?!\d)| \(parameter| · |;|\Z"
FULL = rf"request \((?P<need>\d+) tokens\) exceeds the available context size \({_N} tokens\)"  # llama.cpp
_OPTION = r"['\"`]?(?P<field>[a-z_]*[a-z])['\"`]?"

# Comes before every rule about the key, for lanes that name none.
NO_KEY_NAMED = ErrorRule(
    (401,),
    r"",
    "auth",
    "{gateway} requires a key, and this lane names none.",
    'Write api_key_env = "NAME_OF_THE_VARIABLE" into the lane, and set that variable in the environment or in .env.',
)

RULES: tuple[ErrorRule, ...] = (
    # -- money: another request costs time and does not help
    ErrorRule(
        (0, 402, 403, 429),
        r"usage cap",
        "billing",
        "The subscription at {gateway} has reached its usage cap.",
        "The windows (4 hours and a month at Chutes) reset automatically; wait, or add balance.",
        example="Subscription usage cap exceeded. Please add balance to continue.",
    ),
    ErrorRule(
        (0, 400, 402, 403),
        rf"can only afford {_N}",
        "billing",
        "The balance at {gateway} pays for {limit} tokens only, and the request may use more.",
        _LOWER + " to {limit}, or add balance at {gateway}.",
        example="This request requires more credits, or fewer max_tokens. You requested up to 64000 tokens, but can "
        "only afford 2666.",
    ),
    ErrorRule(
        (0, 400, 402, 403),
        rf"prompt tokens limit exceeded: \d+ > {_N}",
        "billing",
        "The balance at {gateway} pays for a prompt of {limit} tokens, and this one is longer.",
        "Start a new conversation, or add balance at {gateway}.",
        example="Prompt tokens limit exceeded: 9016 > 2666. To increase, visit the settings and upgrade.",
    ),
    ErrorRule(
        (402,),
        r"quota exceeded",
        "billing",
        "The quota at {gateway} is used up and the balance is empty.",
        "Wait for the quota's reset (the details say when), or add balance at {gateway}.",
        example="Quota exceeded and account balance is $0.0, please pay with fiat",
    ),
    ErrorRule(
        (402,),
        r"subscription",
        "billing",
        "{model} needs a higher subscription at {gateway} or a positive balance.",
        _TOP_UP,
        example="TEE models require an active subscription or positive balance.",
    ),
    ErrorRule((402,), r"", "billing", "{gateway} requires payment before it answers.", _TOP_UP),
    ErrorRule(
        (0, 403, 429),
        rf"free-models-per-day|\A(?!(?s:.)*(?:{_PACE}))(?s:.)*free(?s:.)*(?:{_A_DAY})",
        "billing",
        "Today's free requests at {gateway} are used up.",
        "Wait until tomorrow, add balance at {gateway}, or choose a model that is not free.",
        example="Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day",
    ),
    ErrorRule(
        (0, 403, 429),
        r"insufficient_quota|exceeded_current_quota|exceeded your current quota"
        r"|insufficient.{0,9}(?:balance|credit|fund)|billing|account balance|positive balance|balance (?:is|not)"
        r"|out of credits|arrears|arrearage|余额不足|欠费"
        rf"|\A(?!(?s:.)*(?:{_PACE}))(?s:.)*quota exceeded",
        "billing",
        "The quota or balance at {gateway} is used up.",
        _TOP_UP,
        example="insufficient balance · 1008",
    ),
    ErrorRule(
        (400,),
        r"arrearage|account is in good standing|insufficient (?:balance|credit)|credit balance is too low",
        "billing",
        "The quota or balance at {gateway} is used up.",
        _TOP_UP,
        example="Your credit balance is too low to access the API.",
    ),
    ErrorRule(
        (0, 429),
        rf"\A(?!(?s:.)*(?:{_PACE}))(?s:.)*(?:{_A_DAY})",
        "billing",
        "Today's requests or tokens for {model} at {gateway} are used up.",
        "Wait until tomorrow (the details may say when), or choose another model or route in the lanes file.",
        example="Rate limit reached for model `m` on tokens per day (TPD): Limit 500000, Used 499990",
    ),
    # -- what the account allows
    ErrorRule(
        (0, 400, 403, 404),
        r"data policy|guardrail restriction|settings/privacy|zero data retention|\bzdr\b",
        "bad_request",
        "The privacy settings of your account at {gateway} exclude every provider of {model}.",
        _PRIVACY + "choose another model.",
        example="No endpoints available matching your guardrail restrictions and data policy.",
    ),
    ErrorRule(
        (0, 400, 404),
        r"no allowed providers|all providers have been ignored|providers? .{0,30}(?:ignored|not allowed)",
        "bad_request",
        "The providers that your account at {gateway} or this lane allows do not serve {model}.",
        "Look at the allowed and ignored providers of your account, and at `provider` in the lane's extra_body.",
        example="No allowed providers are available for the selected model.",
    ),
    ErrorRule(
        (0, 400, 404),
        r"no endpoints found that (?:can handle|support)",
        "bad_request",
        "No provider of {model} at {gateway} takes all options of this request.",
        "Remove options from the lane's params and extra_body; the details say which kind.",
        example="No endpoints found that can handle the requested parameters.",
    ),
    # -- the server and the model do not fit
    ErrorRule(
        (),
        r"(?:post|get|head) \"?https?://(?:[\w-]+\.)?ollama\.com\b|dial tcp: lookup (?:[\w-]+\.)?ollama\.com",
        "connect",
        "Ollama at {host} cannot reach ollama.com, where {model} runs.",
        "Check that machine's network connection and proxy (HTTPS_PROXY in the server's environment), then try again.",
        example='Post "https://ollama.com:443/api/chat?ts=1": dial tcp: lookup ollama.com: no such host',
    ),
    ErrorRule(
        (0, 400, 500, 501),
        r"does not support (?:chat|generate|completion)\b",
        "bad_request",
        "{model} is not a chat model.",
        "Choose another model: this one answers other kinds of requests, for example embeddings.",
        example='"m" does not support chat',
    ),
    ErrorRule(
        (0, 400, 422, 500),
        r"does not support (?:multimodal|vision|images?\b|image input)|image input is not supported"
        r"|missing data required for image input|no endpoints found that support image",
        "bad_request",
        "{model} does not read images.",
        "Leave the image out, or choose a model with vision.",
        example="Multimodal data provided, but model does not support multimodal requests.",
    ),
    ErrorRule(
        (),
        r"(?:unknown|unsupported)(?: model)? architecture|architecture \S+ is not supported",
        "bad_request",
        "The server at {host} is too old for {model}: it does not know its architecture.",
        "Update the server there (for Ollama: its version counts, not the command's), or choose another model.",
        example="llama-server process has terminated: exit status 1: error loading model: unknown model architecture: "
        "'x'",
    ),
    ErrorRule(
        (0, 500),
        r"out[ -]of[ -]memory|requires more system memory|(?:cuda|hip)malloc|failed to allocate|unable to allocate"
        r"|not enough (?:system |gpu |video )?memory|insufficient memory|resource limitations",
        "backend_died",
        "{gateway} does not have enough memory for {model}.",
        "Close other programs, lower num_ctx (a context takes memory too), or choose a smaller model.",
        example="llama-server reported out-of-memory during startup: ggml_backend_alloc",
    ),
    # -- who may use it
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
        r"moderation|flagged|content.?filter|content policy|sensitive",
        "content_filter",
        "{gateway} refused the prompt because of its content.",
        "Rephrase it, or choose another model.",
        example="Input was flagged by moderation",
    ),
    ErrorRule(
        (401, 403),
        r"",
        "auth",
        "{gateway} did not accept the key in {key}.",
        "Check the key (copied whole? still valid? allowed to use {model}?).",
    ),
    ErrorRule(
        (0, 400),
        r"(?:invalid|incorrect|wrong|bad|missing).{0,12}(?:api[ _-]?key|token\b(?!s))|api key not valid|login fail"
        r"|invalidapikey|authentication (?:fail|error)",
        "auth",
        "{gateway} did not accept the key in {key}.",
        "Check the key (copied whole? still valid? allowed to use {model}?).",
        example="login fail: Please carry the API secret key in the 'Authorization' field · 1004",
    ),
    # -- the address
    ErrorRule(
        (0, 400, 404, 405, 501),
        r"unexpected endpoint|unknown (?:request )?url|invalid url|unknown_url|cannot post\b"
        r"|no route matched|route.{0,40}not found"
        r"|(?:endpoint|path|url|page) (?:\S+ )?(?:not found|does not exist|is not supported)"
        r"|no such (?:endpoint|route|path)",
        "bad_url",
        "{host} has nothing at this address.",
        "{address}",
        example="Unexpected endpoint or method. (POST /chat/completions)",
    ),
    # -- the model
    ErrorRule(
        (0, 400),
        r"does not support thinking",
        "bad_request",
        "{model} does not support thinking.",
        "Remove `think` from the lane.",
        example='"m" does not support thinking',
    ),
    ErrorRule(
        (0, 400, 404, 410, 422),
        r"model[ _]?not[ _]?found|resource_not_found|no endpoints found|not a valid model|model .*(not exist|not found)"
        r"|(unknown|invalid|no such|unsupported) model|model .*(retired|deprecated|no longer)|not found the model",
        "model_missing",
        "{gateway} does not know the model {model}; ids get retired.",
        _PICK,
        example="The model `m` does not exist",
    ),
    ErrorRule((404, 405), r"", "bad_url", "{host} has nothing at this address.", "{address}"),
    # -- the request
    ErrorRule(
        (400,),
        r"https (port|server)",
        "tls",
        "{host} speaks TLS on this port, and base_url says http://.",
        "Write https:// in base_url.",
        example="Client sent an HTTP request to an HTTPS server.",
    ),
    ErrorRule(
        (0, 400, 413, 422, 500),
        FULL,
        "context",
        "The prompt has {need:,} tokens, and the server at {host} gives {model} a context of {limit:,}.",
        "Start the server with a larger context (llama.cpp: `-c`; Ollama's /v1: OLLAMA_CONTEXT_LENGTH), or start a new "
        "conversation.",
        example="request (9016 tokens) exceeds the available context size (4096 tokens), try increasing it",
    ),
    ErrorRule(
        (0, 400, 413, 422),
        r"(?:supports? at most |valid range of max_\w*tokens is \[\d+, ?|max_\w*tokens: \d+ > "
        rf"|max_\w*tokens\W{{1,4}}must be (?:less than or equal to|<=|at most|no more than) \W?){_N}(?! input)",
        "bad_request",
        "{model} writes at most {limit} tokens at {gateway}, and the request allows more.",
        _LOWER + " to {limit}.",
        example="max_tokens is too large: 32768. This model supports at most 16384 completion tokens",
    ),
    ErrorRule(
        (0, 400, 413, 422),
        r"\A(?=(?s:.)*(?:max_\w*tokens|in the completion|for the completion))(?s:.)*?"
        r"(?:max_model_len(?:=max_total_tokens)?=|max_total_tokens=|must be <= |with "
        rf"|context (?:length|window|size)(?: is| of)?(?: only)? ){_N}(?! (?:input|tokens (?:in|from)))",
        "context",
        "{model} has room for {limit:,} tokens at {gateway}, prompt and answer together.",
        _LOWER + " to below {limit:,} minus the length of the prompt (the shipped lanes send 32,768), or start a new "
        "conversation.",
        example="max_tokens=64000 cannot be greater than max_model_len=max_total_tokens=2048. Please request fewer "
        "output tokens. (parameter=max_tokens, value=64000)",
    ),
    ErrorRule(
        (0, 400, 413, 422),
        r"context.?(length|window|size)|maximum context|model token limit|too many tokens|prompt is too long"
        r"|input length|exceeds? the available context|max_\w*tokens must be at least 1, got -|input is too long",
        "context",
        "The conversation is too long for {model}.",
        "Start a new conversation, or lower max_tokens in the lane's params.",
        example="Your request exceeded model token limit : 262144",
    ),
    ErrorRule(
        (0, 400, 422),
        r"content.?filter|high risk|sensitive content|data_inspection_failed|content (?:policy|management)",
        "content_filter",
        "{gateway} refused the prompt because of its content.",
        "Rephrase it, or choose another model.",
        example="The request was rejected because it is high risk · content_filter",
    ),
    ErrorRule(
        (0, 400, 422),
        r"temperature: only [\d.]+ is allowed",
        "bad_request",
        "{model} does not take this temperature.",
        "Remove `temperature` from the lane's params: Kimi K2.5 and later allow their own only.",
        example="invalid temperature: only 1 is allowed for this model",
    ),
    ErrorRule(
        (0, 400, 422),
        rf"(?!input|value)\b{_OPTION}\W{{1,3}}(?:must|should|has to) be (?P<range>{_BOUND}.{{0,60}}?)(?={_BOUND_ENDS})",
        "bad_request",
        "{model} at {gateway} does not take this `{field}`: it must be {range}.",
        "Change `{field}` in the lane's params.",
        example="temperature must be in [0, 2], got 5.0. (parameter=temperature, value=5.0)",
    ),
    ErrorRule(
        (0, 400, 422),
        rf"valid range of {_OPTION} is (?P<range>[\[(][^\])]*[\])])",
        "bad_request",
        "{model} at {gateway} does not take this `{field}`: it must be in {range}.",
        "Change `{field}` in the lane's params.",
        example="Invalid top_p value, the valid range of top_p is (0, 1.0]",
    ),
    ErrorRule(
        (0, 400, 422),
        rf"invalid {_OPTION}.{{0,60}}?expected a value (?P<range>[<>]=? ?-?[\d.]*\d)",
        "bad_request",
        "{model} at {gateway} does not take this `{field}`: it must be {range}.",
        "Change `{field}` in the lane's params.",
        example="Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 5.0 instead.",
    ),
    ErrorRule(
        (0, 400, 422),
        r"should be (?P<range>(?:(?:less|greater) than(?: or equal to)?|[<>]=?) ?-?[\d.]*\d)"
        r"(?s:.)*\bbody\.(?P<field>[a-z_]+)",
        "bad_request",
        "{model} at {gateway} does not take this `{field}`: it must be {range}.",
        "Change `{field}` in the lane's params.",
        example="Input should be less than or equal to 2 · less_than_equal · body.temperature",
    ),
    ErrorRule(
        (0, 400, 422),
        r"(?:extra_forbidden|extra (?:inputs|fields) (?:are )?not permitted)(?s:.)*\bbody\.(?P<field>[a-z_.]*[a-z_])",
        "bad_request",
        "{gateway} does not know the option `{field}`.",
        "Remove `{field}` from the lane's params or extra_body.",
        example="Extra inputs are not permitted · extra_forbidden · body.max_completion_tokens",
    ),
    ErrorRule(
        (0, 400, 422),
        r"(?:unrecognized|unknown|unsupported|unexpected|invalid|additional)(?: request| keyword)? "
        r"(?:parameter|argument|field|name|option|property|properties)s?(?: supplied| name| in request)?"
        rf"\W{{1,4}}{_OPTION}",
        "bad_request",
        "{gateway} does not take the option `{field}` for {model}.",
        "Remove `{field}` from the lane's params or extra_body.",
        example="Unrecognized request argument supplied: top_k",
    ),
    ErrorRule(
        (0, 400, 422),
        rf"{_OPTION}(?: parameter| option| argument)?:? (?:is|are) "
        r"(?:not (?:supported|allowed|permitted|accepted)|unsupported|deprecated)",
        "bad_request",
        "{gateway} does not take the option `{field}` for {model}.",
        "Remove `{field}` from the lane's params or extra_body.",
        example="`logprobs` is not supported with this model",
    ),
    ErrorRule(
        (0, 400, 422),
        r"temperature",
        "bad_request",
        "{model} does not take this temperature.",
        "Remove `temperature` from the lane's params, or change it: the details say what is allowed.",
        example="Unsupported value: 'temperature' does not support 0.3 with this model.",
    ),
    ErrorRule((426,), r"", "bad_request", "{model} is not the kind of model the request insists on (TEE).", _ANOTHER),
    ErrorRule((413,), r"", "too_large", "{gateway} finds the request too large.", "Start a new conversation."),
    # -- not now
    ErrorRule(
        (0, 425, 429, 503),
        r"\A(?!(?s:.)*(?:failed|error|unable|could not|cannot)\W{1,2}(?:to )?load)(?s:.)*"
        r"(?:loading (?:the )?(?:model|weights)|(?:model|server|engine)\b.{0,90}\b"
        r"(?:(?:is|still|currently|being) load(?:ing|ed)|warming up|starting up|is starting"
        r"|not (?:yet )?(?:ready|loaded)))",
        "capacity",
        "{gateway} is still loading {model}.",
        WAIT,
        retryable=True,
        is_loading=True,
        example="Loading model · unavailable_error · 503",
    ),
    ErrorRule(
        (),
        r"under maintenance",
        "capacity",
        "{model} is under maintenance at {gateway}.",
        _ANOTHER,
        example="model is under maintenance",
    ),
    ErrorRule(
        (),
        r"currently disabled",
        "capacity",
        "{model} is switched off at {gateway}.",
        _ANOTHER,
        example="This chute is currently disabled.",
    ),
    ErrorRule(
        (503,),
        r"no instances available",
        "capacity",
        "{gateway} has no instance of {model} running; starting one takes minutes.",
        WAIT,
        retryable=True,
        example="No instances available (yet) for chute_id=1",
    ),
    ErrorRule(
        (0, 429, 502, 503, 529),
        r"capacity|overloaded|insufficient_system_resource|no instances|try again later",
        "capacity",
        "{gateway} is at capacity.",
        WAIT,
        retryable=True,
        example="Infrastructure is at maximum capacity, try again later",
    ),
    ErrorRule(
        (429,),
        r"",
        "rate_limit",
        "{gateway} limits how many requests this key may send.",
        "Wait a moment; fewer lanes or a smaller heavy width send fewer requests.",
        retryable=True,
    ),
    ErrorRule(
        (0,),
        r"rate.?limit|quota exceeded|too many requests",
        "rate_limit",
        "{gateway} limits how many requests this key may send.",
        WAIT,
        retryable=True,
        example="rate limit · 1002",
    ),
    # -- the server broke
    ErrorRule(
        (0, 500, 502),
        r"(?:runner|server) process|has terminated|unexpectedly stopped|segmentation fault|no longer running",
        "backend_died",
        "The process that ran {model} died.",
        "Try again; if it happens again, look into the server's log.",
        retryable=True,
        example="llama runner process has terminated: exit status 2",
    ),
    ErrorRule((503, 529), r"", "capacity", "{gateway} is busy ({status}).", WAIT, retryable=True),
    ErrorRule((408, 409, 425, 500, 502, 504), r"", "upstream", "{gateway} failed ({status}).", WAIT, retryable=True),
    ErrorRule((0,), r"", "upstream", "{gateway} broke off with an error.", WAIT, retryable=True),
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
