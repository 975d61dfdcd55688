"""Questions of the same words that differ in what a "not" denies, who acts, on whom, and whether it has happened."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from llmsaver.cache.guard_pair import turned
from llmsaver.cache.guard_words import BE, STRONG, words_of
from llmsaver.cache.lexicon import lexicon, word

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver.cache.guards import Sketch

__all__ = ["flipped", "told_apart"]

_CLAUSES = words_of("if unless while who that which although whether and or with when before after")
_PERSONS = {"i": "1", "we": "1", "you": "2", "me": "1", "us": "1", "him": "3", "them": "3"}
_OBJECTS = frozenset(_PERSONS) - {"i", "we"}
_ASKERS = words_of("my our me us")
# Behind these "me" is no more than politeness.
_TELLING = words_of("tell show let help explain to")
_ACTS = re.compile(
    r"\b(?:can|could|do|does|will|should|may|must|did) "
    r"(i|we|you|they|someone|somebody|anyone|anybody|people|users?|customers?)\b"
    r"(?! (?:(?:please|kindly|possibly|just|quickly) )*(?:tell|explain|show|help|let|know|give|advise|inform|remind)\b)"
)
# What "can" and "must" may say; with none of them they say any of it.
_SENSES = {
    "can": (words_of("possible feasible able"), words_of("allowed permitted allow permit permissible"),
            words_of("ok okay fine alright acceptable")),
    "must": (words_of("supposed expected"), words_of("required obliged obligatory necessary mandatory")),
}  # fmt: skip
_ASKED = words_of("who whom what which")
_SUPPORT = words_of("do does did")
_SUPPORTED_WITHIN, _PASSIVE_WITHIN = 5, 6
_ROUTES = words_of("to from with in on")
_MEANING = words_of("mean meaning")


def told_apart(a: Sketch, b: Sketch) -> bool:
    """Return whether two questions that have the same words want different answers all the same."""
    return turned(a, b) or _denied(a) != _denied(b) or any(differ(a, b) for differ in _RULES)


def _denied(sketched: Sketch) -> tuple[object, ...]:
    """Return what each "not" stands beside ("to" or else), and in which clause the first one stands."""
    tokens = sketched.tokens
    places = [at for at, each in enumerate(tokens) if each in {"not", "never"}]
    if not places:
        return ()
    beside = sorted("to" in tokens[max(at - 1, 0) : at + 2] for at in places)
    return (*beside, sum(each in _CLAUSES for each in tokens[1 : places[0]]))


def _lettered(a: Sketch, b: Sketch) -> bool:
    """Return whether a single capital letter of one is nowhere in the other: vitamin A, a vitamin."""
    return any(
        len(name) == 1 and name not in there.names and name not in there.tokens
        for here, there in ((a, b), (b, a))
        for name in here.names
    )


def _acted_on(a: Sketch, b: Sketch) -> bool:
    """Return whether the asker acts in one and is acted on in the other: can I give blood, can they give me blood."""
    return {_case(a), _case(b)} == {(True, False), (False, True)}


def _case(sketched: Sketch) -> tuple[bool, bool]:
    tokens = sketched.tokens
    acted_on = any(each in {"me", "us"} and tokens[at - 1] not in _TELLING for at, each in enumerate(tokens) if at)
    return bool({"i", "we"} & set(tokens)), acted_on


def _acting(a: Sketch, b: Sketch) -> bool:
    """Return whether others do it in one of them to what is the asker's: can you, or somebody, sell my house."""
    one, other = _who(a), _who(b)
    if not one or not other or one == other:
        return False
    # How do you clean your oven: anybody, and so the asker, cleans their own.
    return any(who != "1" and _ASKERS & set(sketched.tokens) for who, sketched in ((one, a), (other, b)))


def _who(sketched: Sketch) -> str:
    acts = _ACTS.search(" ".join(sketched.tokens))
    return "" if acts is None else _PERSONS.get(acts[1], "3")


