"""The local server's chat answer, whole or as it arrives, as the caller's dialect tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from llmsaver.local.chat_as_messages import MessagesTeller
from llmsaver.local.chat_as_responses import ResponsesTeller
from llmsaver.local.tools_calls import Calls
from llmsaver.wire.payload import as_dict, as_list, parse
from llmsaver.wire.sse import Framer, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from llmsaver.local.tools import Plan
    from llmsaver.wire.sse import Event

__all__ = ["Telling"]

_DONE = b"[DONE]"


class _Teller(Protocol):
    """One dialect's way to tell chat chunks."""

    def chunk(self, chunk: Mapping[str, Any]) -> Iterator[bytes]:
        """Yield the events that one chunk becomes."""

    def end(self) -> Iterator[bytes]:
        """Yield the events that end the answer."""


class _ChatTeller:
    """Chat as it is."""

    def chunk(self, chunk: Mapping[str, Any]) -> Iterator[bytes]:
        yield encode(chunk)

    def end(self) -> Iterator[bytes]:
        yield b"data: [DONE]\n\n"


class Telling:
    """Turns the bytes of one chat answer into those of the caller's dialect; fed as they come, in any pieces.

    ``plan`` says how its tool calls are to be read. Raises ``LocalModelError`` for a call that is none, before the
    terminal event.
    """

    def __init__(self, dialect: str, body: Mapping[str, Any], plan: Plan | None) -> None:
        self._teller: _Teller = (
            MessagesTeller()
            if dialect == "messages"
            else ResponsesTeller(body)
            if dialect == "responses"
            else _ChatTeller()
        )
        self._calls = Calls(plan) if plan is not None else None
        self._framer = Framer()

    def feed(self, chunk: bytes) -> bytes:
        """Return the events that the next bytes of a stream become."""
        return b"".join(self._events(self._framer.feed(chunk)))

    def flush(self) -> bytes:
        """Return what an event without its blank line becomes, at the end of a stream."""
        last = self._framer.pending()
        self._framer = Framer()
        return b"".join(self._events([last])) if last is not None else b""

    def whole(self, content: bytes) -> bytes:
        """Return the stream that an unstreamed chat completion would have been; what is none stays as it is."""
        answer = parse(content)
        if answer is None or not isinstance(answer.get("choices"), list):
            return content
        chunks = [chunk for part in _chunks(answer) for chunk in self._changed(part)]
        return b"".join([*(event for chunk in chunks for event in self._teller.chunk(chunk)), *self._teller.end()])

    def _events(self, events: Iterable[Event]) -> Iterator[bytes]:
        for event in events:
            if event.data.startswith(_DONE):
                yield from self._teller.end()
            elif (chunk := parse(event.data)) is not None:
                for changed in self._changed(chunk):
                    yield from self._teller.chunk(changed)

    def _changed(self, chunk: dict[str, Any]) -> Iterable[dict[str, Any]]:
        return [chunk] if self._calls is None else self._calls.chunk(chunk)


def _chunks(answer: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the chunks of a whole completion: each choice's message, each choice's end, the usage."""
    frame = {key: value for key, value in answer.items() if key not in {"choices", "usage", "timings"}}
    frame["object"] = "chat.completion.chunk"
    for choice in map(as_dict, as_list(answer["choices"])):
        message = as_dict(choice.get("message"))
        index = choice.get("index", 0)
        calls = [{"index": at, **call} for at, call in enumerate(as_list(message.get("tool_calls")))]
        delta = {**message, "tool_calls": calls} if calls else message
        said = {"index": index, "delta": delta, "finish_reason": None, "logprobs": choice.get("logprobs")}
        yield {**frame, "timings": answer.get("timings"), "choices": [said]}
        yield {**frame, "choices": [{"index": index, "delta": {}, "finish_reason": choice.get("finish_reason")}]}
    yield {**frame, "choices": [], "usage": answer.get("usage"), "timings": answer.get("timings")}
