"""Whether two questions are the same but for fillers, synonyms, phrasing and an order that changes no role."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from llmsaver.cache.guard_roles import told_apart
from llmsaver.cache.guard_words import FREE
from llmsaver.cache.lexicon import lexicon

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmsaver.cache.guard_sketch import Item, Sketch

__all__ = ["equivalent", "inverted"]

_SHORT = 6
# Of longer texts any change of order counts: looking at each pair of words would take too long.
_MOST_COMPARED = 40
# Frames in which the asker acts, so that the noun beside the verb is always what is acted on.
_OF_A_COMPANY = frozenset({"accept", "offer", "charge", "ship", "sell", "support", "take", "fee", "open"})
_ASKER_ACTS = frozenset({"how to", "cost", "long", "", "needed", "what is"})


def equivalent(a: Sketch, b: Sketch) -> bool:
    """Return whether one answer serves both questions with no other evidence than their words."""
    if a.codes != b.codes:
        return False
    if a.tokens == b.tokens:
        return not (a.cut or b.cut) and a.hidden == b.hidden
    if a.cut or b.cut or a.hidden or b.hidden or not a.items or not b.items:
        return False
    return (
        a.scripts == b.scripts
        and "mixed" not in a.scripts
        and _frames_fit(a, b)
        and a.tense == b.tense
        and sorted(a.negations) == sorted(b.negations)
        and not (a.joined and a.negated != b.negated)
        and a.joined == b.joined
        and a.references == b.references
        and not (a.soft and b.soft and a.soft != b.soft)
        and _persons_fit(a, b)
        and _words_fit(a, b)
        and _owners_fit(a, b, pairs := _matched(a, b))
        and _prepositions_fit(a, b, pairs)
        and not inverted(a, b)
        and not told_apart(a, b)
    )


def _words_fit(a: Sketch, b: Sketch) -> bool:
    return Counter((each.concept, each.mark) for each in a.items) == Counter(
        (each.concept, each.mark) for each in b.items
    )


def _frames_fit(a: Sketch, b: Sketch) -> bool:
    if a.kind == b.kind or {a.kind, b.kind} == {"what", "what is"}:
        return True
    asked, bare = (a, b) if b.kind == "" else (b, a)
    if bare.kind or len(bare.items) > _SHORT or bare.persons[:1] == ("1!",):
        return False
    if asked.kind == "how to":
        return _is_verb(bare.items[0]) or _is_verb(bare.items[-1])
    return asked.kind == "what is"


def _persons_fit(a: Sketch, b: Sketch) -> bool:
    """Return whether the same persons act and are acted on; who owns what is for ``_owners_fit``."""
    one, other = ([each for each in sketch.persons if each.endswith("!")] for sketch in (a, b))
    if one == other:
        return True
    if len(set(one)) > 1 or len(set(other)) > 1:
        return False
    if set(one) | set(other) == {"2!"} and not (one and other):
        return any(each.concept in _OF_A_COMPANY for each in a.items)
    return a.kind in FREE and b.kind in FREE | {""} and {*one, *other} <= {"1!", "2!"}


def _owners_fit(a: Sketch, b: Sketch, pairs: Sequence[tuple[int, int]]) -> bool:
    """Return whether things are the same person's: "my" may be left out, "your" be "the", neither be the other.

    Where anybody is meant (how do you clean your oven) "your" is "my".
    """
    anybody = a.kind in FREE and b.kind in FREE | {""}
    for here, there in pairs:
        one, other = a.items[here].owner, b.items[there].owner
        if one == other:
            continue
        owners = {one, other}
        if anybody:
            owners = {"1" if each == "2" else each for each in owners}
        if len(owners & {"1", "2", "his", "her", "their"}) > 1 or owners & {"his", "her", "their"}:
            return False
        if "2" in owners and "the" not in owners:
            return False
    return True


def _prepositions_fit(a: Sketch, b: Sketch, pairs: Sequence[tuple[int, int]]) -> bool:
    """Return whether no "in", "of", "for" ... is missing on one side without the words having moved."""
    if a.kind in FREE | {"count"} or not a.kind or not b.kind:
        return True
    return all(bool(a.items[here].weak) == bool(b.items[there].weak) or here != there for here, there in pairs)


def _matched(a: Sketch, b: Sketch) -> list[tuple[int, int]]:
    """Return the places of the words that both have, in the order of ``a``."""
    places: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for place, each in enumerate(b.items):
        places[each.concept, each.mark].append(place)
    pairs: list[tuple[int, int]] = []
    for place, each in enumerate(a.items):
        found = places.get((each.concept, each.mark))
        if found:
            pairs.append((place, found.pop(0)))
    return pairs


def inverted(a: Sketch, b: Sketch) -> bool:
    """Return whether words that both have stand in another order such that who does what to whom may differ."""
    order = _matched(a, b)
    if len(order) > _MOST_COMPARED:
        return any(there > beyond for (_, there), (_, beyond) in pairwise(order))
    return any(
        not _harmless(a, b, (here, there), (later, beyond))
        if there > beyond
        else _crossed(a, b, (here, there), (later, beyond))
        for index, (here, there) in enumerate(order)
        for later, beyond in order[index + 1 :]
    )


def _harmless(a: Sketch, b: Sketch, first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Return whether two words, in this order in ``a`` and in the other in ``b``, may change places."""
    x, y = a.items[first[0]], a.items[second[0]]
    x_there, y_there = b.items[first[1]], b.items[second[1]]
    if x.pair >= 0 and x.pair == y.pair and x_there.pair == y_there.pair:
        return True
    if x.mark or y.mark:
        return x.mark != y.mark
    if (y.weak and not x.weak and not x_there.weak) or (x_there.weak and not y_there.weak and not y.weak):
        return True
    return (
        a.kind in _ASKER_ACTS
        and b.kind in _ASKER_ACTS
        and (
            (_leads(a.items, x, first[0]) and not _adjective(x_there))
            or (_leads(b.items, y_there, second[1]) and not _adjective(y))
        )
    )


def _crossed(a: Sketch, b: Sketch, first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Return whether neighbouring words keep their order and yet swap roles: sister of a doctor, a sister's doctor."""
    if second[0] - first[0] != 1:
        return False
    weak = [
        bool(each)
        for each in (a.items[first[0]].weak, a.items[second[0]].weak, b.items[first[1]].weak, b.items[second[1]].weak)
    ]
    return weak in ([True, False, False, True], [False, True, True, False])


def _leads(items: Sequence[Item], item: Item, place: int) -> bool:
    """Return whether a word is the verb that a text without a subject begins with."""
    return place == 0 and len(items) > 1 and _is_verb(item)


def _adjective(item: Item) -> bool:
    """Return whether a verb's form describes a thing, as an article before it shows: a cancelled flight."""
    return bool(item.owner) and item.base in lexicon().verbs


def _is_verb(item: Item) -> bool:
    """Return whether a word is a verb, or a noun that names one (renewal)."""
    return item.base in lexicon().verbs or item.concept in lexicon().verbs
