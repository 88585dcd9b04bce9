"""Streams as gateways sent them, payload by payload (recorded or documented in 2025 and 2026; ids shortened)."""

from __future__ import annotations

from tests.support.folding import answer, chunk

MOONSHOT_K3 = [
    '{"id":"chatcmpl-2fd8","object":"chat.completion.chunk","created":1787771120,"model":"kimi-k3","choices":[{"index":0,'
    '"delta":{"role":"assistant","content":""},"finish_reason":null}]}',
    '{"id":"chatcmpl-2fd8","choices":[{"index":0,"delta":{"reasoning_content":"The"},"finish_reason":null}]}',
    '{"id":"chatcmpl-2fd8","choices":[{"index":0,"delta":{"reasoning_content":" user is asking"},'
    '"finish_reason":null}]}',
    '{"id":"chatcmpl-2fd8","choices":[{"index":0,"delta":{"reasoning_content":""},"finish_reason":null}]}',
    '{"id":"chatcmpl-2fd8","choices":[{"index":0,"delta":{"content":"OK"},"finish_reason":null}]}',
    '{"id":"chatcmpl-2fd8","choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":90,'
    '"completion_tokens":50,"total_tokens":140,"cached_tokens":90,"completion_tokens_details":{"reasoning_tokens":33},'
    '"prompt_tokens_details":{"cached_tokens":90}}}]}',
    '{"id":"chatcmpl-2fd8","choices":[],"usage":{"prompt_tokens":90,"completion_tokens":50,"total_tokens":140,'
    '"cached_tokens":90,"completion_tokens_details":{"reasoning_tokens":33},"prompt_tokens_details":{"cached_tokens":90}}}',
]
MOONSHOT_K25 = [
    '{"id":"chatcmpl-6a8d","object":"chat.completion.chunk","created":1787685040,"model":"kimi-k2.5","choices":[{'
    '"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"system_fingerprint":"fpv0_1c3effa9"}',
    '{"id":"chatcmpl-6a8d","choices":[{"index":0,"delta":{"reasoning_content":""},"finish_reason":null}]}',
    '{"id":"chatcmpl-6a8d","choices":[{"index":0,"delta":{"content":"OK"},"finish_reason":null}]}',
    '{"id":"chatcmpl-6a8d","choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":12,'
    '"completion_tokens":5,"total_tokens":17,"completion_tokens_details":{"reasoning_tokens":1}}}]}',
]
SGLANG = [
    '{"id":"adedbdab43f44588b8578f75c6f7741e","object":"chat.completion.chunk","created":1768483467,"model":"base-model",'
    '"choices":[{"index":0,"delta":{"role":null,"content":null,"reasoning_content":"中立的","tool_calls":null},"logprobs":'
    'null,"finish_reason":null,"matched_stop":null}],"usage":{"prompt_tokens":29,"total_tokens":134,"completion_tokens":'
    '105,"prompt_tokens_details":null,"reasoning_tokens":0}}',
]
VLLM = [
    '{"id":"chatcmpl-ae276bc67b7c5185","created":1773821726,"model":"moonshotai/Kimi-K2.5","object":"chat.completion'
    '.chunk","choices":[{"index":0,"delta":{"content":" A","role":"assistant"}}]}',
]
GLM_ON_OPENROUTER = [
    '{"id":"gen-1773324289-yVgL","object":"chat.completion.chunk","created":1773324289,"model":"z-ai/glm-4.6",'
    '"provider":"Novita","choices":[{"index":0,"delta":{"content":"","role":"assistant","reasoning":" user",'
    '"reasoning_details":[{"type":"reasoning.text","text":" user","format":"unknown","index":0}]},'
    '"finish_reason":null,"native_finish_reason":null}]}',
]
K2_ON_OPENROUTER = [
    '{"id":"gen-1758698559","provider":"Moonshot AI","model":"moonshotai/kimi-k2-0905","object":"chat.completion'
    '.chunk","created":1758647815,"choices":[{"index":0,"delta":{"role":"assistant","content":"x"},"finish_reason":null}]}',
    '{"id":"gen-1758698559","provider":"Moonshot AI","model":"moonshotai/kimi-k2-0905","object":"chat.completion'
    '.chunk","created":1758647815,"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"stop",'
    '"native_finish_reason":"stop","logprobs":null}],"system_fingerprint":"fpv0_ec889fbb"}',
    '{"id":"gen-1758698559","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null,'
    '"native_finish_reason":null,"logprobs":null}],"usage":{"prompt_tokens":236,"completion_tokens":32,"total_tokens":268,'
    '"cost":0.0004432,"is_byok":false,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"cost_details":'
    '{"upstream_inference_cost":null,"upstream_inference_prompt_cost":0.0002832,"upstream_inference_completions_cost":'
    '0.00016},"completion_tokens_details":{"reasoning_tokens":0,"image_tokens":0}}}',
]
OPENROUTER_ERROR = [
    answer("so far"),
    '{"id":"cmpl-abc123","object":"chat.completion.chunk","created":1234567890,"model":"openai/gpt-4o","provider":'
    '"openai","error":{"code":"server_error","message":"Provider disconnected unexpectedly"},"choices":[{"index":0,'
    '"delta":{"content":""},"finish_reason":"error"}]}',
]
DEEPSEEK = [
    '{"choices":[{"index":0,"delta":{"role":"assistant","content":null,"reasoning_content":""},"logprobs":null,'
    '"finish_reason":null}]}',
    '{"choices":[{"index":0,"delta":{"content":null,"reasoning_content":"Hm"}}]}',
]
LLAMA_CPP = [
    chunk(
        {"role": "assistant", "content": None},
        prompt_progress={"total": 8192, "cache": 4096, "processed": 6144, "time_ms": 41},
    ),
    answer("Hi"),
    '{"choices":[{"finish_reason":"stop","index":0,"delta":{}}],"timings":{"cache_n":236,"prompt_n":1,"prompt_ms":30.958,'
    '"predicted_n":35,"predicted_ms":661.064,"predicted_per_second":52.94}}',
]
