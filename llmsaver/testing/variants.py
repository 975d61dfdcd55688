"""Every variant of usage the vendors report, as answers ready to script."""

from llmsaver.testing.answer import Answer
from llmsaver.testing.text import JSON

_CHAT: JSON = {"prompt_tokens": 2000, "completion_tokens": 500, "total_tokens": 2500}
_RESPONSES: JSON = {
    "input_tokens": 2000,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 500,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 2500,
}
_MESSAGES: JSON = {
    "input_tokens": 2000,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": 500,
    "service_tier": "standard",
}


def usage_variants(dialect: str) -> dict[str, Answer]:
    """List answers of 2,000 input and 500 output tokens, one per way the vendors report them, by name.

    `dialect` is chat, responses or messages. `missing`, `negative` and `absurd` are the ones no vendor documents.
    """
    made = {"chat": _chat, "responses": _responses, "messages": _messages}[dialect]()
    return {"missing": Answer("ok", usage="missing"), **made}


def _chat() -> dict[str, Answer]:
    def prompt(**details: int) -> Answer:
        return Answer("ok", usage={**_CHAT, "prompt_tokens_details": details})

    def completion(**details: int) -> Answer:
        return Answer("ok", usage={**_CHAT, "completion_tokens_details": details})

    return {
        "plain": Answer("ok", usage=_CHAT),
        "cached": prompt(cached_tokens=1536),
        "cache_write": prompt(cached_tokens=512, cache_write_tokens=1024),
        "audio_in": prompt(audio_tokens=300, cached_tokens=0),
        "audio_out": completion(audio_tokens=200, reasoning_tokens=0),
        "reasoning": completion(reasoning_tokens=448),
        "rejected_prediction": completion(accepted_prediction_tokens=100, rejected_prediction_tokens=50),
        "flex": Answer("ok", usage=_CHAT, extra={"service_tier": "flex"}),
        "priority": Answer("ok", usage=_CHAT, extra={"service_tier": "priority"}),
        "null_details": Answer("ok", usage={**_CHAT, "prompt_tokens_details": None, "completion_tokens_details": None}),
        "negative": Answer("ok", usage={**_CHAT, "prompt_tokens": -5}),
        "absurd": Answer("ok", usage={"prompt_tokens": 10**15, "completion_tokens": 0, "total_tokens": 1}),
    }


def _responses() -> dict[str, Answer]:
    def read(**details: object) -> Answer:
        return Answer("ok", usage={**_RESPONSES, "input_tokens_details": {"cached_tokens": 0, **details}})

    image = {
        "input_tokens": 0,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
        "output_tokens": 0,
        "total_tokens": 0,
    }
    return {
        "plain": Answer("ok", usage=_RESPONSES),
        "cached": read(cached_tokens=1536, cache_write_tokens=0),
        "cache_write": read(cache_write_tokens=1024),
        "cache_write_ttl": read(
            cache_write_tokens=1024, cache_write_tokens_details={"ttl_30m_tokens": 1000, "ttl_12h_tokens": 24}
        ),
        "reasoning": Answer("ok", usage={**_RESPONSES, "output_tokens_details": {"reasoning_tokens": 448}}),
        "web_search": Answer(
            "ok", usage=_RESPONSES, extra={"tool_usage": {"image_gen": image, "web_search": {"num_requests": 3}}}
        ),
        "flex": Answer("ok", usage=_RESPONSES, extra={"service_tier": "flex"}),
        "ultrafast": Answer("ok", usage=_RESPONSES, extra={"service_tier": "ultrafast"}),
        "negative": Answer("ok", usage={**_RESPONSES, "output_tokens": -1}),
        "absurd": Answer(
            "ok", usage={**_RESPONSES, "input_tokens_details": {"cached_tokens": 10**9, "cache_write_tokens": 0}}
        ),
    }


def _messages() -> dict[str, Answer]:
    def use(**fields: object) -> Answer:
        return Answer("ok", usage={**_MESSAGES, **fields})

    def written(short: int, long: int) -> Answer:
        split = {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long}
        return use(cache_creation_input_tokens=short + long, cache_creation=split, input_tokens=2000 - short - long)

    compaction = {
        "type": "compaction",
        "input_tokens": 160_000,
        "output_tokens": 3000,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }
    message = {**compaction, "type": "message", "input_tokens": 2000, "output_tokens": 500}
    advisor = {
        **compaction,
        "type": "advisor_message",
        "model": "claude-opus-4-7",
        "input_tokens": 900,
        "output_tokens": 90,
    }
    return {
        "plain": use(),
        "cached": use(input_tokens=500, cache_read_input_tokens=1500),
        "cache_write_5m": written(1500, 0),
        "cache_write_1h": written(0, 1500),
        "cache_write_both": written(500, 1000),
        "cache_write_unsplit": use(input_tokens=500, cache_creation_input_tokens=1500),
        "thinking": use(output_tokens_details={"thinking_tokens": 448}),
        "web_search": use(server_tool_use={"web_search_requests": 3, "web_fetch_requests": 0}),
        "priority": use(service_tier="priority"),
        "fast": use(speed="fast"),
        "us": use(inference_geo="us"),
        "compaction": use(iterations=[compaction, message]),
        "advisor": use(iterations=[message, advisor]),
        "null_fields": use(cache_creation_input_tokens=None, cache_read_input_tokens=None, service_tier=None),
        "negative": use(cache_read_input_tokens=-1500),
        "absurd": use(output_tokens=10**15),
    }
