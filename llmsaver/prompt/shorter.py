"""What a text becomes, by steps that may each be used alone: pure functions of the text and its question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmsaver.prompt import bulk, logs, markup, tables
from llmsaver.prompt.blocks import blocks_of, segments, tagged
from llmsaver.prompt.passages import ratio_for, selected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from llmsaver.prompt.blocks import Block, Place

__all__ = ["ALL", "LOSSLESS", "Recipe", "Shortened", "shortened"]

# Nothing a model could need is lost by these: the same JSON, the same words, a text once instead of twice.
LOSSLESS = ("space", "json", "duplicates")
ALL = (*LOSSLESS, "bulk", "html", "logs", "passages")
# Shorter texts are not worth looking at, and a saving below a twentieth is not worth another wording.
_FEWEST = 200
# Passages are chosen from a text of at least so many characters.
_LONG = 800
_LEAST_SAVED = 0.05
# Prose has this share of plain words, and of lines that end a sentence.
_LETTERS, _SENTENCES = 0.7, 0.3
_SAME = "[the same text as in message {number} above]"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which ``steps`` to take.

    ``ratio``: how many times shorter passages become; without it, by ``keep``, the probability that the answer to the
    question is still in them.
    """

    steps: Sequence[str] = LOSSLESS
    keep: float = 0.97
    ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Shortened:
    """Other texts by place; bytes of all texts looked at, before and after; and how many bytes each step saved."""

    texts: Mapping[Place, str]
    before: int
    after: int
    saved: Mapping[str, int]


def shortened(dialect: str, body: Mapping[str, Any], recipe: Recipe) -> Shortened:
    """Return what the texts of a request become."""
    texts: dict[Place, str] = {}
    saved: dict[str, int] = {}
    first: dict[str, int] = {}
    before = after = 0
    for block in blocks_of(dialect, body):
        size = len(block.text.encode("utf-8", "replace"))
        made, step = _block(block, recipe, first)
        before += size
        less = size - len(made.encode("utf-8", "replace"))
        if step and less > _LEAST_SAVED * size:
            texts[block.place] = made
            saved[step] = saved.get(step, 0) + less
            size -= less
        after += size
    return Shortened(texts, before, after, saved)


def _block(block: Block, recipe: Recipe, first: dict[str, int]) -> tuple[str, str]:
    """Return what a text becomes and the step that did most of it; ``first``: where each text was seen first."""
    text = block.text
    if len(text) < _FEWEST:
        return text, ""
    number = int(block.place[1]) + 1
    if block.source == "tool" and "duplicates" in recipe.steps:
        seen = first.setdefault(text, number)
        if seen != number:
            return _SAME.format(number=seen), "duplicates"
    spans = tagged(text) if block.source == "user" else []
    if not spans:
        return _kept(text, block, recipe)
    # Only what is between the tags: the rest is the user's own words.
    made: list[str] = []
    begins, step = 0, ""
    for start, end in spans:
        told, by = _kept(text[start:end], block, recipe)
        made += [text[begins:start], told]
        begins, step = end, step or by
    return "".join([*made, text[begins:]]), step


def _kept(text: str, block: Block, recipe: Recipe) -> tuple[str, str]:
    """Return a text with each piece that may change made shorter."""
    made: list[str] = []
    most, step = 0, ""
    for piece, free in segments(text):
        told, by = _piece(piece, block, recipe) if free else (piece, "")
        made.append(told)
        if len(piece) - len(told) > most:
            most, step = len(piece) - len(told), by
    return "".join(made), step


def _piece(text: str, block: Block, recipe: Recipe) -> tuple[str, str]:
    """Return a piece made shorter by the one step that suits what it is, and that step's name."""
    steps = recipe.steps
    if text.lstrip()[:1] in {"{", "["}:
        told = tables.tabled(text) if block.source == "tool" else tables.minified(text)
        if told is not None:
            return (told, "json") if "json" in steps else (text, "")
    if "```" in text:
        return text, ""
    if "html" in steps and markup.is_html(text):
        return markup.as_text(text), "html"
    if "logs" in steps and logs.is_log(text):
        return logs.shortened(text, block.question), "logs"
    return _plain(text, block.question, recipe)


def _plain(text: str, question: str, recipe: Recipe) -> tuple[str, str]:
    told, by = text, ""
    if "bulk" in recipe.steps and (less := bulk.without_bulk(told)) != told:
        told, by = less, "bulk"
    if "passages" in recipe.steps and question and len(told) >= _LONG and _is_prose(told):
        ratio = recipe.ratio or ratio_for(question, recipe.keep)
        if ratio > 1:
            return selected(told, question, ratio), "passages"
    if "space" in recipe.steps and (less := bulk.without_trailing_space(told)) != told:
        told, by = less, by or "space"
    return told, by


def _is_prose(text: str) -> bool:
    """Return whether a text is sentences, and no listing, of which any line may be the one that counts."""
    words = text.split()
    letters = sum(word.strip(".,;:!?()\"'").isalpha() for word in words)
    lines = text.splitlines()
    ends = sum(line.rstrip().endswith((".", "!", "?", "\u3002", ":", '"', ")")) for line in lines if line.strip())
    filled = sum(bool(line.strip()) for line in lines)
    return letters > _LETTERS * len(words) and ends >= _SENTENCES * filled
