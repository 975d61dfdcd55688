"""Near misses and rewordings of real questions, made by rule: part of what the cross-encoder is fitted on."""

from __future__ import annotations

import csv
import gzip
import re
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from llmsaver.cache.lexicon import lemma, lexicon
from llmsaver.embed import default_embedder

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Rule = Callable[[str, random.Random], str | None]

__all__ = ["synthetic"]

_SHORTEST, _LONGEST = 15, 110
_WORDS = 3_000
_NEAR = slice(2, 14)
_ASKING = ("how", "why", "when", "where", "who", "what")
_TURNED = dict(
    each.split()
    for each in (
        "before after", "after before", "with without", "without with", "over under", "to from", "from to",
        "increase decrease", "up down", "on off", "buy sell", "start stop", "first last", "more less", "most least",
        "best worst", "old new", "good bad",
    )
)  # fmt: skip
_COUNTED = dict(
    each.split()
    for each in (
        "all some", "every any", "most all", "some all", "any all", "many few", "both either", "always sometimes",
        "never always", "first second", "largest smallest", "maximum minimum",
    )
)  # fmt: skip
_TIMED = {"is": "was", "are": "were", "will": "did", "was": "will be", "did": "will", "does": "did", "last": "next"}
_POLITE = (
    "Can you tell me {}?", "please tell me: {}", "I'd like to know {}", "{} please", "Hi, {}?", "quick question: {}?",
    "I was wondering, {}?", "Could you explain {}?", "hey, {}", "I have a question. {}?", "tell me, {}", "{}, thanks",
)  # fmt: skip
_HOW_TO = (
    "What is the way to {}?", "how to {}", "How can I {}?", "What's the best way to {}?", "I need to {}. How?",
    "What do I have to do to {}?", "what are the steps to {}", "show me how to {}", "{} - how?",
    "I want to {}, how do I do that?",
)  # fmt: skip


def synthetic(path: Path, chance: random.Random) -> Iterator[tuple[str, str, bool, int]]:
    """Yield two texts, whether they ask the same, and the number of the pair of duplicates they were made of."""
    rows = list(csv.reader(gzip.decompress(path.read_bytes()).decode().splitlines()))[1:]
    pairs = [
        (one, other)
        for one, other, label in rows
        if label == "1" and all(_SHORTEST < len(each) < _LONGEST and each.isascii() for each in (one, other))
    ]
    misses, rewordings = _misses([one for one, _ in pairs]), _rewordings()
    for number, (one, other) in enumerate(pairs):
        for _ in range(2):
            made = _first(misses, one, chance)
            if made is not None:
                yield one, made, False, number
                if chance.random() < 0.6:  # noqa: PLR2004 - of another wording, the share that is a harder case
                    yield other, made, False, number
            made = _first(rewordings, one, chance)
            if made is not None:
                yield one, made, True, number


def _first(rules: list[Rule], text: str, chance: random.Random) -> str | None:
    """Return what the first rule that applies makes of a text, in an order of chance."""
    for rule in chance.sample(rules, len(rules)):
        made = rule(text, chance)
        if made is not None and made.lower() != text.lower():
            return made
    return None


def _misses(texts: list[str]) -> list[Rule]:
    names = sorted({name for text in texts for name in re.findall(r"(?<=[a-z] )[A-Z][a-z]{3,}\b", text)})
    near = _neighbours(texts)
    opposites: dict[str, list[str]] = {}
    for pair in sorted(map(sorted, lexicon().opposites)):
        if len(pair) == 2:  # noqa: PLR2004 - a word that is its own opposite makes no near miss
            opposites.setdefault(pair[0], []).append(pair[1])
            opposites.setdefault(pair[1], []).append(pair[0])
    return [
        partial(_swapped, r"\b[a-z]{4,}\b", near),
        partial(_swapped, r"\b[a-z]{4,}\b", near),
        partial(_swapped, r"\b[a-z]{2,}\b", opposites),
        partial(_swapped, r"\b[a-z]{2,}\b", {word: [other] for word, other in _TURNED.items()}),
        partial(_swapped, r"\b[a-z]{2,}\b", {word: [other] for word, other in _COUNTED.items()}),
        partial(_swapped, r"\b[a-z]{2,}\b", {word: [other] for word, other in _TIMED.items()}),
        lambda text, chance: _replaced(r"(?<=[a-z,] )[A-Z][a-z]{3,}\b", lambda _: chance.choice(names), text, chance),
        lambda text, chance: _replaced(
            r"\b\d{1,8}\b", lambda old: str(int(old) + chance.choice((1, 5, int(old) + 1))), text, chance
        ),
        lambda text, chance: _replaced(
            r"^(?:How|Why|When|Where|Who|What)\b(?= (?:is|are|do|does|did|can|should|was|were)\b)",
            lambda old: chance.choice([each for each in _ASKING if each != old.lower()]).capitalize(),
            text,
            chance,
        ),
        lambda text, chance: _replaced(
            r"\b(?:is|are|can|should|does|do|did|will|could|would)(?: (?:i|you|we|they|he|she|it|there|people))?\b",
            lambda old: f"{old} not",
            text,
            chance,
        ),
    ]


def _rewordings() -> list[Rule]:
    groups: dict[str, list[str]] = {}
    for word, concept in sorted(lexicon().concepts.items()):
        groups.setdefault(concept, []).append(word)
    same = {word: [each for each in groups[concept] if each != word] for word, concept in lexicon().concepts.items()}

    def politely(text: str, chance: random.Random) -> str:
        bare = text.rstrip("?. ")
        return chance.choice(_POLITE).format(bare[0].lower() + bare[1:])

    def how_to(text: str, chance: random.Random) -> str | None:
        match = re.match(r"(?:How (?:do|can|should|could) (?:I|you|we|one)|How to) (.*?)\??$", text)
        return match and chance.choice(_HOW_TO).format(match.group(1))

    def lower(text: str, _: random.Random) -> str:
        return text.lower().rstrip("?.") + "?" * text.isupper()

    return [partial(_swapped, r"\b[a-z]{3,}\b", same), politely, how_to, how_to, lower]


def _swapped(pattern: str, other: dict[str, list[str]], text: str, chance: random.Random) -> str | None:
    """Return a text with one of the words that ``other`` has exchanged for one that it gives."""
    found = [match for match in re.finditer(pattern, text) if other.get(match.group())]
    if not found:
        return None
    match = chance.choice(found)
    return text[: match.start()] + chance.choice(other[match.group()]) + text[match.end() :]


def _replaced(pattern: str, new: Callable[[str], str], text: str, chance: random.Random) -> str | None:
    found = list(re.finditer(pattern, text))
    if not found:
        return None
    match = chance.choice(found)
    return text[: match.start()] + new(match.group()) + text[match.end() :]


def _neighbours(texts: list[str]) -> dict[str, list[str]]:
    """Return, for the commonest words, words of near but other meaning."""
    counted = Counter(word for text in texts for word in re.findall(r"\b[a-z]{4,}\b", text))
    words = [word for word, _ in counted.most_common(_WORDS)]
    vectors = default_embedder().embed(words)
    near = np.argsort(-(vectors @ vectors.T), axis=1)[:, 1:25]
    concept = lexicon().concept
    told = {}
    for word, places in zip(words, near, strict=True):
        others = [words[at] for at in places]
        told[word] = [each for each in others if each[:4] != word[:4] and concept(lemma(each)) != concept(lemma(word))][
            _NEAR
        ]
    return told
