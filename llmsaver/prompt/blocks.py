"""The texts of a request that may become shorter, each with the question it was first sent along with.

What a text becomes may depend on nothing but the request in which it first appeared, or a provider's cache would break
at it: so its question is the last of the user's up to the model's next answer, in every later request as in the first.
Left alone are instructions, tools, answers of the model with all they carry, and what the user wrote last; of that,
only documents between tags are looked at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Block", "Place", "blocks_of", "segments", "tagged", "with_texts"]

Place = tuple[str | int, ...]

_TAGGED = re.compile(
    r"<(documents|context|search_results|passages|sources)\b[^>\n]*>(?P<inner>.*?)</\1>|(?P<row><document\b.*</document>)",
    re.DOTALL | re.IGNORECASE,
)
_KEEP = re.compile(r"<keep>.*?</keep>", re.DOTALL)
_TURNS = {"chat": "messages", "messages": "messages", "responses": "input"}


@dataclass(frozen=True, slots=True)
class Block:
    """One text: where it is, who gave it ("tool" or "user"), what it says, and the question it came with."""

    place: Place
    source: Literal["tool", "user"]
    text: str
    question: str


def blocks_of(dialect: str, body: Mapping[str, Any]) -> list[Block]:
    """Return a request's texts in their order; none of a dialect or a body that is not known."""
    name = _TURNS.get(dialect)
    turns = body.get(name) if name else None
    if not isinstance(turns, list) or name is None:
        return []
    found: list[Block] = []
    begins = 0
    question = ""
    for at in range(len(turns) + 1):
        if at == len(turns) or _is_answer(turns[at]):
            for number in range(begins, at):
                found += _of_turn((name, number), turns[number], question)
            begins = at
        if at < len(turns):
            question = _asked(turns[at]) or question
    return found


def with_texts(body: Mapping[str, Any], texts: Mapping[Place, str]) -> dict[str, Any]:
    """Return a request with other texts in some places; the rest is the same objects as before."""
    made: Any = dict(body)
    for place, text in texts.items():
        made = _set(made, place, text)
    return made  # type: ignore[no-any-return]  # a place begins with the name of a body's list


def _set(value: Any, place: Sequence[str | int], text: str) -> Any:
    if not place:
        return text
    first, *rest = place
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[first] = _set(value[first], rest, text)
    return copy


def segments(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the pieces of a text and whether each may change: what is between ``<keep>`` tags may not."""
    begins = 0
    for kept in _KEEP.finditer(text):
        if kept.start() > begins:
            yield text[begins : kept.start()], True
        yield kept.group(), False
        begins = kept.end()
    if begins < len(text):
        yield text[begins:], True


def _is_answer(turn: Any) -> bool:
    return isinstance(turn, dict) and (
        turn.get("role") == "assistant" or turn.get("type") in ("function_call", "reasoning", "custom_tool_call")
    )


def _asked(turn: Any) -> str:
    """Return what the user wrote last in a message, without documents between tags; "" in any other."""
    if not isinstance(turn, dict) or turn.get("role") != "user":
        return ""
    content = turn.get("content")
    texts = [content] if isinstance(content, str) else [text for _, text in _texts((), content)]
    return _TAGGED.sub(" ", texts[-1]).strip() if texts else ""


def _of_turn(place: Place, turn: Any, question: str) -> Iterator[Block]:
    if not isinstance(turn, dict):
        return
    if turn.get("type") == "function_call_output":
        yield from _of_result((*place, "output"), turn.get("output"), question)
    elif turn.get("role") == "tool":
        yield from _of_result((*place, "content"), turn.get("content"), question)
    elif turn.get("role") == "user":
        yield from _of_user((*place, "content"), turn.get("content"), question)


def _of_user(place: Place, content: Any, question: str) -> Iterator[Block]:
    if isinstance(content, str):
        if _TAGGED.search(content):
            yield Block(place, "user", content, question)
        return
    for number, part in enumerate(content if isinstance(content, list) else ()):
        if isinstance(part, dict) and part.get("type") == "tool_result":
            yield from _of_result((*place, number, "content"), part.get("content"), question)
    texts = list(_texts(place, content))
    for at, (where, text) in enumerate(texts):
        if at + 1 < len(texts) or _TAGGED.search(text):
            yield Block(where, "user", text, question)


def _of_result(place: Place, content: Any, question: str) -> Iterator[Block]:
    if isinstance(content, str):
        yield Block(place, "tool", content, question)
    for where, text in _texts(place, content):
        yield Block(where, "tool", text, question)


def _texts(place: Place, content: Any) -> Iterator[tuple[Place, str]]:
    """Yield the texts among a message's parts."""
    for number, part in enumerate(content if isinstance(content, list) else ()):
        if isinstance(part, dict) and part.get("type") in ("text", "input_text") and isinstance(part.get("text"), str):
            yield (*place, number, "text"), part["text"]


def tagged(text: str) -> list[tuple[int, int]]:
    """Return where documents between tags begin and end in a text, without the tags around them all."""
    return [found.span("inner" if found["row"] is None else "row") for found in _TAGGED.finditer(text)]
