"""Retrieved text and its parts: documents with their titles, sentences, and the text again with fewer of them."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmsaver.prompt.select import Passage, ranked, within

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["FLOORS", "hops", "ratio_for", "selected", "split"]

# Where a document begins: "Document [3] (Title: Rome)", "Title: Rome", "# Rome", "<document ...>", "[3] Rome: ...".
_HEAD = re.compile(
    r"^(?:(?:Document|Doc|Passage|Source|Result|Chunk)\s*[\[(#]?\d+[\])]?[ :.]*"
    r"(?:\(Title:\s*(?P<bracketed>[^\n)]*)\)|(?:Title:)?\s*(?P<named>[^\n.]{1,120})$)?"
    r"|Title:\s*(?P<title>[^\n]*)$|\#{1,6}\s+(?P<heading>[^\n]+)$"
    r"|<(?:document|doc|passage|result)\b[^>\n]*>)",
    re.MULTILINE,
)
_ATTRIBUTE = re.compile(r"\b(?:title|name|source)=\"([^\"\n]*)\"")
_TAIL = re.compile(r"(?:\s*</[a-z_]+>)+\s*\Z")
_INNER_TITLE = re.compile(r"\s*<(title|source)>([^<\n]*)</\1>\s*")
_BLANK = re.compile(r"\n[ \t]*\n+")
_END = re.compile(
    r"(?<=[.!?])[\"'\u201d\u2019)\]]*\s+(?=[\"'\u201c\u2018(\[]?[A-Z\d\u00c0-\u00de])|(?<=[\u3002\uff01\uff1f])|\n+"
)
_NO_END = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Prof|vs|etc|e\.g|i\.e|No|Fig|Jr|Sr|Inc|Ltd|Co|[A-Z])\.)\s*$")
_CODE = re.compile(r"^(?:```|~~~)", re.MULTILINE)
_LEFT_OUT = "..."
_COMPARED = re.compile(
    r"\b(?:both|same|older|younger|earlier|later|first|more|larger|taller|longer|between|which of|either|in common"
    r"|or)\b",
    re.IGNORECASE,
)
_LINKED = re.compile(
    r"\b(?:of the|that|who|whose|whom|where|in which|by the|featured|starring|directed|written)\b", re.IGNORECASE
)
_LINKS, _LONG = 2, 14
# The share of questions whose answer was still there at a ratio, as lower 90 % bounds (Clopper and Pearson): of 200
# natural questions, which one passage answers (all 200 kept theirs), and of every second HotpotQA question, which need
# two (42, 37 and 28 of 46; the half on which the weights were chosen).
FLOORS = {1: {2: 0.989, 4: 0.989, 8: 0.989}, 2: {2: 0.834, 4: 0.709, 8: 0.503}}


@dataclass(frozen=True, slots=True)
class _Part:
    """One document as it stands in a text: its head, its sentences with the space behind each, and its closing tag."""

    head: str
    title: str
    sentences: Sequence[str]
    tail: str = ""


def split(text: str) -> list[_Part]:
    """Return the documents of a text; their heads, sentences and tails joined are the text, byte by byte."""
    starts = [found.start() for found in _HEAD.finditer(text)]
    if not starts:
        starts = [0, *(found.end() for found in _BLANK.finditer(text))]
    if starts[0] != 0:
        starts.insert(0, 0)
    bounds = [*starts, len(text)]
    return [_part(text[a:b]) for a, b in itertools.pairwise(bounds) if a < b]


def _part(text: str) -> _Part:
    found = _HEAD.match(text)
    ends, title = 0, ""
    if found is not None:
        ends = found.end()
        attribute = _ATTRIBUTE.search(found.group())
        title = attribute[1] if attribute else next((name for name in found.groups() if name), "")
        inner = _INNER_TITLE.match(text, ends)
        if inner is not None:
            ends, title = inner.end(), inner[2]
        while ends < len(text) and text[ends] in " \n\t:":
            ends += 1
    closing = _TAIL.search(text, ends)
    stops = len(text) if closing is None else closing.start()
    return _Part(text[:ends], title.strip(), _sentences(text[ends:stops]), text[stops:])


def _sentences(text: str) -> list[str]:
    """Return the sentences of a text, each with what follows it up to the next; a block of code is one of them."""
    if _CODE.search(text):
        return [text] if text else []
    found: list[str] = []
    begins = 0
    for end in _END.finditer(text):
        if _NO_END.search(text, max(0, end.start() - 8), end.start() + 1) and "\n" not in end.group():
            continue
        found.append(text[begins : end.end()])
        begins = end.end()
    return [*found, text[begins:]] if begins < len(text) else found


def hops(question: str) -> int:
    """Return how many passages a question is likely to need: 1, or 2 where it compares or leads over a second thing."""
    links = len(_LINKED.findall(question))
    compared = _COMPARED.search(question) is not None
    names = len(re.findall(r"(?<!^)(?<![.!?] )\b[A-Z]\w+(?:\s+[A-Z]\w+)*", question))
    long = len(question.split()) >= _LONG
    return 2 if (compared and names > 1) or links >= _LINKS or (long and (links or names > 1)) else 1


def ratio_for(question: str, keep: float) -> int:
    """Return how many times shorter passages may become with the answer kept by probability ``keep``; 1: not at all."""
    return max((ratio for ratio, floor in FLOORS[hops(question)].items() if floor >= keep), default=1)


def selected(text: str, question: str, ratio: float, size: Callable[[str], float] = len) -> str:
    """Return a text with the sentences that the question needs, ``ratio`` times shorter by ``size`` or nearly so.

    Documents without a sentence left go whole; "..." stands where sentences were left out inside of one.
    """
    parts = split(text)
    passages = [Passage(part.title, part.sentences) for part in parts]
    sizes = [[size(sentence) for sentence in part.sentences] for part in parts]
    heads = [size(part.head + part.tail) for part in parts]
    kept: dict[int, set[int]] = {}
    for passage, number in within(ranked(question, passages), sizes, size(text) / ratio, heads):
        kept.setdefault(passage, set()).add(number)
    return "".join(_told(part, kept[at]) for at, part in enumerate(parts) if at in kept)


def _told(part: _Part, kept: set[int]) -> str:
    told = [part.head]
    left_out = False
    for number, sentence in enumerate(part.sentences):
        if number in kept:
            told.append(f"{_LEFT_OUT} {sentence}" if left_out else sentence)
        left_out = number not in kept
    whole = "".join(told)
    whole = whole if part.tail or not left_out or whole.endswith("\n") else f"{whole.rstrip()}\n"
    return whole + part.tail
