"""Server-sent events: bytes that arrive in any pieces, as events that remember their own bytes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Event", "Framer", "encode", "pieces"]

_BOM = b"\xef\xbb\xbf"
_LF = 10
# A line ending followed by an empty line. The first group is atomic, or CR LF would pass for two endings; a CR that is
# the last byte so far may be half of a CR LF, so it waits for one more byte.
_BLANK = re.compile(rb"(?>\r\n|\n|\r)(?:\r\n|\n|\r(?=[\x00-\xff]))")


class Event(NamedTuple):
    """One event: ``raw`` is every byte of it, blank line included; ``name`` and ``data`` are what it says.

    A block without data (a comment that keeps the connection alive) is an event with empty ``data``.
    """

    raw: bytes
    name: bytes
    data: bytes


class Framer:
    """Cuts a body into events, wherever the network cut it before.

    All ``raw`` of the events plus ``rest()`` are the bytes fed. Rules: WHATWG HTML, "Interpreting an event stream".
    """

    __slots__ = ("_buffer", "_fresh", "_seen")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._seen = 0
        self._fresh = True

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes and return the events they complete."""
        buffer = self._buffer
        if buffer:
            buffer += chunk
            # Only what is new is searched, and nothing is copied before an end is in sight: linear in tiny pieces.
            if _end(buffer, self._seen, buffer.find(b"\r", self._seen) >= 0) < 0:
                self._seen = max(0, len(buffer) - 3)
                return []
            chunk = bytes(buffer)
            buffer.clear()
        elif (event := _plain(chunk)) is not None:
            self._fresh = False
            return [event]
        events = []
        start = 0
        returns = b"\r" in chunk
        while (end := _end(chunk, start, returns)) >= 0:
            events.append(_event(chunk[start:end], self._fresh))
            self._fresh = False
            start = end
        if start < len(chunk):
            buffer += chunk[start:]
            self._seen = max(0, len(buffer) - 3)
        return events

    def rest(self) -> bytes:
        """Return the bytes of the event that is still incomplete."""
        return bytes(self._buffer)

    def pending(self) -> Event | None:
        """Return what the incomplete event says so far; some servers forget the last blank line."""
        return _event(bytes(self._buffer), self._fresh) if self._buffer else None


def _end(buffer: bytes | bytearray, start: int, returns: bool) -> int:
    """Return where the first event after ``start`` ends, or -1; ``returns`` says whether there may be a CR."""
    if not returns:
        found = buffer.find(b"\n\n", start)
        return found + 2 if found >= 0 else -1
    match = _BLANK.search(buffer, start)
    return match.end() if match else -1


def _plain(raw: bytes) -> Event | None:
    """Return the event that ``raw`` is where it has one of the two shapes that providers send, else None.

    A few searches instead of a split into lines: this runs for every token of every stream.
    """
    start = 6
    name = b""
    if raw.startswith(b"event: "):
        line = raw.find(b"\n")
        start = line + 7
        if raw[line + 1 : start] != b"data: ":
            return None
        name = raw[7:line]
    elif not raw.startswith(b"data: "):
        return None
    end = raw.find(b"\n", start)
    if end != len(raw) - 2 or raw[-1] != _LF or b"\r" in raw:
        return None
    return Event(raw, name, raw[start:end])


def _event(raw: bytes, fresh: bool) -> Event:
    plain = _plain(raw)
    if plain is not None:
        return plain
    text = raw.removeprefix(_BOM) if fresh else raw
    name = b""
    data: list[bytes] = []
    for line in text.splitlines():
        field, colon, value = line.partition(b":")
        if colon and value.startswith(b" "):
            value = value[1:]
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return Event(raw, name, data[0] if len(data) == 1 else b"\n".join(data))


def encode(payload: Mapping[str, Any], name: str = "") -> bytes:
    """Return one event that carries ``payload`` as JSON, under ``name`` where one is given."""
    head = f"event: {name}\ndata: " if name else "data: "
    try:
        return f"{head}{json.dumps(payload, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()
    except UnicodeEncodeError:
        # A lone surrogate has no UTF-8; escaped, it reaches the caller as it was.
        return f"{head}{json.dumps(payload, separators=(',', ':'))}\n\n".encode()


def pieces(text: str, size: int = 512) -> Iterator[str]:
    """Yield ``text`` in the pieces a stream hands out, ``size`` characters each."""
    for start in range(0, len(text), size):
        yield text[start : start + size]
