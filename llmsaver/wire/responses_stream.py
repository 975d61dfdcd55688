"""Responses answers as events, and events as one answer."""

from __future__ import annotations

from itertools import count
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from llmsaver.wire.payload import as_list, parse
from llmsaver.wire.sse import encode, pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["TERMINAL", "assemble", "replay"]

TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})


class _Field(NamedTuple):
    """Where a streamed text belongs: ``item[holder][event[number]][key]``, or ``item[key]`` without a holder.

    ``part`` is the type of the part it is in.
    """

    event: str
    holder: str
    number: str
    key: str
    part: str = ""


_PARTS = {
    field.part: field
    for field in (
        _Field("response.output_text", "content", "content_index", "text", "output_text"),
        _Field("response.refusal", "content", "content_index", "refusal", "refusal"),
        _Field("response.reasoning_text", "content", "content_index", "text", "reasoning_text"),
        _Field("response.reasoning_summary_text", "summary", "summary_index", "text", "summary_text"),
    )
}
_ITEMS = {
    "function_call": _Field("response.function_call_arguments", "", "", "arguments"),
    "custom_tool_call": _Field("response.custom_tool_call_input", "", "", "input"),
    "mcp_call": _Field("response.mcp_call_arguments", "", "", "arguments"),
    "code_interpreter_call": _Field("response.code_interpreter_call_code", "", "", "code"),
}
_DELTAS = {f"{field.event}.delta": field for field in (*_PARTS.values(), *_ITEMS.values())}
_ADDED = {"response.content_part.added": "content", "response.reasoning_summary_part.added": "summary"}


def assemble(kept: Iterable[bytes]) -> dict[str, Any] | None:
    """Return the terminal event's response, else the best that the events so far give; None before any of them."""
    response: dict[str, Any] = {}
    items: dict[int, _Item] = {}
    for data in kept:
        event = parse(data) or {}
        kind = event.get("type")
        if isinstance(event.get("response"), dict):
            response = event["response"]
        elif kind in ("response.output_item.added", "response.output_item.done"):
            if isinstance(event.get("item"), dict):
                items[_number(event, "output_index")] = _Item(event["item"])
        elif isinstance(kind, str) and (item := items.get(_number(event, "output_index"))) is not None:
            item.add(kind, event)
    if not response and not items:
        return None
    if items and not response.get("output"):
        # Some servers leave the items out of the terminal event.
        response = {**response, "output": [items[index].whole() for index in sorted(items)]}
    return response


def _number(event: Mapping[str, Any], key: str) -> int:
    value = event.get(key)
    return value if isinstance(value, int) else 0


class _Item:
    """One output item on its way; its texts are joined once, at the end."""

    __slots__ = ("_item", "_parts", "_texts")

    def __init__(self, item: Mapping[str, Any]) -> None:
        self._item = item
        self._parts: dict[tuple[str, int], dict[str, Any]] = {}
        self._texts: dict[tuple[_Field, int], list[str]] = {}

    def add(self, kind: str, event: Mapping[str, Any]) -> None:
        field = _DELTAS.get(kind)
        if field is not None and isinstance(event.get("delta"), str):
            self._texts.setdefault((field, _number(event, field.number)), []).append(event["delta"])
        elif kind in _ADDED and isinstance(event.get("part"), dict):
            holder = _ADDED[kind]
            self._parts[holder, _number(event, f"{holder}_index")] = event["part"]

    def whole(self) -> dict[str, Any]:
        whole = dict(self._item)
        parts = {place: dict(part) for place, part in self._parts.items()}
        for (field, index), texts in self._texts.items():
            target = parts.setdefault((field.holder, index), {"type": field.part}) if field.holder else whole
            start = target.get(field.key)
            target[field.key] = (start if isinstance(start, str) else "") + "".join(texts)
        for (holder, _), part in sorted(parts.items(), key=itemgetter(0)):
            whole[holder] = [*as_list(whole.get(holder)), part]
        return whole


def replay(message: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield the events of a whole response, numbered from zero; the last one says how it ended."""
    numbers = count()
    for event in _told(message):
        yield encode({"type": event["type"], "sequence_number": next(numbers), **event}, event["type"])


def _told(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    unknown = {key: None for key in ("usage", "error", "incomplete_details", "completed_at") if key in message}
    begun = {**message, **unknown, "status": "in_progress", "output": []}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(as_list(message.get("output"))):
        if isinstance(item, dict):
            yield from _item_events(index, item)
    ending = f"response.{message.get('status') or 'completed'}"
    yield {"type": ending if ending in TERMINAL else "response.incomplete", "response": message}


def _item_events(index: int, item: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    field = _ITEMS.get(str(item.get("type")))
    at = {"item_id": item.get("id") or "", "output_index": index}
    begun = dict(item)
    if "status" in item:
        begun["status"] = "in_progress"
    for holder in ("content", "summary"):
        if isinstance(item.get(holder), list):
            begun[holder] = []
    if field is not None and isinstance(item.get(field.key), str):
        begun[field.key] = ""
    yield {"type": "response.output_item.added", "output_index": index, "item": begun}
    for holder in ("summary", "content"):
        for number, part in enumerate(as_list(item.get(holder))):
            if isinstance(part, dict):
                yield from _part_events({**at, f"{holder}_index": number}, holder, part)
    if field is not None and isinstance(item.get(field.key), str):
        yield from ({"type": f"{field.event}.delta", **at, "delta": piece} for piece in pieces(item[field.key]))
        yield {"type": f"{field.event}.done", **at, field.key: item[field.key]}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _part_events(at: Mapping[str, Any], holder: str, part: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    name = "response.reasoning_summary_part" if holder == "summary" else "response.content_part"
    field = _PARTS.get(str(part.get("type")))
    begun = dict(part)
    text = ""
    if field is not None and isinstance(part.get(field.key), str):
        text = part[field.key]
        begun[field.key] = ""
    begun.update({key: [] for key in ("annotations", "logprobs") if isinstance(part.get(key), list)})
    yield {"type": f"{name}.added", **at, "part": begun}
    if field is not None:
        yield from _text_events(at, field, text, part)
    yield {"type": f"{name}.done", **at, "part": part}


def _text_events(at: Mapping[str, Any], field: _Field, text: str, part: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    logprobs = as_list(part.get("logprobs"))
    more: dict[str, Any] = {"logprobs": []} if part.get("type") == "output_text" else {}
    if logprobs:
        # In one piece, so that this event's text is the text of its tokens.
        yield {"type": f"{field.event}.delta", **at, "delta": text, "logprobs": logprobs}
    else:
        yield from ({"type": f"{field.event}.delta", **at, "delta": piece, **more} for piece in pieces(text))
    for number, annotation in enumerate(as_list(part.get("annotations"))):
        kind = "response.output_text.annotation.added"
        yield {"type": kind, **at, "annotation_index": number, "annotation": annotation}
    yield {"type": f"{field.event}.done", **at, field.key: text, **({"logprobs": logprobs} if more else {})}
