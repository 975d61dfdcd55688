"""Whether a local model keeps to a nested schema, and to a forced tool's, plain and streamed, on several dialects.

A part of ``local.py``. The judge is jsonschema, not this library: objects in lists, enums, a pattern, bounds.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver import Client

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "customer": {
            "type": "object",
            "properties": {"name": {"type": "string", "maxLength": 40}, "tier": {"enum": ["free", "pro", "team"]}},
            "required": ["name", "tier"],
            "additionalProperties": False,
        },
        "items": {
            "type": "array",
            "minItems": 1,
            "maxItems": 3,
            "items": {
                "type": "object",
                "properties": {
                    "sku": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
                    "count": {"type": "integer", "minimum": 1, "maximum": 99},
                    "colours": {"type": "array", "maxItems": 3, "items": {"enum": ["red", "green", "blue"]}},
                },
                "required": ["sku", "count", "colours"],
                "additionalProperties": False,
            },
        },
        "urgent": {"type": "boolean"},
    },
    "required": ["customer", "items", "urgent"],
    "additionalProperties": False,
}
ORDERS = (
    "Ann of the pro tier wants two red lamps, AB-123, today.",
    "Please send 5 chairs (CH-200, green or blue) and one desk (DK-001) to Bob, who is on the free tier.",
    "Team customer Zoe: 12 x QX-777, any colour. No hurry.",
    "A joke about clerks, please.",
    "Order: nothing at all. Or maybe 99 of everything?",
)


def kept(client: Client, model: str, what: str, count: int) -> dict[str, Any]:
    """Ask so often for a nested schema, or force a call of a nested tool, in every way in turn, four at once."""
    import jsonschema

    checker, ways = jsonschema.Draft202012Validator(SCHEMA), WAYS[what]

    def fault(number: int) -> str | None:
        (way, streamed), text = ways[number % len(ways)], f"{ORDERS[number % len(ORDERS)]} (Ticket {number})"
        try:
            value = json.loads(way(client, f"local/{model}", text, streamed))
        except Exception as error:  # noqa: BLE001 - every kind of failure counts the same
            return f"{way.__name__} {streamed}: {type(error).__name__}: {error}"[:200]
        wrong = next(checker.iter_errors(value), None)
        return None if wrong is None else f"{way.__name__} {streamed}: {wrong.message}"[:200]

    began = time.perf_counter()
    with ThreadPoolExecutor(4) as pool:
        faults = [found for found in pool.map(fault, range(count)) if found is not None]
    seconds = round(time.perf_counter() - began, 1)
    return {"model": model, "asked": count, "valid": count - len(faults), "seconds": seconds, "faults": faults[:5]}


def chat_schema(client: Client, model: str, text: str, streamed: bool) -> str:
    """Return what the chat dialect answers to a request with a schema."""
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "order", "strict": True, "schema": SCHEMA}}
    asked: Any = [{"role": "user", "content": text}]
    arguments: Any = {"model": model, "messages": asked, "max_tokens": 400, "response_format": wanted}
    if not streamed:
        return str(client.chat.completions.create(**arguments).choices[0].message.content)
    chunks = client.chat.completions.create(**arguments, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def responses_schema(client: Client, model: str, text: str, streamed: bool) -> str:
    """Return what the responses dialect answers to a request with a schema."""
    wanted: Any = {"format": {"type": "json_schema", "name": "order", "strict": True, "schema": SCHEMA}}
    arguments: Any = {"model": model, "input": text, "max_output_tokens": 400, "text": wanted}
    if not streamed:
        return str(client.responses.create(**arguments).output_text)
    events = client.responses.create(**arguments, stream=True)
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def chat_tool(client: Client, model: str, text: str, streamed: bool) -> str:
    """Return the arguments of a call that the chat dialect forces."""
    tool: Any = {
        "type": "function",
        "function": {"name": "book", "description": "Book an order.", "parameters": SCHEMA},
    }
    arguments: Any = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 400,
        "tools": [tool],
        "tool_choice": {"type": "function", "function": {"name": "book"}},
    }
    if not streamed:
        [call] = client.chat.completions.create(**arguments).choices[0].message.tool_calls or []
        return str(call.function.arguments)
    parts = []
    for chunk in client.chat.completions.create(**arguments, stream=True):
        for choice in chunk.choices:
            parts += [call.function.arguments or "" for call in choice.delta.tool_calls or () if call.function]
    return "".join(parts)


def messages_tool(client: Client, model: str, text: str, streamed: bool) -> str:
    """Return the input of a call that the messages dialect forces."""
    arguments: Any = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 400,
        "tools": [{"name": "book", "description": "Book an order.", "input_schema": SCHEMA}],
        "tool_choice": {"type": "tool", "name": "book"},
    }
    if not streamed:
        [call] = [part for part in client.messages.create(**arguments).content if part.type == "tool_use"]
        return json.dumps(call.input)
    events = client.messages.create(**arguments, stream=True)
    return "".join(
        event.delta.partial_json
        for event in events
        if event.type == "content_block_delta" and event.delta.type == "input_json_delta"
    )


WAYS: dict[str, list[tuple[Callable[[Client, str, str, bool], str], bool]]] = {
    "json_schema": [(way, streamed) for way in (chat_schema, responses_schema) for streamed in (False, True)],
    "forced_tool": [(way, streamed) for way in (chat_tool, messages_tool) for streamed in (False, True)],
}
