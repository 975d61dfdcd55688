"""The result files of batches: one JSON object a line, read as they arrive and never held whole."""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

from llmsaver.wire.payload import as_dict, parse

__all__ = ["Answered", "BatchLines"]

# Vectors for thousands of texts make lines of tens of megabytes; of longer ones only the two ends are kept.
LONGEST: Final = 32 * 1024 * 1024
END: Final = 64 * 1024
_BOM: Final = b"\xef\xbb\xbf"
# So many blanks before the first character are no file that a provider writes.
_BLANKS: Final = 64
_GOOD: Final = range(200, 300)

_decoder = json.JSONDecoder()
# Quotes inside a JSON string are escaped, so an unescaped key is one of the line's own.
_CUSTOM = re.compile(r'(?<!\\)"custom_id"\s*:\s*"((?:[^"\\]|\\.)*)"')
_ID = re.compile(r'(?<!\\)"id"\s*:\s*"([^"\\]*)"')
_STATUS = re.compile(r'(?<!\\)"status_code"\s*:\s*(\d+)')
_SUCCEEDED = re.compile(r'(?<!\\)"type"\s*:\s*"succeeded"')
_OBJECT = re.compile(r'(?<!\\)"object"\s*:\s*"(chat\.completion|response|list|text_completion)"')
_MODEL = re.compile(r'(?<!\\)"model"\s*:\s*"([^"\\]*)"')
_USAGE = re.compile(r'(?<!\\)"usage"\s*:\s*(?=\{)')
_DIALECTS: Final = {
    "chat.completion": "chat",
    "text_completion": "chat",
    "response": "responses",
    "list": "embeddings",
}


class Answered(NamedTuple):
    """One request of a batch that was answered, and so is billed.

    ``id`` is the provider's own name for it, "" where it gives none; ``custom_id`` is the caller's. ``message`` is the
    answer, to be read in ``dialect``.
    """

    id: str
    custom_id: str
    dialect: str
    message: dict[str, Any]


class BatchLines:
    """Finds the answers in a result file of OpenAI, Azure or Anthropic, cut anywhere by the network.

    Requests that failed, expired or were cancelled are not billed and left out. ``over`` is set as soon as the bytes
    prove to be no result file; nothing is read from then on. Lines that cannot be read are skipped, unless enough of
    them is left to tell what was used.
    """

    __slots__ = ("_known", "_looked", "_parts", "_size", "_tail", "over")

    def __init__(self) -> None:
        self.over = False
        self._known = False
        self._looked = 0  # how far the first line was sniffed at: not, for its first character, for its key
        self._parts: list[bytes] = []
        self._size = 0
        self._tail: bytearray | None = None

    def feed(self, chunk: bytes) -> list[Answered]:
        """Take the next bytes and return the answers they complete."""
        out: list[Answered] = []
        start = 0
        while not self.over and (end := chunk.find(b"\n", start)) >= 0:
            self._take(chunk[start:end])
            out += self._line(whole=True)
            start = end + 1
        if not self.over:
            self._take(chunk[start:] if start else chunk)
            if not self._known:
                self._sniff()
        return out

    def flush(self, *, whole: bool) -> list[Answered]:
        """Return what a last line without an ending holds; ``whole`` is False where the file was cut short."""
        return [] if self.over else self._line(whole=whole)

    def _take(self, part: bytes) -> None:
        self._size += len(part)
        if self._tail is not None:
            self._tail += part
            if len(self._tail) > 2 * END:
                del self._tail[:-END]
        elif part:
            self._parts.append(part)
            if self._size > LONGEST:
                line = b"".join(self._parts)
                self._parts, self._tail = [line[: 2 * END]], bytearray(line[-END:])

    def _sniff(self) -> None:
        """Give up on a file whose first line, of which this is the beginning, is none of a batch.

        Looked at twice: its first character as soon as it is there, and its keys once there is enough of them.
        """
        if (self._looked == 0 and self._size) or (self._looked == 1 and self._size > 2 * END):
            start = b"".join(self._parts)
            if not _plausible(start, self._size):
                self._stop()
            elif self._looked == 1 or b"{" in start:
                self._looked += 1

    def _stop(self) -> None:
        self.over = True
        self._parts, self._tail = [], None

    def _line(self, *, whole: bool) -> list[Answered]:
        raw = b"".join(self._parts)
        tail, size = self._tail, self._size
        self._parts, self._size, self._tail, self._looked = [], 0, None, 0
        if not self._known:
            if not _plausible(raw, size):
                self._stop()
                return []
            raw = raw.removeprefix(_BOM)
        if not raw.strip():
            return []
        text = raw.decode("utf-8", "replace")
        line = parse(text) if tail is None else None
        if line is not None:
            if not self._known and not _is_result(line):
                self._stop()
                return []
            found = _answered(line)
        else:
            # What is left of a line that was cut off in mid-air may be another's tomorrow, when it is read whole.
            found = _salvaged(text, text[-END:] if tail is None else tail.decode("utf-8", "replace")) if whole else None
            if not self._known and found is None:
                self._stop()
                return []
        self._known = True
        return [] if found is None else [found]


