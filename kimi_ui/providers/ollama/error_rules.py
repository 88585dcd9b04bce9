"""What Ollama says when it refuses, and what that means for a person; tried before the rows of every server.

Sources: server/routes.go, server/sched.go, server/images.go and llm/server.go of ollama/ollama; the words as releases
0.12 to 0.33 sent them.
"""

from __future__ import annotations

from ..error_rules import FULL, WAIT, ErrorRule

OLLAMA_RULES: tuple[ErrorRule, ...] = (
    ErrorRule(
        (0, 401),
        r"signin_url|sign in to ollama|ollama signin",
        "auth",
        "{model} runs at ollama.com, and this Ollama is not signed in there.",
        "Sign in once on the machine that Ollama runs on.",
        command="ollama signin",
        example="unauthorized · signin_url",
    ),
    ErrorRule(
        (0, 402, 403, 429),
        r"requires a (?:\w+ )?subscription|upgrade for access|reached your .{0,30}usage limit",
        "billing",
        "The account at ollama.com does not allow more of {model} now.",
        "Wait until its limits reset, upgrade the account at ollama.com, or choose another model.",
        example="this model requires a subscription, upgrade for access: https://ollama.com/upgrade",
    ),
    ErrorRule(
        (),
        r"pull model manifest(?s:.)*(?:412|requires a newer version)|requires a newer version of ollama",
        "bad_request",
        "This Ollama is too old for {model}.",
        "Update Ollama on the machine at {host} and restart it: the version of the server counts, not the command's.",
        example="pull model manifest: 412: The model you are attempting to pull requires a newer version of Ollama.",
    ),
    ErrorRule(
        (),
        r"no space left on device|disk (?:is )?full|not enough (?:disk )?space|disk quota exceeded",
        "upstream",
        "The disk of the machine at {host} is full.",
        "Free space there (`ollama rm` removes a model); what was fetched is kept, and the next pull continues it.",
        example="write models/blobs/sha256-941f-partial: no space left on device",
    ),
    ErrorRule(
        (),
        r"(?:get|head) \"https?://\S+/v2/\S*\""
        r"|max retries exceeded.*(?:dial tcp|no such host|timeout|unreachable|connection re|deadline|eof)",
        "connect",
        "Ollama at {host} cannot reach its library.",
        "Check that machine's network connection and proxy (HTTPS_PROXY in the server's environment), then pull again.",
        example='pull model manifest: Get "https://registry.example/v2/library/m/manifests/30b": dial tcp: lookup '
        "registry.example: no such host",
    ),
    ErrorRule(
        (0, 400, 404, 500),
        r"pull model manifest: (?:40[13]\b|unauthorized|access denied)",
        "auth",
        "Ollama may not fetch {model}: it is private or gated.",
        "Allow it on the model's page, and sign this Ollama in there.",
        example="pull model manifest: 401: access to model m is restricted",
    ),
    ErrorRule(
        (0, 500),
        r"\A(?!(?s:.)*architecture)(?s:.)*(?:unable to load model|incompatible with your version of ollama"
        r"|invalid file magic|(?:gguf|blob).{0,40}corrupt)",
        "backend_died",
        "The copy of {model} on this server does not load.",
        "Pull it again; if that does not help, update Ollama.",
        command="ollama pull {model}",
        example="unable to load model: models/blobs/sha256-1: this model may be incompatible with your "
        "version of Ollama. If you previously pulled this model, try updating it by running `ollama pull m`",
    ),
    ErrorRule(
        (0, 500),
        r"timed out waiting for (?:llama|the)?.{0,20}(?:runner|server).{0,9}(?:to )?start",
        "backend_died",
        "{gateway} could not load {model} in time.",
        "Give it longer (OLLAMA_LOAD_TIMEOUT in the server's environment), or choose a smaller model.",
        example="timed out waiting for llama runner to start: context canceled",
    ),
    ErrorRule(
        (0, 400, 422),
        r"option \W?(?P<field>[a-z_]+)\W? must be of type (?P<range>[\w\[\]]+)",
        "bad_request",
        "Ollama does not take this value of `{field}`: it must be of type {range}.",
        "Change `{field}` in the lane's params.",
        example='option "temperature" must be of type float32',
    ),
    ErrorRule(
        (0, 400, 422),
        r"invalid think value(?s:.){0,80}?\((?:must be )?(?P<range>[^)]+)\)",
        "bad_request",
        "Ollama does not take this value of `think`: it is {range}.",
        "Change `think` in the lane.",
        example='invalid think value: "banana" (must be "high", "medium", "low", "max", true, or false)',
    ),
    ErrorRule(
        (0, 400, 422),
        r"think(?:ing)? (?:value|level)(?s:.){0,40}not supported",
        "bad_request",
        "{model} has no levels of thinking on this server.",
        "Write think = true or think = false in the lane.",
        example='think value "low" is not supported for this model',
    ),
    ErrorRule(
        (404,),
        r"model .*not found|try pulling",
        "model_missing",
        "{model} is not pulled on this Ollama.",
        "Pull it once.",
        command="ollama pull {model}",
        example="model 'm' not found",
    ),
    ErrorRule(
        (0, 400, 404, 500),
        r"pull model manifest: (?:file does not exist|.{0,80}(?:not found|manifest unknown))"
        r"|invalid model (?:name|path)",
        "model_missing",
        "Ollama's library has no model named {model}.",
        "Check the spelling at ollama.com/library.",
        example="pull model manifest: file does not exist",
    ),
    ErrorRule(
        (0, 400, 500),
        r"pull model manifest|digest mismatch|max retries exceeded",
        "upstream",
        "Ollama could not fetch {model}.",
        "The details say why. Pull again in a moment: what was fetched is kept.",
        example="digest mismatch, file must be downloaded again: want sha256:1, got sha256:2",
    ),
    ErrorRule(
        (0, 400, 413, 422, 500),
        FULL,
        "context",
        "The prompt has {need:,} tokens, and the lane's num_ctx is {limit:,}. It was not cut, so nothing was answered.",
        "Raise num_ctx in the lane, or start a new conversation.",
        example="request (9016 tokens) exceeds the available context size (4096 tokens), try increasing it · "
        "exceed_context_size_error · 400",
    ),
    ErrorRule(
        (0, 400, 413, 422, 500),
        r"input length exceeds|(?:prompt|input) is (?:longer than|too long)|exceeds? the (?:available )?context",
        "context",
        "The prompt is longer than the context that this lane asks for. It was not cut, so nothing was answered.",
        "Raise num_ctx in the lane, or start a new conversation.",
        example="the prompt is longer than the context length currently available to the model; shorten it",
    ),
    ErrorRule(
        (503,),
        r"server busy|maximum pending",
        "capacity",
        "Ollama's queue is full.",
        WAIT,
        retryable=True,
        example="server busy, please try again.  maximum pending requests exceeded",
    ),
)
