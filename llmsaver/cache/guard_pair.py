"""Whether two sketches contradict each other by numbers, units, quantifiers, symbols, names or small words."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise, permutations
from typing import TYPE_CHECKING

from llmsaver.cache.guard_words import UNITS, words_of
from llmsaver.cache.lexicon import lexicon, word

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmsaver.cache.guard_sketch import Sketch

__all__ = [
    "asks_otherwise",
    "entities_differ",
    "numbers_differ",
    "quantifiers_differ",
    "symbols_differ",
    "turned",
    "units_differ",
]

_ADVERBS = {"daily": "day", "weekly": "week", "monthly": "month", "yearly": "year", "annual": "year", "hourly": "hour"}
_HOW_MANY = {"pair": "2", "couple": "2", "both": "2", "twice": "2", "double": "2", "dual": "2", "triple": "3"}
_CLASSES = {
    member: name
    for name, members in {
        "all": "all every each everyone everything",
        "none": "none nobody nothing never",
        "half": "half",
        "only": "only",
        "either": "either",
        "neither": "neither",
    }.items()
    for member in members.split()
}
_MOST = frozenset({"most", "all"})
_ARROWS = frozenset({"->", "=>", "-->", "\u2192"})
# Pairs of small words that turn a question round, whatever they are said of.
_TURNING = (
    ("before", "after"), ("with", "without"), ("above", "below"), ("inside", "outside"), ("since", "until"),
    ("over", "under"), ("forward", "backward"), ("upstairs", "downstairs"),
)  # fmt: skip
# Pairs that do so only right behind the same verb, or a few words on: scale up, turn the volume down.
_PARTICLES = {"up": "down", "down": "up", "on": "off", "off": "on", "in": "out", "out": "in"}
_REACH = 4
# What kind of answer each kind of question wants, which of them may be one, and the nouns by which "what" wants it.
_ANSWERS = {
    kind: answer
    for answer, kinds in {
        "time": "when hours", "duration": "long", "place": "where", "person": "who whose", "reason": "why",
        "way": "how_to", "price": "cost", "amount": "count amount", "rate": "often", "distance": "far",
        "yes": "can must should yes payable offer",
    }.items()
    for kind in (each.replace("_", " ") for each in kinds.split())
}  # fmt: skip
_ALIKE_ANSWERS = frozenset(
    frozenset(("amount", each)) for each in ("price", "rate", "duration", "distance", "time")
) | {frozenset(("time", "duration"))}
_TOLD_BY = {
    "time": words_of("time date day month year hour deadline season moment age"),
    "duration": words_of("time duration period length year month day hour minute validity"),
    "place": words_of("place location address city country site page room street"),
    "person": words_of("person name inventor author player scientist writer president founder people man woman team"),
    "reason": words_of("reason cause make explain explanation purpose"),
    "way": words_of("way step procedure process method instruction command shortcut formula recipe tip guide"),
    "price": words_of("price cost fee charge rate"),
    "amount": words_of("number amount count total quantity content size limit population"),
    "rate": words_of("interval frequency time day week"),
    "distance": words_of("distance length km mile"),
    "yes": words_of("true possible allow permit"),
}
_ROUTES = words_of("to from into than by")
_STEM = 4
_PEOPLE = words_of("n s ns an ans ian ians ean ese i is ish y ic")


def numbers_differ(a: Sketch, b: Sketch) -> bool:
    """Return whether the numbers differ; "a pair of" may stand for 2."""
    one, other = _numbers(a), _numbers(b)
    return not (_told(one - other, b.tokens) and _told(other - one, a.tokens))


def _numbers(sketched: Sketch) -> Counter[str]:
    return Counter(each.base for each in sketched.items if each.base[0].isdigit() and each.base == each.concept)


def _told(missing: Counter[str], tokens: Iterable[str]) -> bool:
    return not missing or missing <= Counter(_HOW_MANY.get(each, "") for each in tokens)


def units_differ(a: Sketch, b: Sketch) -> bool:
    """Return whether things are measured in different units; a unit on one side alone counts beside its number."""
    one, other = _units(a), _units(b)
    if one - other and other - one:
        return True
    return bool(one ^ other) and bool(_measured(a) ^ _measured(b)) and _numbers(a) == _numbers(b) != Counter()


def _units(sketched: Sketch) -> frozenset[str]:
    concepts = (_ADVERBS.get(each.concept, each.concept) for each in sketched.items)
    return frozenset(each for each in concepts if each in UNITS)


def _measured(sketched: Sketch) -> frozenset[str]:
    """Return the units right behind a number."""
    items = sketched.items
    return frozenset(
        each.concept for number, each in pairwise(items) if each.concept in UNITS and number.base[0].isdigit()
    )


def quantifiers_differ(a: Sketch, b: Sketch) -> bool:
    """Return whether one asks about all and the other about some, none, half or only one."""
    one, other = _quantifiers(a), _quantifiers(b)
    if one != other:
        return True
    most = [any(each.concept == "most" for each in sketched.items) for sketched in (a, b)]
    return (most[0] and not most[1] and bool(b.soft)) or (most[1] and not most[0] and bool(a.soft))


def _quantifiers(sketched: Sketch) -> frozenset[str]:
    items = sketched.items
    return frozenset(
        _CLASSES[each.concept]
        for place, each in enumerate(items)
        if each.concept in _CLASSES
        # "every week" says how often.
        and not (each.concept in {"every", "each"} and items[place + 1 : place + 2] and _is_time(items[place + 1].base))
    )


def _is_time(base: str) -> bool:
    return base in UNITS or base in {"time", "night", "morning", "evening"}


def symbols_differ(a: Sketch, b: Sketch) -> bool:
    """Return whether symbols, single letters or pieces of code differ, the latter in their very case."""
    if set(a.codes) - _ARROWS != set(b.codes) - _ARROWS or (
        set(a.codes) != set(b.codes) and set(a.codes) and set(b.codes)
    ):
        return True
    return _symbols(a) != _symbols(b)


def _symbols(sketched: Sketch) -> frozenset[str]:
    return frozenset(
        each.base
        for each in sketched.items
        if not each.base[0].isdigit()
        and each.base not in _ARROWS
        and (len(each.base) == 1 or not each.base.replace("_", "").replace("-", "").isalnum())
        and "." not in each.base
        and "'" not in each.base
    )


def entities_differ(a: Sketch, b: Sketch) -> bool:
    """Return whether different things are named; a people is named by its country's name too."""
    one, other = (_listed(each) for each in (a, b))
    if any(not _akin(name, b) for name in one - other) or any(not _akin(name, a) for name in other - one):
        return True
    unknown = [
        [name for name in here.names if name not in there.tokens and not _akin(name, there)]
        for here, there in ((a, b), (b, a))
    ]
    return all(unknown)


