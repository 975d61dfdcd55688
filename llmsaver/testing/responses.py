"""The responses dialect: `POST /responses`, whole and streamed.

Shapes follow the recorded answers in openai-python's tests/lib/responses and its event types; the order of events is
that of public recordings.
"""

from typing import Any

from llmsaver.testing.answer import ToolCall
from llmsaver.testing.chat import logprob_entry, padding, tier
from llmsaver.testing.frames import Event
from llmsaver.testing.text import JSON, count, deltas, pieces
from llmsaver.testing.turn import Turn, arguments

_LOGPROBS = "message.output_text.logprobs"
_ECHOED: JSON = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}


def usage(turn: Turn) -> JSON | None:
    """Report tokens: input_tokens includes cached ones, output_tokens includes reasoning."""
    return turn.report(
        {
            "input_tokens": turn.input_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": turn.output_tokens,
            "output_tokens_details": {"reasoning_tokens": turn.reasoning_tokens},
            "total_tokens": turn.input_tokens + turn.output_tokens,
        }
    )


def body(turn: Turn) -> JSON:
    """Write the answer as one `response` object: completed, incomplete or failed."""
    status = {"length": "incomplete", "content_filter": "incomplete", "failed": "failed"}.get(turn.finish, "completed")
    why = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(turn.finish)
    error = (
        {"code": "server_error", "message": "The model failed to generate a response."} if status == "failed" else None
    )
    return {
        **_shell(turn, status),
        "error": error,
        "incomplete_details": {"reason": why} if why else None,
        "output": [item for item, _ in _items(turn)] if status != "failed" else [],
        "service_tier": tier(turn),
        "usage": None if status == "failed" else usage(turn),
        **turn.answer.extra,
    }


def events(turn: Turn) -> list[Event]:
    """Stream the answer: created, in_progress, each output item from added to done, then the terminal event."""
    flow = _Flow(turn)
    shell = _shell(turn, "in_progress")
    flow.add("response.created", response=shell)
    flow.add("response.in_progress", response=shell)
    for index, (item, call) in enumerate(_items(turn) if turn.finish != "failed" else []):
        if call is not None:
            _stream_call(flow, index, item, call)
        elif item["type"] == "reasoning":
            _stream_reasoning(flow, index, item)
        else:
            _stream_message(flow, index, item)
    final = body(turn)
    flow.add(f"response.{final['status']}", response=final)
    return flow.events


def error_events(turn: Turn, error: JSON, sent: int) -> list[Event]:
    """Break a stream after `sent` events: an error event, then response.failed."""
    inner = error["error"]
    failed = {**_shell(turn, "failed"), "error": {"code": inner["code"] or "server_error", "message": inner["message"]}}
    return [
        Event({"type": "error", "sequence_number": sent, "error": inner}, "error"),
        Event({"type": "response.failed", "sequence_number": sent + 1, "response": failed}, "response.failed"),
    ]


