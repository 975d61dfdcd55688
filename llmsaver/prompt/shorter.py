"""What a text becomes, by steps that may each be used alone: pure functions of the text and its question."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from llmsaver.prompt import bulk, logs, markup, tables
from llmsaver.prompt.blocks import blocks_of, segments, tagged
from llmsaver.prompt.passages import ratio_for, selected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from typing import Any

    from llmsaver.prompt.blocks import Block, Place

__all__ = ["ALL", "LOSSLESS", "MEMORY_BYTES", "Recipe", "Seen", "Shaper", "Shortened", "shortened"]

# Nothing a model could need is lost by these: the same JSON, the same words, a text once instead of twice.
LOSSLESS = ("space", "json", "duplicates")
ALL = (*LOSSLESS, "bulk", "html", "logs", "passages")
_BY_QUESTION = frozenset({"logs", "passages"})
# Shorter texts are not worth looking at, and a saving below a twentieth is not worth another wording.
_FEWEST = 200
# Passages are chosen from a text of at least so many characters.
_LONG = 800
_LEAST_SAVED = 0.05
# Prose has this share of plain words, and of lines that end a sentence.
_LETTERS, _SENTENCES = 0.7, 0.3
# Where an object lies is another place in every process.
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
_SAME = "[the same text as in message {number} above]"
# What texts became is remembered in so many bytes; an entry costs this beside its text.
MEMORY_BYTES = 16 << 20
_ENTRY_BYTES = 250


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which ``steps`` to take.

    ``ratio``: how many times shorter passages become; without it, by ``keep``, the probability that the answer to the
    question is still in them. ``select``: what makes passages shorter, from text, question and ratio.
    """

    steps: Sequence[str] = LOSSLESS
    keep: float = 0.97
    ratio: float | None = None
    select: Callable[[str, str, float], str] = selected

    @property
    def policy(self) -> str | None:
        """What of it may decide an answer, the same in every process; None where nothing is lost.

        A ``select`` counts by its name, an object of the application's by its class and its own ``repr``.
        """
        if set(self.steps) <= set(LOSSLESS):
            return None
        by = "" if self.select is selected else f" {_named(self.select)}"
        return f"{','.join(sorted(set(self.steps)))} {self.keep} {self.ratio}{by}"


@dataclass(frozen=True, slots=True)
class Shortened:
    """Other texts by place; bytes of all texts looked at, before and after; and how many bytes each step saved."""

    texts: Mapping[Place, str]
    before: int
    after: int
    saved: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Seen:
    """A request's texts, each with its bytes and a hash of all that decides what it becomes ("" where nothing does)."""

    blocks: Sequence[Block]
    sizes: Sequence[int]
    keys: Sequence[bytes]


class Shaper:
    """Makes texts shorter by a recipe, and remembers what each became, so that a long conversation costs its news.

    Safe in threads. What is remembered is a function of what it is found by, so nobody sees a text that he has not
    sent; ``most`` bounds it in bytes.
    """

    def __init__(self, recipe: Recipe, most: int = MEMORY_BYTES) -> None:
        self.recipe = recipe
        self._most = most
        self._used = 0
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, tuple[str | None, str]] = OrderedDict()
        self._asked = not _BY_QUESTION.isdisjoint(recipe.steps)

    def look(self, dialect: str, body: Mapping[str, Any]) -> Seen:
        """Return a request's texts."""
        blocks = blocks_of(dialect, body)
        told = [block.text.encode("utf-8", "surrogatepass") for block in blocks]
        keys = [self._key(block, text) for block, text in zip(blocks, told, strict=True)]
        return Seen(blocks, [len(text) for text in told], keys)

    def fresh(self, seen: Seen) -> int:
        """Return the bytes of the texts that nothing is remembered of."""
        with self._lock:
            return sum(size for size, key in zip(seen.sizes, seen.keys, strict=True) if key and key not in self._known)

    def shape(self, seen: Seen, without: AbstractSet[Place] = frozenset()) -> Shortened:
        """Return what texts become, those at the places ``without`` left out: nothing refers to them either."""
        texts: dict[Place, str] = {}
        saved: dict[str, int] = {}
        first: dict[str, int] = {}
        before = after = 0
        for block, size, key in zip(seen.blocks, seen.sizes, seen.keys, strict=True):
            before += size
            after += size
            if not key or block.place in without:
                continue
            number = int(block.place[1]) + 1
            seen_in = first.setdefault(block.text, number) if block.source == "tool" else number
            if seen_in != number and "duplicates" in self.recipe.steps:
                made, step = _SAME.format(number=seen_in), "duplicates"
            else:
                made, step = self._made(block, key)
            less = size - len(made.encode("utf-8", "surrogatepass")) if step else 0
            if less > _LEAST_SAVED * size:
                texts[block.place] = made
                saved[step] = saved.get(step, 0) + less
                after -= less
        return Shortened(texts, before, after, saved)

    def _key(self, block: Block, text: bytes) -> bytes:
        if len(block.text) < _FEWEST:
            return b""
        question = block.question if self._asked else ""
        asked = blake2b(question.encode("utf-8", "surrogatepass"), digest_size=16, person=b"question").digest()
        return blake2b(text, digest_size=16, salt=asked, person=block.source.encode()).digest()

    def _made(self, block: Block, key: bytes) -> tuple[str, str]:
        with self._lock:
            found = self._known.get(key)
            if found is not None:
                self._known.move_to_end(key)
        if found is None:
            made, step = _block(block, self.recipe)
            found = (made if step else None, step)
            self._remember(key, found)
        return (block.text if found[0] is None else found[0]), found[1]

    def _remember(self, key: bytes, made: tuple[str | None, str]) -> None:
        with self._lock:
            if key in self._known or _cost(made) > self._most:
                return
            self._known[key] = made
            self._used += _cost(made)
            while self._used > self._most:
                self._used -= _cost(self._known.popitem(last=False)[1])


def shortened(dialect: str, body: Mapping[str, Any], recipe: Recipe) -> Shortened:
    """Return what the texts of a request become."""
    shaper = Shaper(recipe)
    return shaper.shape(shaper.look(dialect, body))


def _named(select: Any) -> str:
    if isinstance(getattr(select, "__qualname__", None), str):
        return f"{select.__module__}.{select.__qualname__}"
    kind: Any = type(select)
    told = "" if kind.__repr__ is object.__repr__ else f" {_ADDRESS.sub('', repr(select))}"
    return f"{kind.__module__}.{kind.__qualname__}{told}"


def _cost(made: tuple[str | None, str]) -> int:
    """Return the bytes that remembering it takes, four to a character at most."""
    text = made[0] or ""
    return _ENTRY_BYTES + len(text) * (1 if text.isascii() else 4)


def _block(block: Block, recipe: Recipe) -> tuple[str, str]:
    """Return what a text becomes and the step that did most of it."""
    text = block.text
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
            return recipe.select(told, question, ratio), "passages"
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
