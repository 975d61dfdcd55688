"""The messages dialect: `POST /v1/messages`, whole and streamed.

Shapes follow the recorded streams in anthropic-sdk-python's tests/lib/streaming/fixtures and its event types.
"""

import json

from llmsaver.testing.frames import Event
from llmsaver.testing.text import JSON, count, deltas
from llmsaver.testing.turn import Turn, arguments

_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
# The fields of message_delta.usage: cumulative, without the split of cache writes by TTL.
_CUMULATIVE = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "output_tokens_details",
    "server_tool_use",
    "iterations",
)
_ONLY_AT_THE_END = ("output_tokens_details", "server_tool_use", "iterations")


def usage(turn: Turn) -> JSON | None:
    """Report tokens: input, cache writes and cache reads are separate numbers; thinking is inside output_tokens."""
    automatic: JSON = {
        "input_tokens": turn.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": turn.output_tokens,
        "service_tier": "batch" if turn.batch else "standard",
        "inference_geo": turn.request.get("inference_geo") or "not_available",
    }
    if turn.reasoning:
        automatic["output_tokens_details"] = {"thinking_tokens": turn.reasoning_tokens}
    if turn.request.get("speed"):
        automatic["speed"] = turn.request["speed"]
    return turn.report(automatic)


def body(turn: Turn) -> JSON:
    """Write the answer as one `message` object."""
    reported = usage(turn)
    return {
        **_shell(turn),
        "content": [block for block, _ in _blocks(turn)],
        **_stop(turn),
        **({} if reported is None else {"usage": reported}),
        **turn.answer.extra,
    }


def events(turn: Turn) -> list[Event]:
    """Stream the answer: message_start, each block from start to stop (a ping after the first start), delta, stop."""
    reported = usage(turn)
    message: JSON = {**_shell(turn), "stop_reason": None, "stop_sequence": None, "stop_details": None}
    if reported is not None:
        start = {name: value for name, value in reported.items() if name not in _ONLY_AT_THE_END}
        message["usage"] = {**start, "output_tokens": 1}
    flow = [_event("message_start", message={**message, **turn.answer.extra})]
    for index, (block, fragments) in enumerate(_blocks(turn)):
        flow.append(_event("content_block_start", index=index, content_block=_empty(block)))
        if index == 0:
            flow.append(_event("ping"))
        flow += [_event("content_block_delta", tokens, index=index, delta=delta) for delta, tokens in fragments]
        flow.append(_event("content_block_stop", index=index))
    ending: JSON = {"delta": _stop(turn)}
    if reported is not None:
        ending["usage"] = {name: reported[name] for name in _CUMULATIVE if name in reported}
    return [*flow, _event("message_delta", **ending), _event("message_stop")]


def error_events(_turn: Turn, error: JSON, _sent: int) -> list[Event]:
    """Break a stream with the vendor's error event."""
    return [Event({"type": "error", "error": error["error"]}, "error")]


def _event(kind: str, tokens: int = 0, **fields: object) -> Event:
    return Event({"type": kind, **fields}, kind, tokens)


def _shell(turn: Turn) -> JSON:
    return {
        "model": turn.model,
        "id": turn.id("msg_01", length=22),
        "type": "message",
        "role": "assistant",
        "content": [],
    }


def _stop(turn: Turn) -> JSON:
    reason = _STOPS.get(turn.finish, turn.finish)
    details = None
    if reason == "refusal":
        details = {"type": "refusal", "category": None, "explanation": turn.answer.refusal}
    sequence = (turn.request.get("stop_sequences") or [None])[0] if reason == "stop_sequence" else None
    return {"stop_reason": reason, "stop_sequence": sequence, "stop_details": details}


def _empty(block: JSON) -> JSON:
    start: dict[str, JSON] = {
        "thinking": {"thinking": "", "signature": ""},
        "text": {"text": ""},
        "tool_use": {"input": {}},
    }
    return {**block, **start[block["type"]]}


def _blocks(turn: Turn) -> list[tuple[JSON, list[tuple[JSON, int]]]]:
    """List content blocks, each with the deltas that stream it and their tokens."""
    blocks: list[tuple[JSON, list[tuple[JSON, int]]]] = []
    if turn.reasoning:
        signature = turn.id("Ep", "signature", length=60)
        thoughts = [({"type": "thinking_delta", "thinking": part}, tokens) for part, tokens in deltas(turn.reasoning)]
        block = {"type": "thinking", "thinking": turn.reasoning, "signature": signature}
        blocks.append((block, [*thoughts, ({"type": "signature_delta", "signature": signature}, 0)]))
    if turn.texts[0] or not (turn.tool_calls or turn.reasoning):
        said = [({"type": "text_delta", "text": part}, tokens) for part, tokens in deltas(turn.texts[0])]
        blocks.append(({"type": "text", "text": turn.texts[0]}, said))
    for call in turn.tool_calls:
        given = arguments(call)
        first = ({"type": "input_json_delta", "partial_json": ""}, count(call.name))
        rest = [({"type": "input_json_delta", "partial_json": part}, tokens) for part, tokens in deltas(given)]
        blocks.append(({"type": "tool_use", "id": call.id, "name": call.name, "input": _object(given)}, [first, *rest]))
    return blocks


def _object(given: str) -> object:
    try:
        return json.loads(given)
    except ValueError:
        # The vendor's whole answers cannot carry broken arguments; only streams can.
        return {}
