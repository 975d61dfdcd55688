"""Sentences of instructions that are others in each request, taken out of where they break a provider's cache.

Taken is what has the form of a time, an id or a counter *and* was seen with another value in an earlier request of its
group on the same day: what changes with the date only breaks a cache once, and stays. Only whole sentences, or whole
lines, that stand for themselves: nothing inside code, JSON, a table, an example or ``<keep>`` tags, no half of a
sentence that goes on in the next line, and never all of the instructions.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from llmsaver.prompt.blocks import with_texts
from llmsaver.prompt.volatile import Volatile, suspects

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence
    from datetime import datetime

    from llmsaver.prompt.blocks import Place

    # Kind, start and end.
    _Stretch = tuple[str, int, int]

__all__ = ["Movable", "Taken", "instructions", "is_long", "sentences"]

_GROUPS, _MOST = 500, 200
_LONGEST, _LONGEST_LINE = 100_000, 8_000
# How many lines' suspects are remembered, and how long instructions are that are worth a thread of their own.
_LINES, _LONG = 8_000, 8_000
_GUARDED = re.compile(
    r"^[ \t]*(```|~~~).*?(?:^[ \t]*\1|\Z)|<(keep|examples?|code|pre|json|documents?|script)\b[^>]*>.*?(?:</\2>|\Z)",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
_INDENTED = re.compile(r"(?: {4}|\t)")
_END = re.compile(r"(?<=[.!?])[\"')\]]*[ \t]+(?=[\"'(\[]?[A-Z\u00c0-\u00de\u0400-\u042f])|(?<=[\u3002\uff01\uff1f])")
_NO_END = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Prof|vs|etc|e\.g|i\.e|No|Nr|Fig|Jr|Sr|Inc|Ltd|Co|[A-Z])|(?:^|\s)\d{1,3})\.\s*$"
)
# How a line begins that goes on with no other, and how one ends that does.
_BEGINS = re.compile(r"\s*(?:[-*\u2022#>\[<(\"']|\d+[.)]|[^\W\d_a-z\u00df-\u00ff\u0430-\u044f]|\w[\w -]{0,30}[:=])")
_STOPS = re.compile(r"[.!?:;>)\]*_\"'\u2019\u201d\u3002\uff01\uff1f\uff1a]\s*$")
# A name and a value that ends as times and numbers do: no sentence that goes on.
_PAIR = re.compile(r"\s*(?:[-*\u2022]\s+)?[\w'/ -]{1,40}[:=]\s.{0,60}(?:\d|Z|\b(?:UTC|GMT|AM|PM))\s*$")
_SHORT = 50
_TAG = re.compile(r"<(/?)([A-Za-z_][\w-]*)[^<>]*?(/?)>")


@dataclass(frozen=True, slots=True)
class Taken:
    """A request without some sentences of its instructions, these in their order, and the kinds and lines of them.

    ``role``: of the message they were in; "" for instructions that are no message.
    """

    body: Mapping[str, Any]
    said: Sequence[str]
    kinds: Sequence[str]
    role: str


@dataclass(slots=True)
class _Group:
    """By a sentence's form: a hash of how it was said last, and the day; and the forms that were said in two ways."""

    last: OrderedDict[bytes, tuple[bytes, int]] = field(default_factory=OrderedDict)
    changing: set[bytes] = field(default_factory=set)