def _listed(sketched: Sketch) -> frozenset[str]:
    names = lexicon().names
    return frozenset(
        each.concept
        for each in sketched.items
        if each.base in names or each.concept in names or (_is_code(each.base) and each.base == each.concept)
    )


def _is_code(base: str) -> bool:
    return any(char.isdigit() for char in base) and any(char.isalpha() for char in base)


def _akin(name: str, there: Sketch) -> bool:
    """Return whether a text has a word that a name is made from, or that is made from it: Japan, Japanese."""
    names = lexicon().names
    for each in there.tokens:
        shared = next(
            (at for at, (x, y) in enumerate(zip(each, name, strict=False)) if x != y), min(len(each), len(name))
        )
        rests = {name[shared:], each[shared:]}
        if shared < max(_STEM, min(len(each), len(name)) - 1) or not any(len(rest) <= 1 for rest in rests):
            continue
        kinds = {names.get(name), names.get(word(each).base)}
        if (len(kinds) > 1 or kinds == {None}) and (rests == {""} or rests & _PEOPLE):
            return True
    return False


def turned(a: Sketch, b: Sketch) -> bool:
    """Return whether small words turn one question into the reverse of the other."""
    return _exchanged_marks(a, b) or _opposite_particles(a, b) or _opposite_words(a, b)


def _exchanged_marks(a: Sketch, b: Sketch) -> bool:
    """Return whether two words have changed places around "to", "from", "than" ...: miles to km, km to miles."""
    here, there = _marks(a), _marks(b)
    common = [each for each in here if each in there and here[each] != there[each]]
    return any(
        here[x] == there[y] and here[y] == there[x] and {here[x], here[y]} & _ROUTES
        for x, y in permutations(common[: _STEM * _STEM], 2)
    )


def _marks(sketched: Sketch) -> dict[str, str]:
    """Return what leads the words that occur once."""
    counted = Counter(each.concept for each in sketched.items)
    return {each.concept: each.mark for each in sketched.items if counted[each.concept] == 1}


def _opposite_particles(a: Sketch, b: Sketch) -> bool:
    one, other = _particles(a), _particles(b)
    return any(
        (verb, _PARTICLES[particle]) in other and (verb, particle) not in other
        for verb, particle in one
        if (verb, _PARTICLES[particle]) not in one
    )


def _particles(sketched: Sketch) -> frozenset[tuple[str, str]]:
    verbs = lexicon().verbs
    bases = [word(each).base for each in sketched.tokens]
    return frozenset(
        (before, each)
        for place, each in enumerate(sketched.tokens)
        if each in _PARTICLES
        for before in bases[max(0, place - _REACH) : place]
        if before in verbs
    )


def _opposite_words(a: Sketch, b: Sketch) -> bool:
    one, other = Counter(a.tokens), Counter(b.tokens)
    return any(
        (one[x] > other[x] and other[y] > one[y]) or (one[y] > other[y] and other[x] > one[x]) for x, y in _TURNING
    )


def asks_otherwise(a: Sketch, b: Sketch) -> float:
    """Return how far two questions ask for different things: 1 for when and why, 0.5 for what and why, else 0."""
    one, other = _ANSWERS.get(a.kind, ""), _ANSWERS.get(b.kind, "")
    if one == other or frozenset((one, other)) in _ALIKE_ANSWERS:
        return 0.0
    if one and other:
        return 1.0
    typed, plain = (one, b) if one else (other, a)
    told = _TOLD_BY.get(typed, frozenset())
    return 0.0 if any(each.base in told or each.concept in told for each in plain.items) else 0.5