class _Flow:
    """Events with their sequence numbers."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.events: list[Event] = []

    def add(self, kind: str, tokens: int = 0, **fields: Any) -> None:
        data = {"type": kind, "sequence_number": len(self.events), **fields}
        if kind.endswith(".delta"):
            data |= padding(self.turn, data)
        self.events.append(Event(data, kind, tokens))


def _shell(turn: Turn, status: str) -> JSON:
    request = turn.request
    echoed = {name: value if request.get(name) is None else request[name] for name, value in _ECHOED.items()}
    reasoning, text = request.get("reasoning") or {}, request.get("text") or {}
    return {
        "id": turn.id("resp_", length=48).lower(),
        "object": "response",
        "created_at": turn.created,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": turn.model,
        "output": [],
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "service_tier": request.get("service_tier") or "auto",
        "text": {"format": {"type": "text"}, "verbosity": "medium", **text},
        "usage": None,
        **echoed,
    }


def _items(turn: Turn) -> list[tuple[JSON, ToolCall | None]]:
    items: list[tuple[JSON, ToolCall | None]] = []
    if turn.reasoning:
        asked = (turn.request.get("reasoning") or {}).get("summary")
        summary = [{"type": "summary_text", "text": turn.reasoning}] if asked else []
        items.append(({"id": turn.id("rs_", length=48).lower(), "type": "reasoning", "summary": summary}, None))
    if turn.texts[0] or turn.answer.refusal is not None or not (turn.tool_calls or turn.reasoning):
        items.append((_message(turn), None))
    for index, call in enumerate(turn.tool_calls):
        items.append(
            (
                {
                    "id": turn.id("fc_", index, length=48).lower(),
                    "type": "function_call",
                    "status": "completed",
                    "arguments": arguments(call),
                    "call_id": call.id,
                    "name": call.name,
                },
                call,
            )
        )
    return items


def _message(turn: Turn) -> JSON:
    if turn.answer.refusal is not None:
        part: JSON = {"type": "refusal", "refusal": turn.answer.refusal}
    else:
        part = {
            "type": "output_text",
            "annotations": [],
            "logprobs": _logprobs(turn, turn.texts[0], 0),
            "text": turn.texts[0],
        }
    return {
        "id": turn.id("msg_", length=48).lower(),
        "type": "message",
        "status": "incomplete" if turn.finish in ("length", "content_filter") else "completed",
        "content": [part],
        "role": "assistant",
    }


def _logprobs(turn: Turn, text: str, start: int) -> list[JSON]:
    if not turn.wants_logprobs(asked=_LOGPROBS in (turn.request.get("include") or [])):
        return []
    return [logprob_entry(turn, token, start + offset) for offset, token in enumerate(pieces(text))]


def _stream_message(flow: _Flow, index: int, item: JSON) -> None:
    turn, part = flow.turn, item["content"][0]
    where: JSON = {"item_id": item["id"], "output_index": index, "content_index": 0}
    flow.add("response.output_item.added", output_index=index, item={**item, "status": "in_progress", "content": []})
    if part["type"] == "refusal":
        flow.add("response.content_part.added", **where, part={"type": "refusal", "refusal": ""})
        for text, tokens in deltas(part["refusal"]):
            flow.add("response.refusal.delta", tokens, **where, delta=text)
        flow.add("response.refusal.done", **where, refusal=part["refusal"])
    else:
        flow.add("response.content_part.added", **where, part={**part, "logprobs": [], "text": ""})
        position = 0
        for text, tokens in deltas(part["text"]):
            flow.add(
                "response.output_text.delta", tokens, **where, delta=text, logprobs=_logprobs(turn, text, position)
            )
            position += tokens
        flow.add("response.output_text.done", **where, text=part["text"], logprobs=part["logprobs"])
    flow.add("response.content_part.done", **where, part=part)
    flow.add("response.output_item.done", output_index=index, item=item)


def _stream_reasoning(flow: _Flow, index: int, item: JSON) -> None:
    flow.add("response.output_item.added", output_index=index, item={**item, "summary": []})
    for number, part in enumerate(item["summary"]):
        where = {"item_id": item["id"], "output_index": index, "summary_index": number}
        flow.add("response.reasoning_summary_part.added", **where, part={"type": "summary_text", "text": ""})
        for text, _ in deltas(part["text"]):
            flow.add("response.reasoning_summary_text.delta", **where, delta=text)
        flow.add("response.reasoning_summary_text.done", **where, text=part["text"])
        flow.add("response.reasoning_summary_part.done", **where, part=part)
    flow.add("response.output_item.done", output_index=index, item=item)


def _stream_call(flow: _Flow, index: int, item: JSON, call: ToolCall) -> None:
    started = {**item, "status": "in_progress", "arguments": ""}
    flow.add("response.output_item.added", count(call.name), output_index=index, item=started)
    where = {"item_id": item["id"], "output_index": index}
    for text, tokens in deltas(item["arguments"]):
        flow.add("response.function_call_arguments.delta", tokens, **where, delta=text)
    flow.add("response.function_call_arguments.done", **where, arguments=item["arguments"])
    flow.add("response.output_item.done", output_index=index, item=item)
