"""Chat answers as chunks, and chunks as one answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmsaver.wire.payload import as_dict, as_list, parse
from llmsaver.wire.sse import encode, pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["assemble", "finished", "replay"]

# What a chunk says about its own transport and no whole answer has.
_CHUNK_ONLY = frozenset({"choices", "object", "usage", "obfuscation"})
# Text that says what something is; everything else that is text arrives in pieces.
_CONSTANT = frozenset({"role", "type", "id", "index"})
_PER_CHUNK = ("id", "created", "model", "service_tier", "system_fingerprint")


def finished(kept: Iterable[bytes]) -> bool:
    """Whether every choice that began has its finish reason."""
    reasons: dict[object, object] = {}
    for data in kept:
        for choice in as_list((parse(data) or {}).get("choices")):
            if isinstance(choice, dict):
                index = _index(choice.get("index"))
                reasons[index] = choice.get("finish_reason") or reasons.get(index)
    return bool(reasons) and all(reasons.values())


def assemble(kept: Iterable[bytes]) -> dict[str, Any] | None:
    """Return the answer that chunks add up to, as far as they go; None where there was no chunk."""
    answer: dict[str, Any] = {}
    choices: dict[int, _Choice] = {}
    usage = None
    for data in kept:
        chunk = parse(data)
        if chunk is None or "choices" not in chunk:
            continue
        for key, value in chunk.items():
            if key not in _CHUNK_ONLY and (value not in (None, "") or key not in answer):
                answer[key] = value
        usage = chunk.get("usage") or usage
        for choice in as_list(chunk["choices"]):
            if isinstance(choice, dict):
                index = _index(choice.get("index"))
                choices.setdefault(index, _Choice(index)).add(choice)
    if not answer and not choices:
        return None
    answer["object"] = "chat.completion"
    answer["choices"] = [choices[index].whole() for index in sorted(choices)]
    if usage is not None:
        answer["usage"] = usage
    return answer


def _index(value: object) -> int:
    return value if isinstance(value, int) else 0


class _Parts:
    """A JSON object whose texts arrive in pieces; they are joined once, at the end."""

    __slots__ = ("_fields", "_texts")

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._texts: dict[str, list[str]] = {}

    def add(self, delta: Mapping[str, Any], skip: Iterable[str] = ()) -> None:
        for key, value in delta.items():
            if key in skip:
                continue
            if isinstance(value, str) and key not in _CONSTANT:
                self._fields.setdefault(key, "")
                self._texts.setdefault(key, []).append(value)
            elif isinstance(value, dict) and isinstance(self._fields.get(key, _EMPTY), _Parts):
                self._fields.setdefault(key, _Parts()).add(value)
            elif isinstance(value, list) and isinstance(self._fields.get(key), list):
                self._fields[key].extend(value)
            elif value not in (None, "") or key not in self._fields:
                self._fields[key] = value

    def whole(self) -> dict[str, Any]:
        whole = {key: value.whole() if isinstance(value, _Parts) else value for key, value in self._fields.items()}
        return whole | {key: "".join(texts) for key, texts in self._texts.items()}


_EMPTY = _Parts()


class _Choice:
    """One choice on its way: its message, its tool calls by index, its log probabilities."""

    __slots__ = ("_calls", "_fields", "_index", "_logprobs", "_message")

    def __init__(self, index: int) -> None:
        self._index = index
        self._message = _Parts()
        self._calls: dict[int, _Parts] = {}
        self._fields: dict[str, Any] = {"finish_reason": None}
        self._logprobs: dict[str, Any] | None = None

    def add(self, choice: Mapping[str, Any]) -> None:
        delta = as_dict(choice.get("delta"))
        calls = as_list(delta.get("tool_calls"))
        self._message.add(delta, skip=("tool_calls",) if calls else ())
        for call in calls:
            if isinstance(call, dict):
                self._call(call).add(call, skip=("index",))
        for key, value in choice.items():
            if key == "logprobs":
                self._fields.setdefault(key, None)
                self._add_logprobs(as_dict(value))
            elif key not in ("delta", "index") and (value is not None or key not in self._fields):
                self._fields[key] = value

    def _call(self, call: Mapping[str, Any]) -> _Parts:
        index = call.get("index")
        if not isinstance(index, int):
            # A server that leaves the index out starts a call with its id.
            index = len(self._calls) if call.get("id") or not self._calls else max(self._calls)
        return self._calls.setdefault(index, _Parts())

    def _add_logprobs(self, logprobs: Mapping[str, Any]) -> None:
        for key, value in logprobs.items():
            known = self._logprobs = self._logprobs or {}
            if isinstance(value, list) and isinstance(known.get(key), list):
                known[key].extend(value)
            elif value is not None or key not in known:
                known[key] = value

    def whole(self) -> dict[str, Any]:
        message = self._message.whole()
        if self._calls:
            message["tool_calls"] = [self._calls[index].whole() for index in sorted(self._calls)]
        whole = {"index": self._index, "message": message, **self._fields}
        if self._logprobs is not None:
            whole["logprobs"] = self._logprobs
        return whole


def replay(message: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield the chunks of a whole answer, then ``[DONE]``."""
    with_usage = bool(as_dict(body.get("stream_options")).get("include_usage"))
    frame = {key: message[key] for key in _PER_CHUNK if key in message} | {"object": "chat.completion.chunk"}
    if with_usage:
        frame["usage"] = None
    choices = sorted((c for c in as_list(message.get("choices")) if isinstance(c, dict)), key=_order)
    extra = {k: v for k, v in message.items() if k not in _PER_CHUNK and k not in _CHUNK_ONLY}
    if not choices:
        yield encode({**frame, **extra, "choices": []})
    for choice in choices:
        for delta in _deltas(choice):
            yield encode({**frame, **extra, "choices": [delta]})
            extra = {}
    if with_usage and message.get("usage") is not None:
        yield encode({**frame, "choices": [], "usage": message["usage"]})
    yield b"data: [DONE]\n\n"


