"""By what two questions ask for different things, and which of these differences forbid one answer for both."""

from __future__ import annotations

from llmsaver.cache.equivalence import equivalent, inverted
from llmsaver.cache.guard_pair import (
    entities_differ,
    numbers_differ,
    quantifiers_differ,
    symbols_differ,
    turned,
    units_differ,
)
from llmsaver.cache.guard_sketch import Item, Sketch, sketch
from llmsaver.cache.guard_words import TIMES, words_of
from llmsaver.cache.lexicon import lexicon
from llmsaver.cache.references import off

__all__ = ["HARD_VETOES", "KINDS", "SOFT_VETOES", "VETOES", "Sketch", "differences", "equivalent", "off", "sketch"]

KINDS = words_of(
    """number unit negation antonym polarity entity role direction wh quantifier tense symbol reference script word"""
)
# Kinds that stop a hit even where neighbours agree. The others (another question word, tense or pronoun, a word more)
# are as common among questions that share an answer as among those that don't.
VETOES = KINDS - {"word", "wh", "tense", "reference"}
# Of these, what no reading of two questions together overrules; it weighs the rest.
HARD_VETOES = frozenset({"script", "symbol", "number", "unit"})
SOFT_VETOES = VETOES - HARD_VETOES
_ALIKE = 0.7
# In a story of more words than this a "not" or an "all" is about some detail of it.
_STORY = 12
_OPPOSITE_MARKS = frozenset(
    frozenset(each.split())
    for each in (
        "from to", "before after", "with without", "over under", "above below", "up down", "off on", "since until",
    )
)  # fmt: skip
_TYPED = (
    ("number", numbers_differ),
    ("unit", units_differ),
    ("symbol", symbols_differ),
    ("entity", entities_differ),
    ("quantifier", quantifiers_differ),
    ("direction", turned),
)


def differences(a: Sketch, b: Sketch) -> frozenset[str]:
    """Return the kinds, of ``KINDS``, by which two questions ask for different things; in doubt they do."""
    if a.tokens == b.tokens and a.codes == b.codes and not a.cut:
        return frozenset({"script"}) if a.hidden != b.hidden else frozenset()
    here, there = ({each.concept for each in sketched.items} for sketched in (a, b))
    left = [each for each in a.items if each.concept not in there]
    right = [each for each in b.items if each.concept not in here]
    found = _of_sentence(a, b) | _of_words(left, right)
    told = max(len(a.items), len(b.items)) > _STORY
    found |= {kind for kind, differ in _TYPED if differ(a, b) and not (told and kind == "quantifier")}
    found |= _of_order(a, b, len(left), len(right))
    return frozenset(found)


def _of_sentence(a: Sketch, b: Sketch) -> set[str]:
    found = set()
    told = max(len(a.items), len(b.items)) > _STORY
    if len(a.negations) % 2 != len(b.negations) % 2 and not told:
        found.add("negation")
    if a.kind != b.kind and _asked(a) != _asked(b):
        found.add("wh")
    if ("past" in a.tense, "future" in a.tense) != ("past" in b.tense, "future" in b.tense) or _times(a) != _times(b):
        found.add("tense")
    if a.references != b.references:
        found.add("reference")
    if a.scripts != b.scripts or "mixed" in a.scripts or a.hidden or b.hidden:
        found.add("script")
    if a.soft and b.soft and a.soft != b.soft:
        found.add("quantifier")
    return found


def _asked(sketched: Sketch) -> str:
    return "what" if sketched.kind in {"what", "what is", ""} else sketched.kind


def _of_words(left: list[Item], right: list[Item]) -> set[str]:
    found = {"word"} if left or right else set()
    words = lexicon()
    for one in left:
        if one.base not in words.opposable and len(one.base) < len("like"):
            continue
        for other in right:
            kind = words.opposed(one.base, other.base) or words.opposed(one.concept, other.concept)
            if kind:
                found.add(kind)
    return found


def _of_order(a: Sketch, b: Sketch, left: int, right: int) -> set[str]:
    found = set()
    if any(
        frozenset((each.mark, other.mark)) in _OPPOSITE_MARKS
        for each in a.items
        for other in b.items
        if each.concept == other.concept
    ):
        found.add("direction")
    common = min(len(a.items) - left, len(b.items) - right)
    if common >= _ALIKE * max(len(a.items), len(b.items), 1) and (inverted(a, b) or _exchanged(a, b)):
        found.add("role")
    return found


def _exchanged(a: Sketch, b: Sketch) -> bool:
    """Return whether asker and asked have changed places: can I call you, can you call me."""
    one, other = ([each for each in sketched.persons if each.endswith("!")] for sketched in (a, b))
    return len(set(one)) > 1 and sorted(one) == sorted(other) and one != other


def _times(sketched: Sketch) -> frozenset[str]:
    return frozenset(each.concept for each in sketched.items if each.concept in TIMES)