def _led(a: Sketch, b: Sketch) -> bool:
    """Return whether another small word leads a person: money to me, money from me."""
    one, other = (
        sorted(
            (x, _PERSONS[y])
            for x, y in zip(each.tokens, each.tokens[1:], strict=False)
            if x in STRONG and y in _OBJECTS
        )
        for each in (a, b)
    )
    return len(one) == len(other) and one != other


def _owned(a: Sketch, b: Sketch) -> bool:
    """Return whether something is yours in one and mine, or anybody's, in the other, where that decides what I may."""
    if not {a.kind, b.kind} & {"can", "must", "should"}:
        return False
    pairs = ({one.owner, other.owner} for one, other in zip(a.items, b.items, strict=False))
    return any("2" in pair and pair & {"1", "a", "an"} for pair in pairs)


def _happened(a: Sketch, b: Sketch) -> bool:
    """Return whether it has happened in one of them: if I had a stroke, if I have one."""
    return _past(a) != _past(b)


def _past(sketched: Sketch) -> bool:
    tokens = sketched.tokens
    return any(
        (each == "had" or (word(each).past and word(each).base != each))
        and tokens[at] in {"i", "we", "you", "they", "he", "she"}
        and not ({"did", "have", "has"} | BE) & set(tokens[max(0, at - 2) : at + 1])
        for at, each in enumerate(tokens[1:])
    )


def _lasting(a: Sketch, b: Sketch) -> bool:
    """Return whether one asks how long it lasts, and the other how long it takes."""
    if not a.kind == b.kind == "long":
        return False
    one, other = ({word(each).base for each in sketched.tokens} & {"take", "last"} for sketched in (a, b))
    return one != other and "last" in one | other


def _meant(a: Sketch, b: Sketch) -> bool:
    """Return whether one asks if something can be, the other if it may be."""
    one, other = (
        [at for at, said in enumerate(_SENSES.get(each.kind, ())) if said & set(each.tokens)] for each in (a, b)
    )
    return a.kind == b.kind and bool(one) and bool(other) and one != other


_RULES: tuple[Callable[[Sketch, Sketch], bool], ...] = (
    _lettered,
    _acted_on,
    _acting,
    _led,
    _owned,
    _happened,
    _lasting,
    _meant,
)


def flipped(a: Sketch, b: Sketch) -> bool:
    """Return whether what acts and what is acted on have changed places: what causes X, what does X cause."""
    if _passive(a) or _passive(b):
        return False
    one, other = ([each.concept for each in sketched.items if each.concept not in _ROUTES] for sketched in (a, b))
    if set(one) != set(other):
        return False
    asked = {a.kind, b.kind} <= {"who", "what", "what is"} and not _MEANING & {*a.tokens, *b.tokens}
    if asked and _supported(a) != _supported(b) and one != other:
        return True
    return any(_around(verb, one, other) for verb in one if _turns(verb, a, one, other))


def _turns(verb: str, sketched: Sketch, one: list[str], other: list[str]) -> bool:
    base = next(each.base for each in sketched.items if each.concept == verb)
    return base in lexicon().verbs and verb not in {"do", "mean"} and one.count(verb) == other.count(verb) == 1


def _around(verb: str, one: list[str], other: list[str]) -> bool:
    """Return whether what stands before and behind a verb has changed places."""
    at, there = one.index(verb), other.index(verb)
    before, behind = set(one[:at]), set(one[at + 1 :])
    return bool(before & set(other[there + 1 :])) and bool(behind & set(other[:there]))


def _passive(sketched: Sketch) -> bool:
    tokens = sketched.tokens
    return "by" in tokens or any(
        word(later).past or later.endswith(("ed", "en"))
        for at, each in enumerate(tokens)
        if each in BE
        for later in tokens[at + 1 : at + _PASSIVE_WITHIN]
    )


def _supported(sketched: Sketch) -> bool:
    tokens = sketched.tokens
    at = next((at for at, each in enumerate(tokens) if each in _ASKED), None)
    return at is not None and bool(_SUPPORT & set(tokens[at + 1 : at + _SUPPORTED_WITHIN]))