def _order(choice: Mapping[str, Any]) -> int:
    return _index(choice.get("index"))


def _deltas(choice: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the choices entries that tell one choice: who speaks, what is said, why it ended."""
    message = as_dict(choice.get("message"))
    logprobs = as_dict(choice.get("logprobs"))
    index = _order(choice)
    none = {"logprobs": None} if "logprobs" in choice else {}

    def entry(delta: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        return {"index": index, "delta": delta, **none, "finish_reason": None, **more}

    said = {k: v for k, v in message.items() if isinstance(v, str) and k not in _CONSTANT}
    calls = [call for call in as_list(message.get("tool_calls")) if isinstance(call, dict)]
    opening = {k: "" if k in said else v for k, v in message.items() if not (calls and k == "tool_calls")}
    early = {k: v for k, v in logprobs.items() if not (v and said.get(k))}
    now = early and (len(early) == len(logprobs) or any(v is not None for v in early.values()))
    yield entry(opening)
    if now:
        # In a chunk of their own: the SDK counts twice what comes with the first chunk of a later choice.
        yield entry({}, logprobs=early)
    # Reasoning comes before the text it led to.
    for key in sorted(said, key=lambda name: name in ("content", "refusal")):
        if logprobs.get(key) and said[key]:
            # In one piece, so that this chunk's text is the text of its tokens.
            yield entry({key: said[key]}, logprobs={**dict.fromkeys(logprobs), key: logprobs[key]})
        else:
            for piece in pieces(said[key]):
                yield entry({key: piece})
    for position, call in enumerate(calls):
        yield from (entry({"tool_calls": [part]}) for part in _call_deltas(position, call))
    more = {k: v for k, v in choice.items() if k not in ("index", "message", "logprobs")}
    yield entry({}, **more)


def _call_deltas(position: int, call: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a tool call's name, then its arguments (``function``) or input (``custom``) in pieces."""
    for kind, field in (("function", "arguments"), ("custom", "input")):
        what = call.get(kind)
        if isinstance(what, dict) and isinstance(what.get(field), str):
            yield {**call, "index": position, kind: {**what, field: ""}}
            yield from ({"index": position, kind: {field: piece}} for piece in pieces(what[field]))
            return
    yield {**call, "index": position}
