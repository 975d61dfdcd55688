"""Sentences of instructions that are others in each request, taken out of where they break a provider's cache.

Taken is what has the form of a time, an id or a counter *and* was seen with another value in an earlier request of its
group. Only whole sentences, or whole lines, that stand for themselves: nothing inside code, JSON, a table, an example
or ``<keep>`` tags, no half of a sentence that goes on in the next line, and never all of the instructions.
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
from llmsaver.prompt.volatile import suspects

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from llmsaver.prompt.blocks import Place
    from llmsaver.prompt.volatile import Volatile

__all__ = ["Movable", "Taken", "instructions", "sentences"]

_GROUPS, _MOST = 500, 200
_LONGEST = 100_000
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
    """By a sentence's form: a hash of how it was said last; and the forms that were said in two ways."""

    last: OrderedDict[bytes, bytes] = field(default_factory=OrderedDict)
    changing: set[bytes] = field(default_factory=set)


class Movable:
    """Learns which sentences change, by group and in memory; keeps hashes only. Safe in threads, at most 500 groups."""

    def __init__(self) -> None:
        self._groups: OrderedDict[str, _Group] = OrderedDict()
        self._lock = threading.Lock()

    def taken(self, group: str, dialect: str, body: Mapping[str, Any], now: datetime) -> Taken | None:
        """Return a request without what is known to change; None where that is nothing, or all there is."""
        texts: dict[Place, str] = {}
        said: list[str] = []
        kinds: list[str] = []
        role, lines = "", 0
        told: dict[bytes, int] = {}
        for place, of, text in instructions(dialect, body):
            found = [] if len(text) > _LONGEST else _suspected(text, now)
            moving = [each for each in found if self._changes(group, *_form(text, *each, told))]
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

    def _changes(self, group: str, form: bytes, said: bytes) -> bool:
        """Note how a form is said, and return whether it was ever said otherwise."""
        with self._lock:
            known = self._groups.setdefault(group, _Group())
            self._groups.move_to_end(group)
            if known.last.get(form, said) != said:
                known.changing.add(form)
            known.last[form] = said
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


def _suspected(text: str, now: datetime) -> list[tuple[int, int, list[Volatile]]]:
    """Return start, end and what changes of each sentence that may be moved and looks as if it changes."""
    found = suspects(text, now)
    if not found:
        return []
    made = []
    for start, end in sentences(text):
        inside = [each for each in found if start <= each.start and each.end <= end]
        if inside:
            made.append((start, end, inside))
    return made


def _form(text: str, start: int, end: int, inside: Sequence[Volatile], told: dict[bytes, int]) -> tuple[bytes, bytes]:
    """Return hashes of a sentence without what changes in it, and of all of it; ``told``: how often each form was."""
    piece, parts, at = text[start:end].strip(), [], start
    for each in inside:
        parts += [text[at : each.start], f"\0{each.kind}\0"]
        at = each.end
    form = re.sub(r"\d+", "#", "".join([*parts, text[at:end]]).strip())
    name = _hash(form)
    told[name] = told.get(name, 0) + 1
    return _hash(f"{told[name]} {form}"), _hash(piece)


def _hash(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "replace"), digest_size=12, person=b"moving").digest()


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each sentence or line that stands for itself; a line's end goes with a whole line."""
    guarded = [found.span() for found in _GUARDED.finditer(text)]
    lines = text.splitlines(keepends=True)
    depth = at = 0
    for number, line in enumerate(lines):
        start, at = at, at + len(line)
        before, depth = depth, max(0, depth + sum(map(line.count, "{[")) - sum(map(line.count, "}]")))
        if before or depth or any(a < at and start < b for a, b in guarded) or not _is_plain(line):
            continue
        if not _stands(lines, number):
            continue
        cuts = list(_cuts(line, start))
        # What is left of a line keeps its end.
        ends = at if not cuts else start + len(line.rstrip("\r\n"))
        pieces = list(itertools.pairwise([start, *cuts, ends]))
        if not cuts or all(_is_whole(text[a:b]) for a, b in pieces):
            yield from pieces


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
