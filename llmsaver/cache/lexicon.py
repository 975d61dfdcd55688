"""Which English words may stand for each other in a question, which ask for the opposite, and which are names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

__all__ = ["Lexicon", "Word", "lemma", "lexicon", "lines", "patterns", "word"]

_VOWELS = frozenset("aeiouy")
_SHORTEST = 3
_CACHED = 32_768
_NOT_PREFIXES = ("un", "in", "im", "il", "ir", "dis", "non", "non-", "anti", "anti-")


@dataclass(frozen=True, slots=True)
class Word:
    """A word less its inflection. ``past`` is True for a form that is (also) the plain past of a verb."""

    base: str
    past: bool = False


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The lists of this folder, read once.

    ``concepts`` maps a base form to the first word of its group of synonyms; ``phrases`` a first word to the phrases
    that start with it, longest first; ``opposites`` an unordered pair of base forms to "antonym" or "polarity";
    ``opposable`` are the words in ``opposites``; ``names`` maps a name to its kind.
    """

    verbs: frozenset[str]
    irregular: dict[str, Word]
    concepts: dict[str, str]
    phrases: dict[str, tuple[tuple[tuple[str, ...], str], ...]]
    opposites: dict[frozenset[str], str]
    opposable: frozenset[str]
    names: dict[str, str]

    def concept(self, base: str) -> str:
        """Return the one word that stands for ``base`` and all its synonyms."""
        return self.concepts.get(base, base)

    def opposed(self, one: str, other: str) -> str | None:
        """Return "antonym", "polarity" or "negation" where two base forms ask for the opposite, else None."""
        found = self.opposites.get(frozenset((one, other)))
        if found is None and one != other:
            long, short = (one, other) if len(one) > len(other) else (other, one)
            if long.endswith(short) and len(short) > _SHORTEST and long.removesuffix(short) in _NOT_PREFIXES:
                return "negation"
        return found


def lines(name: str) -> list[str]:
    """Return the lines of a file of this folder, less empty ones and comments."""
    text = files("llmsaver.cache").joinpath(name).read_text("utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@cache
def patterns(name: str) -> dict[str, str]:
    """Return the patterns that a file of this folder defines ("NAME = pattern"), with <NAME> written out."""
    found: dict[str, str] = {}
    for line in lines(name):
        own, defined, pattern = line.partition(" = ")
        if defined and own.isupper():
            full = re.sub("<([A-Z_]+)>", lambda match: found[match.group(1)], pattern)
            found[own] = f"{found[own]}|{full}" if own in found else full
    return found


@cache
def _verbs() -> frozenset[str]:
    return frozenset(each for line in lines("verbs.txt") for each in line.split())


@cache
def _irregular() -> dict[str, Word]:
    found: dict[str, Word] = {}
    for line in lines("irregular.txt"):
        before, _, after = line.partition("|")
        base, *pasts = before.split()
        found[base] = Word(base)
        found |= {form: Word(base, past=True) for form in pasts}
        found |= {form: Word(base) for form in after.split()}
    return found


@cache
def lexicon() -> Lexicon:
    """Return the lexicon, read from this package's files at first use."""
    concepts: dict[str, str] = {}
    phrases: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for line in lines("synonyms.txt"):
        group = [tuple(lemma(part) for part in each.split()) for each in line.split(", ")]
        name = "_".join(group[0])
        for each in group:
            if len(each) == 1:
                concepts[each[0]] = name
            else:
                phrases.setdefault(each[0], []).append((each, name))
    opposites: dict[frozenset[str], str] = {}
    for line in lines("antonyms.txt"):
        kind = "polarity" if line.startswith("~") else "antonym"
        left, right = ([lemma(each.strip()) for each in side.split(",")] for side in line.lstrip("~ ").split("|"))
        for one in left:
            for other in right:
                opposites.setdefault(frozenset((one, other)), kind)
    names = {
        name: kind for line in lines("names.txt") for kind, _, each in [line.partition(":")] for name in each.split()
    }
    return Lexicon(
        verbs=_verbs(),
        irregular=_irregular(),
        concepts=concepts,
        phrases={first: tuple(sorted(each, key=lambda phrase: -len(phrase[0]))) for first, each in phrases.items()},
        opposites=opposites,
        opposable=frozenset().union(*opposites),
        names=names,
    )


def lemma(form: str) -> str:
    """Return the base form of a lower-case English word."""
    return word(form).base


@lru_cache(maxsize=_CACHED)
def word(form: str) -> Word:
    """Return a lower-case word less its inflection: listed where irregular, else by the rules of spelling.

    A wrong base form does little harm as long as the forms of one word come to the same and those of two words don't.
    """
    if not form.isalpha() or len(form) <= _SHORTEST:
        found = _irregular().get(form)
        return found or Word(form)
    found = _irregular().get(form)
    if found is not None:
        return found
    plain = _regular(form)
    base = plain.base
    if base.endswith("ise") and base not in _verbs() and len(base) > len("raise"):
        return Word(base.removesuffix("ise") + "ize", plain.past)
    return Word(base.replace("isation", "ization"), plain.past)


def _regular(form: str) -> Word:
    if form in _verbs():
        return Word(form)
    if form.endswith("ing") and len(form) > len("ing") + 1:
        return Word(_stripped(form, "ing"))
    if form.endswith("ed") and not form.endswith("eed") and len(form) > len("ed") + 1:
        if form.endswith("ied"):
            return Word(form.removesuffix("ied") + "y", past=True)
        base = _stripped(form, "ed")
        return Word(base, past=base != form)
    return Word(_singular(form))


def _stripped(form: str, suffix: str) -> str:
    """Return the verb that ``form`` (-ing or -ed) comes from; ``form`` itself where it seems to be none (king, red)."""
    base = form.removesuffix(suffix)
    if not _VOWELS.intersection(base):
        return form
    verbs = _verbs()
    doubled = base[-1] == base[-2:-1] and base[-1] not in _VOWELS
    for candidate in [base, base[:-1], base + "e"] if doubled else [base, base + "e"]:
        if candidate in verbs:
            return candidate
    if doubled and base[-1] not in "lsz":
        return base[:-1]
    short = len(base) <= _SHORTEST and base[-1] not in _VOWELS | set("wxy") and base[-2:-1] in _VOWELS
    soft = base.endswith(
        ("at", "is", "iz", "yz", "iv", "uc", "dg", "rg", "ang", "rs", "ns", "ur", "bl", "pl", "tl", "dl", "gl", "ir")
    )
    return base + "e" if short or soft or base[-1] in "cvu" else base


def _singular(form: str) -> str:
    if not form.endswith("s") or form.endswith(("ss", "us", "is", "ous")):
        return form
    if form.endswith("ies") and len(form) > len("ties"):
        return form.removesuffix("ies") + "y"
    if form.endswith(("ches", "shes", "xes", "sses", "zzes")):
        return form.removesuffix("es")
    base = form.removesuffix("s")
    # An abbreviation: https is no plural of http.
    return base if _VOWELS.intersection(base) else form
