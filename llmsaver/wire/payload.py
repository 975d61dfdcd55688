"""JSON from outside: read without trust, extended without touching what is there."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any, Final

from llmsaver.core.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["BodyMeter", "annotate", "as_dict", "as_list", "count", "note_json", "parse", "splice", "usage_of"]

log = logging.getLogger("llmsaver")

KEY: Final = "llmsaver"
# No answer is this long; a number beyond it is a broken server, not a bill.
_ABSURD: Final = 10**12
_SPACE = re.compile(r"[ \t\n\r]*")
_decoder = json.JSONDecoder()
_warned: set[str] = set()


def parse(data: bytes | str) -> dict[str, Any] | None:
    """Return the JSON object in ``data``, or None where there is none (garbage, a list, nesting beyond the stack)."""
    try:
        value = _decoder.decode(data if isinstance(data, str) else data.decode())
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def as_dict(value: object) -> dict[str, Any]:
    """Return ``value`` where it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """Return ``value`` where it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def count(value: object) -> int | None:
    """Return a token count, or None for what cannot be one (null, negative, true, 1.5, more than 10**12)."""
    return value if type(value) is int and 0 <= value <= _ABSURD else None


def usage_of(
    raw: Mapping[str, Any], inputs: object, outputs: object, *, read: object, written: object, reasoning: object
) -> Usage | None:
    """Return the normalised usage, or None where one of the two main counts makes no sense.

    Parts that make no sense are zero, and never more than the total they are part of.
    """
    total_in, total_out = count(inputs), count(outputs)
    if total_in is None or total_out is None:
        return None
    return Usage(
        total_in,
        total_out,
        cache_read_tokens=min(count(read) or 0, total_in),
        cache_write_tokens=min(count(written) or 0, total_in),
        reasoning_tokens=min(count(reasoning) or 0, total_out),
        raw=raw,
    )


class BodyMeter:
    """Reads an answer that is one JSON body.

    ``message()`` is the parsed body and is shared by everybody who asks: read it, don't write to it.
    """

    __slots__ = ("_message", "_parts", "_read", "_usage")

    def __init__(self, usage: Callable[[Mapping[str, Any]], Usage | None]) -> None:
        self._usage = usage
        self._parts: list[bytes] = []
        self._message: dict[str, Any] | None = None
        self._read = 0

    def feed(self, chunk: bytes) -> bool:
        """Keep the bytes; a JSON body ends where its transport says, so nothing in it is a terminal event."""
        self._parts.append(chunk)
        return False

    @property
    def finished(self) -> bool:
        """Whether what was fed is one whole JSON object."""
        return self.message() is not None

    def usage(self) -> Usage | None:
        """Return what the body reports."""
        message = self.message()
        raw = message.get("usage") if message else None
        return self._usage(raw) if isinstance(raw, dict) else None

    def message(self) -> dict[str, Any] | None:
        """Return the body, parsed once, or None while it is no JSON object."""
        if self._read != len(self._parts):
            self._parts = [b"".join(self._parts)]
            self._read = 1
            self._message = parse(self._parts[0])
        return self._message

    def facts(self) -> dict[str, Any] | None:
        """Return the body, which says all it has to say of its terms."""
        return self.message()


def note_json(note: Callable[[], Mapping[str, Any]]) -> str | None:
    """Return ``note()`` as JSON in ASCII, or None (and one warning per process) where that fails."""
    try:
        return json.dumps(dict(note()), allow_nan=False)
    except Exception as error:
        # Whatever an application's own note does, it is never worth an answer.
        reason = type(error).__name__
        if reason not in _warned:
            _warned.add(reason)
            log.warning("llmsaver: an answer could not be annotated", exc_info=True)
        return None


def annotate(content: bytes, note: Mapping[str, Any]) -> bytes:
    """Return ``content`` with the note as its last top-level key; see ``Dialect.annotate``."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return content
    added = note_json(lambda: note)
    spliced = splice(text, added) if added is not None else None
    return content if spliced is None else spliced.encode()


def splice(text: str, added: str, member: str | None = None) -> str | None:
    """Return JSON ``text`` with the key ``llmsaver`` added to the object, or to the object that is its ``member``.

    Every other character stays; None where there is no such object.
    """
    value = parse(text)
    end = len(text)
    if value is not None and member is not None:
        value = value.get(member)
        try:
            end = _member_end(text, member) if isinstance(value, dict) else 0
        except RecursionError:
            return None
    if not isinstance(value, dict):
        return None
    at = text.rindex("}", 0, end)
    return f'{text[:at]}{", " if value else ""}"{KEY}": {added}{text[at:]}'


def _member_end(text: str, member: str) -> int:
    """Return where the value of ``member`` ends in the (valid) JSON object ``text``; the last one, as parsers do."""
    found = -1
    at = text.index("{") + 1
    while True:
        key, at = _value(text, at)
        value_start = _skip(text, at) + 1
        _, at = _value(text, value_start)
        if key == member:
            found = at
        at = _skip(text, at)
        if text[at] == "}":
            return found
        at += 1


def _value(text: str, at: int) -> tuple[Any, int]:
    return _decoder.raw_decode(text, _skip(text, at))


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