def _plausible(start: bytes, size: int) -> bool:
    """Whether a line of ``size`` bytes or more that begins like this may be a batch's."""
    if len(start) < len(_BOM) and _BOM.startswith(start):
        return True
    text = start.removeprefix(_BOM)
    inner = text.lstrip()
    if len(text) - len(inner) > _BLANKS:
        return False
    return not inner or (inner.startswith(b"{") and (size <= 2 * END or b'"custom_id"' in start[: 2 * END]))


def _is_result(line: dict[str, Any]) -> bool:
    return "custom_id" in line and ("response" in line or "result" in line or "error" in line)


def _answered(line: dict[str, Any]) -> Answered | None:
    """Return what a line says was answered; None for what is not billed, and for what is no line of a batch."""
    custom = line.get("custom_id")
    custom_id = custom if isinstance(custom, str) else ""
    result, response = line.get("result"), line.get("response")
    if isinstance(result, dict):
        message = as_dict(result.get("message"))
        if result.get("type") != "succeeded" or not message:
            return None
        return Answered(_name(message.get("id")), custom_id, "messages", message)
    if not isinstance(response, dict) or response.get("status_code", 200) not in _GOOD:
        return None
    body = as_dict(response.get("body"))
    dialect = _dialect(body)
    name = _name(line.get("id"), response.get("request_id"), body.get("id"))
    return None if dialect is None else Answered(name, custom_id, dialect, body)


def _name(*given: object) -> str:
    return next((name for name in given if isinstance(name, str) and name), "")


def _dialect(body: dict[str, Any]) -> str | None:
    """Return how to read an answer; None for a moderation's, which is free."""
    kind = body.get("object")
    known = _DIALECTS.get(kind) if isinstance(kind, str) else None
    if known is not None:
        return known
    if "input_tokens" in as_dict(body.get("usage")):
        return "responses"
    return None if "results" in body and "usage" not in body else "chat"


def _salvaged(head: str, tail: str) -> Answered | None:
    """Return what the two ends of a line that is too long or too deep to be read tell of an answer."""
    head = head[:END]
    custom, status, name = _CUSTOM.search(head), _STATUS.search(head) or _STATUS.search(tail), _ID.search(head)
    succeeded = _SUCCEEDED.search(head) is not None
    if custom is None or not (succeeded or (status is not None and len(status[1]) < 4 and int(status[1]) in _GOOD)):  # noqa: PLR2004 - an HTTP status has three digits
        return None
    message: dict[str, Any] = {}
    model = _MODEL.search(tail) or _MODEL.search(head)
    if model is not None:
        message["model"] = model[1]
    for text in (tail, head):
        for found in reversed(list(_USAGE.finditer(text))):
            usage = _object_at(text, found.end())
            if usage is not None and "usage" not in message:
                message["usage"] = usage
    kind = _OBJECT.search(head) or _OBJECT.search(tail)
    if kind is not None:
        message["object"] = kind[1]
    dialect = "messages" if succeeded else _dialect(message)
    return Answered("" if name is None else name[1], custom[1], dialect or "chat", message)


def _object_at(text: str, start: int) -> dict[str, Any] | None:
    try:
        value, _ = _decoder.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