class Movable:
    """Learns which sentences change, by group and in memory; keeps hashes only. Safe in threads, at most 500 groups.

    Lines that were looked at before, that day, cost next to nothing; those of more than 8,000 characters stay.
    """

    def __init__(self) -> None:
        self._groups: OrderedDict[str, _Group] = OrderedDict()
        self._lines: OrderedDict[bytes, Sequence[_Stretch]] = OrderedDict()
        self._lock = threading.Lock()

    def taken(self, group: str, dialect: str, body: Mapping[str, Any], now: datetime) -> Taken | None:
        """Return a request without what is known to change; None where that is nothing, or all there is."""
        texts: dict[Place, str] = {}
        said: list[str] = []
        kinds: list[str] = []
        role, lines = "", 0
        told: dict[bytes, int] = {}
        for place, of, text in instructions(dialect, body):
            found = [] if len(text) > _LONGEST else self._suspected(text, now)
            moving = [each for each in found if self._changes(group, *_form(text, *each, told), now.toordinal())]
            for start, end, kind in reversed(moving):
                texts[place] = texts.get(place, text)[:start] + texts.get(place, text)[end:]
                role = role or of
                kinds.insert(0, f"{kind[0].kind}, line {lines + kind[0].line}")
            said += [text[start:end].strip() for start, end, _ in moving]
            lines += text.count("\n") + 1
        if not said:
            return None
        left = _without_empty(dialect, with_texts(body, texts), texts)
        return None if left is None else Taken(left, said, kinds, role)

    def _suspected(self, text: str, now: datetime) -> list[tuple[int, int, list[Volatile]]]:
        """Return start, end and what changes of each sentence that may be moved and looks as if it changes."""
        found = [
            Volatile(kind, number, at + start, at + end)
            for number, at, line in _numbered(text)
            for kind, start, end in self._in_line(line, now)
        ]
        if not found:
            return []
        made = []
        by_line: dict[int, list[Volatile]] = {}
        for each in found:
            by_line.setdefault(each.line, []).append(each)
        for number, start, end in _pieces(text, by_line):
            inside = [each for each in by_line[number] if start <= each.start and each.end <= end]
            if inside:
                made.append((start, end, inside))
        return made

    def _in_line(self, line: str, now: datetime) -> Sequence[_Stretch]:
        """Return kind, start and end of what looks as if it changes in a line; what is near today, is so all day."""
        name = _hash(f"{now.toordinal()} {line}")
        with self._lock:
            known = self._lines.get(name)
            if known is not None:
                self._lines.move_to_end(name)
                return known
        found = suspects(line, now) if len(line) <= _LONGEST_LINE else ()
        made = [(each.kind, each.start, each.end) for each in found]
        with self._lock:
            self._lines[name] = made
            while len(self._lines) > _LINES:
                self._lines.popitem(last=False)
        return made

    def _changes(self, group: str, form: bytes, said: bytes, day: int) -> bool:
        """Note how a form is said, and return whether it was ever said otherwise on one day."""
        with self._lock:
            known = self._groups.setdefault(group, _Group())
            self._groups.move_to_end(group)
            before, when = known.last.get(form, (said, day))
            if before != said and when == day:
                known.changing.add(form)
            known.last[form] = said, day
            known.last.move_to_end(form)
            while len(known.last) > _MOST:
                known.changing.discard(known.last.popitem(last=False)[0])
            while len(self._groups) > _GROUPS:
                self._groups.popitem(last=False)
            return form in known.changing


def instructions(dialect: str, body: Mapping[str, Any]) -> Iterator[tuple[Place, str, str]]:
    """Yield place, role ("" where it is no message) and text of a request's instructions."""
    name = "system" if dialect == "messages" else "instructions"
    if dialect != "chat":
        for place, text in _texts((name,), body.get(name)):
            yield place, "", text
    if dialect == "messages":
        return
    name = "messages" if dialect == "chat" else "input"
    turns = body.get(name)
    for at, turn in enumerate(turns if isinstance(turns, list) else ()):
        if not isinstance(turn, dict) or turn.get("role") not in {"system", "developer"}:
            return
        for place, text in _texts((name, at, "content"), turn.get("content")):
            yield place, turn["role"], text


def _texts(place: Place, content: Any) -> Iterator[tuple[Place, str]]:
    if isinstance(content, str):
        yield place, content
    for at, part in enumerate(content if isinstance(content, list) else ()):
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            yield (*place, at, "text"), part["text"]


def _without_empty(dialect: str, body: dict[str, Any], texts: Mapping[Place, str]) -> dict[str, Any] | None:
    """Return a request without the parts that nothing is left of, which no provider takes; None if they are all."""
    empty = {place for place in texts if not _at(body, place).strip()}
    if not empty:
        return body
    blocks = {place[:-1] for place in empty if place[-1] == "text"}
    for parent in {place[:-1] for place in blocks}:
        kept = [part for at, part in enumerate(_at(body, parent)) if (*parent, at) not in blocks]
        if not kept:
            return None
        body = with_texts(body, {parent: kept})  # type: ignore[dict-item]  # a list goes there as well
    plain = {place for place in empty if place[-1] != "text"}
    if not plain:
        return body
    name = "messages" if dialect == "chat" else "input"
    if any(place[0] != name for place in plain):
        return None  # the whole system prompt
    gone = {place[1] for place in plain}
    turns = [turn for at, turn in enumerate(body[name]) if at not in gone]
    return {**body, name: turns} if any(turn.get("role") != "system" for turn in turns) else None


