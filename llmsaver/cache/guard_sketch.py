"""One question parsed once: what kind of question it is, its words and how they stand to each other."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from llmsaver.cache.guard_frame import frame
from llmsaver.cache.guard_text import plain
from llmsaver.cache.guard_words import (
    ACTIONS,
    ARRANGED,
    ARTICLES,
    AUXILIARY,
    BE,
    CONJUNCTIONS,
    DROPPED,
    FILLERS,
    FIRST,
    FREE,
    LIGHT,
    MARK,
    NEGATORS,
    OTHERS,
    PERFECT_IS_PAST,
    POSSESSIVES,
    PRESENT,
    REFERENCES,
    SECOND,
    SOFT,
    STRONG,
    THIRD,
    WEAK,
)
from llmsaver.cache.lexicon import lexicon, word

__all__ = ["Item", "Sketch", "sketch"]


_SEPARABLE = re.compile(
    r"\b((?:turn|switch|log|sign|set|back|send|give|get|ship|fill|pick|throw|put|take|call|cut|bring|shut)(?:s|t?ing|t?ed)?)"
    r" ((?:(?!to\b|from\b|the\b.{0,12}\bto\b)[\w'-]+ ){1,3}?)(on|off|up|out|back|away|down)\b(?! the\b| my\b| of\b)"
)
_USING = re.compile(r"\b(?:using|by using|by means of|with the help of)\b")


@dataclass(frozen=True, slots=True)
class Item:
    """A word that counts.

    ``mark``: the preposition whose phrase it is in; ``weak``: of, for, in ..., where that leads it; ``pair``: equal for
    words that "and" or "or" join; ``owner``: the article or possessive right before it; ``base``: the word less its
    inflection; ``concept``: what its synonyms share.
    """

    concept: str
    base: str
    mark: str = ""
    weak: str = ""
    pair: int = -1
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Sketch:
    """What ``sketch`` found in a text; two of them are compared by ``differences`` and ``equivalent``."""

    tokens: tuple[str, ...]
    codes: tuple[str, ...]
    kind: str
    items: tuple[Item, ...]
    persons: tuple[str, ...]
    negations: tuple[str, ...]
    negated: tuple[str, ...]
    tense: frozenset[str]
    joined: tuple[str, ...]
    soft: frozenset[str]
    references: frozenset[str]
    names: frozenset[str]
    scripts: frozenset[str]
    hidden: bool
    cut: bool


@dataclass(slots=True)
class _Reader:
    """The state of reading one text's words from left to right."""

    kind: str
    items: list[Item] = field(default_factory=list)
    persons: list[str] = field(default_factory=list)
    negations: list[str] = field(default_factory=list)
    negated: list[str] = field(default_factory=list)
    tense: set[str] = field(default_factory=set)
    joined: list[str] = field(default_factory=list)
    soft: set[str] = field(default_factory=set)
    references: set[str] = field(default_factory=set)
    mark: str = ""
    weak: str = ""
    owner: str = ""
    pairing: int = -1
    finite: bool = False
    past: bool = False


def sketch(text: str) -> Sketch:
    """Parse a text, whatever it holds; only its beginning where it is very long (see ``guard_text.LONGEST``)."""
    seen = plain(text)
    found = frame(" ".join(seen.tokens))
    rest = _USING.sub("with", _SEPARABLE.sub(r"\1 \3 \2 ", found.rest)).split()
    kind = found.kind
    if kind == "difference":
        rest = _sorted_sides(rest)
    if kind == "what" and [each for each in rest if each != "|"][:1] in (["is"], ["are"]):
        kind = "what is"
    reader = _Reader(kind, tense={"past"} if found.past else set())
    _read(reader, rest)
    if found.subject and any(each.endswith("!") for each in reader.persons):
        reader.persons.insert(0, f"{found.subject}!")
    if kind in PERFECT_IS_PAST and "perfect" in reader.tense:
        reader.tense = reader.tense - {"perfect"} | {"past"}
    if kind == "where" and "1!" in reader.persons:
        reader.tense.discard("can")
    if reader.past and not reader.finite and kind not in FREE:
        reader.tense.add("past")
    return Sketch(
        tokens=seen.tokens,
        codes=seen.codes,
        kind=kind,
        items=_without_light(reader),
        persons=tuple(reader.persons),
        negations=tuple(reader.negations),
        negated=tuple(reader.negated),
        tense=frozenset(reader.tense),
        joined=tuple(sorted(reader.joined)),
        soft=frozenset(reader.soft),
        references=frozenset(reader.references),
        names=seen.names,
        scripts=seen.scripts,
        hidden=seen.hidden,
        cut=seen.cut,
    )


def _sorted_sides(rest: list[str]) -> list[str]:
    """Return the words of "one and other" such that neither comes first for how it was asked."""
    middle = rest.index("and") if "and" in rest else len(rest)
    sides = (
        [each for each in side if each not in ARTICLES and each != "|"] for side in (rest[:middle], rest[middle + 1 :])
    )
    one, other = sorted(sides, key=lambda side: [lexicon().concept(word(each).base) for each in side])
    return [*one, "and", *other]


def _read(reader: _Reader, rest: list[str]) -> None:
    phrases = lexicon().phrases
    bases = [word(each).base for each in rest]
    place = 0
    while place < len(rest):
        matched = _phrase(phrases.get(bases[place], ()), rest, bases, place)
        if matched:
            length, concept = matched
            _add(reader, concept, concept, verb=bases[place] in lexicon().verbs)
            place += length
            continue
        if not _function_word(reader, rest, bases, place):
            found = word(rest[place])
            reader.past = reader.past or (found.past and rest[place] not in PRESENT)
            _add(reader, lexicon().concept(found.base), found.base, verb=found.base in lexicon().verbs)
        place += 1


