"""Whether two answers to one request agree: how likely the first is right, where nothing else is told."""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from llmsaver.compare import json_equal, same
from llmsaver.router.confidence import Confidence
from llmsaver.router.kinds import choices_of, task_kind

if TYPE_CHECKING:
    from llmsaver.router.views import Answer, Asked, ToolCall

__all__ = ["by_agreement", "final_letter", "final_number"]

_NUMBER = re.compile(r"(?<![\w.])[-\u2212]?(?:[$\u20ac\u00a3]\s?)?\d+(?:,\d{3}(?!\d))*(?:\.\d+)?(?:/\d+)?(?!\w)")
# What says that the final answer follows, the surest first.
_FINAL = (
    re.compile(r"####\s*(.+)"),
    re.compile(r"\\boxed\{([^{}]+)\}"),
    re.compile(
        r"(?:(?:the|correct|my|best|final) (?:answer|option|choice)|answer|antwort|r\u00e9ponse|respuesta"
        r"|risposta|\u7b54\u6848)\s*(?:is|ist|est|es|\u00e8|\u662f|\u4e3a)?\s*:?\s*(.+)",
        re.IGNORECASE,
    ),
)
_MARKED = re.compile(r"####\s*[-\d$]|\\boxed\{")
_LETTER = re.compile(r"^[\s(\[*\"'`]*(?![AI]\s+[a-z'])([A-J])(?:[\s).:,\]*\"'`]|$)")
_STANDING = re.compile(r"(?<![A-Za-z'\u2019])\(?([A-J])[).:]?(?![A-Za-z'\u2019])")
_MARKS = re.compile(r"[^\w\s]+")
_ARTICLES = frozenset({"a", "an", "the"})
_SHORT = 8
# Answers that differ in their words only may still mean the same.
_DOUBT = 0.5


def by_agreement(one: Answer, other: Answer, asked: Asked) -> Confidence:
    """Return the confidence in ``one`` that a second sample gives: 1.0 where both say the same, 0.0 where they can't.

    Tool calls are equal by name and arguments, multiple choices by their letter, calculations by their final number,
    short answers by their words without articles and punctuation, the rest as ``llmsaver.compare.same`` finds: alike
    texts that it holds for different give at most 0.5.
    """
    value, by = _agreement(one, other, asked)
    return Confidence(value, "agreement", {by: value})


def final_letter(text: str, asked: Asked) -> str | None:
    """Return the option that an answer chooses among those that were offered; None where it names none, or several."""
    offered = choices_of(asked)
    if not offered:
        return None
    for part in (text, *_finals(text)):
        found = _LETTER.match(part)
        if found and found[1] in offered:
            return found[1]
    named = {each for each in _STANDING.findall(text) if each in offered} - ({"I"} if "I" in offered else set())
    if "A" in named and len(named) > 1 and re.search(r"\bA [a-z]", text):
        named.discard("A")  # an article
    return named.pop() if len(named) == 1 else None


def final_number(text: str) -> Decimal | None:
    """Return the number that a calculation ends with: behind "####", in a box, after "the answer is", or the last."""
    for part in (*_finals(text), text):
        found = _NUMBER.findall(part)
        if found:
            return _decimal(found[0] if part is not text else found[-1])
    return None


def _agreement(one: Answer, other: Answer, asked: Asked) -> tuple[float, str]:
    if one.calls or other.calls:
        return float([*map(_call, one.calls)] == [*map(_call, other.calls)]), "calls"
    if not one.text.strip() or not other.text.strip():
        return 0.0, "empty"
    if asked.json:
        return float(json_equal(one.text, other.text)), "json"
    return _finally(one.text, other.text, asked) or _in_words(one.text, other.text)


def _finally(one: str, other: str, asked: Asked) -> tuple[float, str] | None:
    """Compare the option or the number that both end with; None where there is none."""
    letters = final_letter(one, asked), final_letter(other, asked)
    if None not in letters:
        return float(letters[0] == letters[1]), "letter"
    if task_kind(asked) == "math" or all(map(_MARKED.search, (one, other))):
        numbers = final_number(one), final_number(other)
        if None not in numbers:
            return float(numbers[0] == numbers[1]), "number"
    return None


def _in_words(one: str, other: str) -> tuple[float, str]:
    words, others = _words(one), _words(other)
    if words and others and max(len(words), len(others)) <= _SHORT:
        return float(_within(words, others)), "words"
    verdict = same(one, other)
    if verdict.same:
        return _DOUBT + (1 - _DOUBT) * verdict.score, verdict.how
    return (_DOUBT * verdict.score if verdict.how in ("words", "meaning") else 0.0), verdict.how


def _finals(text: str) -> list[str]:
    """Return what stands where a final answer is announced, the surest place and there the last one first."""
    return [found for pattern in _FINAL for found in reversed(pattern.findall(text))]


def _decimal(written: str) -> Decimal | None:
    plain = re.sub(r"[$\u20ac\u00a3,\s]", "", written).replace("\u2212", "-")
    above, _, below = plain.partition("/")
    try:
        return Decimal(above) / Decimal(below) if below else Decimal(above)
    except (InvalidOperation, ZeroDivisionError):
        return None


def _call(call: ToolCall) -> tuple[str, Any]:
    try:
        return call.name, json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        return call.name, call.arguments


def _words(text: str) -> list[str]:
    return [word for word in _MARKS.sub(" ", text.lower()).split() if word not in _ARTICLES]


def _within(one: list[str], other: list[str]) -> bool:
    """Whether one short answer is the other with more around it: "Paris" and "It is Paris", "Obama", "Barack Obama"."""
    short, long = sorted((one, other), key=len)
    size = len(short)
    negated = {"not", "no", "never"} & (set(long) ^ set(short))
    return not negated and any(long[at : at + size] == short for at in range(len(long) - size + 1))