def _at(value: Any, place: Place) -> Any:
    for key in place:
        value = value[key]
    return value


def _form(text: str, start: int, end: int, inside: Sequence[Volatile], told: dict[bytes, int]) -> tuple[bytes, bytes]:
    """Return hashes of a sentence without what changes in it, and of it without its dates only.

    ``told``: how often each form was.
    """
    parts: list[str] = []
    said: list[str] = []
    at = start
    for each in inside:
        blank = f"\0{each.kind}\0"
        parts += [text[at : each.start], blank]
        said += [text[at : each.start], blank if each.kind == "date" else text[each.start : each.end]]
        at = each.end
    piece = "".join([*said, text[at:end]]).strip()
    form = re.sub(r"\d+", "#", "".join([*parts, text[at:end]]).strip())
    name = _hash(form)
    told[name] = told.get(name, 0) + 1
    return _hash(f"{told[name]} {form}"), _hash(piece)


def _hash(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "replace"), digest_size=12, person=b"moving").digest()


def is_long(dialect: str, body: Mapping[str, Any]) -> bool:
    """Return whether a request's instructions are so long that to look at them for the first time takes a while."""
    return sum(len(text) for _, _, text in instructions(dialect, body)) > _LONG


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each sentence or line that stands for itself; a line's end goes with a whole line."""
    return ((start, end) for _, start, end in _pieces(text, range(1, len(text) + 2)))


def _numbered(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield each line with its number, from 1, and its start."""
    at = 0
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        yield number, at, line
        at += len(line)


def _pieces(text: str, wanted: Container[int]) -> Iterator[tuple[int, int, int]]:
    """Yield line, start and end of the sentences in the lines that are asked for; see ``sentences``."""
    guarded = [found.span() for found in _GUARDED.finditer(text)]
    lines = text.splitlines(keepends=True)
    depth = at = 0
    for number, line in enumerate(lines):
        start, at = at, at + len(line)
        before, depth = depth, max(0, depth + sum(map(line.count, "{[")) - sum(map(line.count, "}]")))
        if number + 1 not in wanted or before or depth or any(a < at and start < b for a, b in guarded):
            continue
        if not _is_plain(line) or not _stands(lines, number):
            continue
        cuts = list(_cuts(line, start))
        # What is left of a line keeps its end.
        ends = at if not cuts else start + len(line.rstrip("\r\n"))
        pieces = list(itertools.pairwise([start, *cuts, ends]))
        if not cuts or all(_is_whole(text[a:b]) for a, b in pieces):
            yield from ((number + 1, a, b) for a, b in pieces)


def _is_plain(line: str) -> bool:
    """Return whether a line is no code, no JSON, no row of a table."""
    text = line.strip()
    return bool(text) and not (
        _INDENTED.match(line) or text[0] in "|\"'" or text[-1] in ",\\" or set("{}`") & set(text) or not _is_whole(text)
    )


def _is_whole(text: str) -> bool:
    """Return whether brackets, quotation marks and tags that a text opens are closed in it."""
    depth: list[str] = []
    for closes, name, alone in _TAG.findall(text):
        if alone:
            continue
        if not closes:
            depth.append(name)
        elif not depth or depth.pop() != name:
            return False
    return not depth and all(text.count(a) == text.count(b) for a, b in ("()", "[]")) and text.count('"') % 2 == 0


def _stands(lines: Sequence[str], number: int) -> bool:
    """Return whether a line neither goes on from the one before nor into the one after."""
    line = lines[number]
    before = lines[number - 1] if number else ""
    after = lines[number + 1] if number + 1 < len(lines) else ""
    begins = not before.strip() or _STOPS.search(before) or (len(before) < _SHORT and _BEGINS.match(line))
    short = len(line) < _SHORT and _BEGINS.match(after)
    ends = not after.strip() or _STOPS.search(line) or _PAIR.match(line) or short
    return bool(begins and ends)


def _cuts(line: str, start: int) -> Iterator[int]:
    """Yield where a further sentence begins in a line."""
    for end in _END.finditer(line):
        if end.end() < len(line.rstrip()) and not _NO_END.search(line, 0, end.start()):
            yield start + end.end()