def _phrase(
    candidates: tuple[tuple[tuple[str, ...], str], ...], rest: list[str], bases: list[str], place: int
) -> tuple[int, str] | None:
    """Return how many words a phrase takes up here, articles and possessives inside it included, and its concept."""
    for phrase, concept in candidates:
        at = place
        for part in phrase:
            while (
                at > place
                and at < len(rest)
                and (rest[at] in ARTICLES or rest[at] in POSSESSIVES)
                and bases[at] != part
            ):
                at += 1
            if at >= len(rest) or bases[at] != part:
                break
            at += 1
        else:
            return at - place, concept
    return None


def _add(reader: _Reader, concept: str, base: str, *, verb: bool) -> None:
    if verb and reader.weak and not reader.mark:
        reader.weak = ""
    pair = -1
    if reader.pairing >= 0 and reader.items:
        pair = reader.pairing
        reader.items[-1] = replace(reader.items[-1], pair=pair)
    reader.pairing = -1
    reader.negated += [concept] * (len(reader.negations) - len(reader.negated))
    reader.items.append(Item(concept, base, reader.mark, reader.weak, pair, reader.owner))
    reader.owner = ""


def _function_word(reader: _Reader, rest: list[str], bases: list[str], place: int) -> bool:  # noqa: C901, PLR0911, PLR0912 - a table of word classes
    """Take in a word that shapes the sentence; return False where it is one that counts."""
    low = rest[place]
    following = rest[place + 1] if place + 1 < len(rest) else ""
    if low in ARTICLES:
        reader.owner = low
        return True
    if low in FILLERS:
        return True
    if low == "|":
        reader.mark, reader.weak = "", ""
        return True
    if low == "'s":
        if reader.items:
            reader.items[-1] = replace(reader.items[-1], weak="of")
        return True
    if low in NEGATORS:
        reader.negations.append({"unable": "not", "fail": "not", "fails": "not", "failed": "not"}.get(low, low))
        if low == "without":
            reader.mark, reader.weak = low, ""
        return low in {"not", "no", "never", "without"}
    if low in AUXILIARY or low in BE or low in PRESENT:
        return _auxiliary(reader, rest, place)
    if low in CONJUNCTIONS:
        reader.joined.append(CONJUNCTIONS[low])
        reader.pairing = len(reader.joined)
        return True
    if low == "to" and (
        bases[place + 1 : place + 2] and bases[place + 1] in lexicon().verbs and following == bases[place + 1]
    ):
        reader.mark, reader.weak = "", ""
        return True
    if low in WEAK:
        reader.mark, reader.weak = "", low
        if not following and reader.kind != "where":
            _add(reader, low, low, verb=False)
        return True
    if low in STRONG:
        reader.mark, reader.weak = MARK.get(low, low), ""
        if not following or following in STRONG:
            _add(reader, low, low, verb=False)
        return True
    if low in FIRST or low in SECOND or low in THIRD or low in OTHERS:
        person = "1" if low in FIRST else "2" if low in SECOND else low
        reader.persons.append(person if low in POSSESSIVES else f"{person}!")
        reader.owner = person if low in POSSESSIVES else ""
        return True
    if low in SOFT:
        reader.soft.add(low)
        return True
    if low in REFERENCES:
        if low != "that" or not (
            following in AUXILIARY or following in PRESENT or following in FIRST | SECOND | ARTICLES
        ):
            reader.references.add(low)
        return True
    return False


def _auxiliary(reader: _Reader, rest: list[str], place: int) -> bool:
    """Take in an auxiliary's tense; return False where it is the main verb (what does he do, do I have one)."""
    low = rest[place]
    ahead = [each for each in rest[place + 1 : place + 4] if each not in NEGATORS]
    if low in {"do", "does", "did"}:
        leads = (
            not reader.items
            or (ahead and (ahead[0] in FIRST | SECOND | OTHERS))
            or rest[place + 1 : place + 2] == ["not"]
        )
        leads = leads or (reader.kind in {"count", "amount", "what"} and not reader.finite and rest[place - 1] != "to")
        if not leads or not ahead or reader.kind == "how to":
            return False
    if low in {"have", "has", "had"}:
        if ahead[:1] == ["to"]:
            reader.tense.add("must")
            return True
        if not any(word(each).past or each in {"been", "gone", "done"} or each.endswith("en") for each in ahead):
            return False
        reader.tense.add("perfect")
    reader.finite = True
    if low in AUXILIARY and low != "had":
        reader.tense.add(AUXILIARY[low])
    return True


def _without_light(reader: _Reader) -> tuple[Item, ...]:
    """Return the items less verbs that say nothing beside a noun of action: get a refund, request a refund."""
    items = reader.items
    return tuple(
        each
        for place, each in enumerate(items)
        if each.concept not in DROPPED.get(reader.kind, ())
        and not (
            each.concept in ARRANGED and any(other.concept == "appointment" for other in items[place + 1 : place + 4])
        )
        and not (
            each.base in LIGHT
            and place + 1 < len(items)
            and items[place + 1].concept in ACTIONS
            and reader.kind in FREE | {"", "what", "when", "where", "yes"}
        )
    )
