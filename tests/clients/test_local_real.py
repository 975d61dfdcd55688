"""The real llama.cpp server with the real SmolLM2, through the real SDKs: tools, schemas, counts and long prompts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import openai
import pytest

import llmsaver
from llmsaver import Saver

if TYPE_CHECKING:
    from collections.abc import Iterator

    import anthropic

pytestmark = pytest.mark.local

MODEL = "local/smollm2-135m"
HI: Any = [{"role": "user", "content": "Two boxes of tea for Zoë in Bern, by card."}]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "buyer": {"$ref": "#/$defs/Buyer"},
        "lines": {
            "type": "array",
            "minItems": 1,
            "maxItems": 2,
            "items": {
                "type": "object",
                "properties": {
                    "sku": {"type": "string", "pattern": r"^[A-Z]{2}-\d{3}$"},
                    "count": {"type": "integer", "minimum": 1, "maximum": 20},
                    "note": {"type": "string", "maxLength": 8},
                },
                "required": ["sku", "count"],
            },
        },
        "pay": {
            "oneOf": [
                {"type": "object", "properties": {"by": {"const": "card"}}, "required": ["by"]},
                {
                    "type": "object",
                    "properties": {
                        "by": {"const": "invoice"},
                        "days": {"type": "integer", "minimum": 7, "maximum": 60},
                    },
                    "required": ["by", "days"],
                },
            ]
        },
    },
    "required": ["buyer", "lines", "pay"],
    "$defs": {
        "Buyer": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "maxLength": 12},
                "tier": {"enum": ["free", "pro", None]},
                "city": {"type": ["string", "null"], "maxLength": 12},
            },
            "required": ["name", "tier", "city"],
        }
    },
}
ORDER = {"name": "order", "description": "Place an order.", "parameters": SCHEMA}
CHAT: Any = [{"type": "function", "function": ORDER}]
RESPONSES: Any = [{"type": "function", "strict": True, **ORDER}]
MESSAGES: Any = [{"name": "order", "description": "Place an order.", "input_schema": SCHEMA}]


@pytest.fixture(scope="module")
def saver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saver]:
    """Return a Saver whose one local server all tests here share."""
    pytest.importorskip("xllamacpp")
    from llmsaver.local import weights

    if weights.installed("smollm2-135m") is None:
        pytest.skip("the weights of smollm2-135m are not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        with Saver(local_context=1024, local_parallel=2) as made:
            yield made


@pytest.fixture
def chat(saver: Saver) -> Iterator[openai.OpenAI]:
    with llmsaver.OpenAI(api_key="k", saver=saver, max_retries=0) as client:
        yield client


@pytest.fixture
def claude(saver: Saver) -> Iterator[anthropic.Anthropic]:
    with llmsaver.Anthropic(api_key="k", saver=saver, max_retries=0) as client:
        yield client


def test_a_forced_tool_on_chat(chat: openai.OpenAI) -> None:
    answer: Any = chat.chat.completions.create(
        model=MODEL, messages=HI, tools=CHAT, tool_choice="required", max_tokens=300
    )
    jsonschema.validate(json.loads(answer.choices[0].message.tool_calls[0].function.arguments), SCHEMA)
    assert answer.choices[0].finish_reason == "tool_calls"
    with chat.chat.completions.stream(
        model=MODEL, messages=HI, tools=CHAT, tool_choice="required", max_tokens=300
    ) as stream:
        kinds = [event.type for event in stream]
        last: Any = stream.get_final_completion()
    jsonschema.validate(json.loads(last.choices[0].message.tool_calls[0].function.arguments), SCHEMA)
    assert kinds.count("tool_calls.function.arguments.delta") > 10


def test_a_forced_tool_on_messages(claude: anthropic.Anthropic) -> None:
    forced: Any = {"model": MODEL, "messages": HI, "tools": MESSAGES, "tool_choice": {"type": "any"}, "max_tokens": 300}
    answer: Any = claude.messages.create(**forced)
    jsonschema.validate(answer.content[0].input, SCHEMA)
    with claude.messages.stream(**forced) as stream:
        kinds = [event.type for event in stream]
        last: Any = stream.get_final_message()
    jsonschema.validate(last.content[0].input, SCHEMA)
    assert (last.stop_reason, kinds.count("input_json") > 10) == ("tool_use", True)
    assert last.usage.input_tokens + last.usage.cache_read_input_tokens > 100


def test_a_forced_tool_on_responses(chat: openai.OpenAI) -> None:
    forced: Any = {"model": MODEL, "input": "tea", "tools": RESPONSES, "tool_choice": "required"}
    answer: Any = chat.responses.create(**forced, max_output_tokens=300)
    jsonschema.validate(json.loads(answer.output[0].arguments), SCHEMA)
    with chat.responses.stream(**forced, max_output_tokens=300) as stream:
        kinds = [event.type for event in stream]
        last: Any = stream.get_final_response()
    jsonschema.validate(json.loads(last.output[0].arguments), SCHEMA)
    assert kinds.count("response.function_call_arguments.delta") > 10


def test_a_schema_on_messages(claude: anthropic.Anthropic) -> None:
    wanted: Any = {"format": {"type": "json_schema", "schema": SCHEMA["properties"]["pay"]["oneOf"][1]}}
    answer: Any = claude.messages.create(model=MODEL, messages=HI, max_tokens=100, output_config=wanted)
    assert json.loads(answer.content[0].text)["by"] == "invoice"


def test_a_stop_word_is_named(claude: anthropic.Anthropic) -> None:
    answer = claude.messages.create(
        model=MODEL, messages=HI, max_tokens=60, stop_sequences=["e"], extra_body={"temperature": 0}
    )
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "e")


def test_a_prompt_is_counted_and_cached(saver: Saver, chat: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    counted = claude.messages.count_tokens(model=MODEL, messages=HI).input_tokens
    assert chat.responses.input_tokens.count(model=MODEL, input=HI[0]["content"]).input_tokens == counted
    for _ in range(2):
        answer = chat.chat.completions.create(model=MODEL, messages=HI, max_tokens=1)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == counted
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens
    assert saver.last is not None
    assert saver.last.usage is not None
    assert saver.last.usage.cache_read_tokens == answer.usage.prompt_tokens_details.cached_tokens


def test_a_prompt_that_does_not_fit(saver: Saver, chat: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="prompt is too long") as raised:
        chat.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "word " * 2000}])
    assert raised.value.code == "context_length_exceeded"
    assert saver.last is not None
    tokens, room = saver.last.attempts[-1].overflow or (0, 0)
    assert (tokens > 2000, room) == (True, 1024)
