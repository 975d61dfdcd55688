"""What kind of question a text is: how to, may I, how much, when, why ..., whatever words it is asked in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from llmsaver.cache.lexicon import lexicon, lines, patterns, word

__all__ = ["Frame", "frame"]

_ASKED_ALONE = frozenset({"can", "must", "should"})
_WH = re.compile(r"\b(?:how|what|which|why|when|where|who|whom|whose)\b")
_TOLD = re.compile(r"tell|explain|show|know|describe")
_WANTED = re.compile(r"^(?:i|we) (?:want|need|would like|wish|am trying|am looking|would love) to ")
_LEFT_OUT = re.compile(
    r" (?:and )?how"
    r"(?: (?:do|can|could|would|should|to) ?(?:i|we)?(?: go about)?(?: (?:do|doing))? (?:that|it|this|so))?$"
)
_PASSIVE = re.compile(
    r"^(how |where |when )?(can|could|should) (?!there\b|it\b|you\b|i\b|we\b)(.{1,60}?)"
    r" (?:be|get) (\w{2,})\b(?! (?:to be|by)\b)(.*)$"
)
_NOUNS = {
    "tall": "height",
    "high": "height",
    "old": "age",
    "deep": "depth",
    "wide": "width",
    "heavy": "weight",
    "big": "size",
    "large": "size",
}
_DEGREE = re.compile(rf"^how ({'|'.join(_NOUNS)}) (?:is|are)\b")
_MOST_PREFIXES = 8


@dataclass(frozen=True, slots=True)
class Frame:
    """What is asked.

    ``kind``: of question, "" for a text that is none; ``rest``: the text without the words that said so, " | " where
    they stood; ``subject``: who acts, where they said that too ("1" or "2"); ``past``: whether they were in the past.
    """

    kind: str
    rest: str
    subject: str = ""
    past: bool = False


@dataclass(frozen=True, slots=True)
class _Phrasing:
    """The rules of ``frames.txt``: what is polite, what is put plainly, what is asked."""

    polite: re.Pattern[str]
    polite_end: re.Pattern[str]
    plainly: tuple[tuple[re.Pattern[str], str], ...]
    rules: tuple[tuple[str, re.Pattern[str], str], ...]
    price: re.Pattern[str]


@cache
def _phrasing() -> _Phrasing:
    parts = patterns("frames.txt")

    def full(pattern: str) -> str:
        return re.sub("<([A-Z_]+)>", lambda match: f"(?:{parts[match.group(1)]})", pattern)

    plainly, rules = [], []
    for line in lines("frames.txt"):
        pattern, arrow, to = line.partition(" =>")
        if arrow and pattern.startswith("~ "):
            plainly.append((re.compile(full(pattern[2:])), to.strip()))
        elif arrow:
            kind, _, rule = pattern.partition(" :: ")
            whole = full(rule)
            bounded = whole if whole.startswith("^") else rf"\b(?:{whole})(?:(?<=\ )|(?=\ |$))"
            rules.append((kind, re.compile(bounded), f" | {to.strip()} "))
    return _Phrasing(
        polite=re.compile(rf"(?:{parts['POLITE']})(?: |\Z)"),
        polite_end=re.compile(rf" (?:{parts['POLITE_END']})$"),
        plainly=tuple(plainly),
        rules=tuple(rules),
        price=re.compile(rf"\b(?:{parts['PRICE']}|priced)\b(?: (?:of|for|to))?"),
    )


def frame(text: str) -> Frame:
    """Return the frame of a text of lower-case tokens joined by spaces."""
    phrasing = _phrasing()
    bare, told = _bare(text, phrasing)
    bare = _plainly(bare, phrasing)
    for kind, rule, to in phrasing.rules:
        match = rule.search(bare)
        if not match or (kind in _ASKED_ALONE and _WH.search(bare, 0, match.start())):
            continue
        rest = f"{bare[: match.start()]}{match.expand(to)}{bare[match.end() :]}"
        if kind == "cost":
            rest = phrasing.price.sub(" ", rest)
        said = match.group().split()
        subject = "2" if "you" in said else "1" if {"i", "we"}.intersection(said) else ""
        return Frame(kind, rest, subject, past=kind != "yes" and not {"did", "was", "were"}.isdisjoint(said))
    return Frame("what is" if told else "", bare)


def _bare(text: str, phrasing: _Phrasing) -> tuple[str, bool]:
    """Return a text without greetings, politeness and "tell me", and whether it said the latter."""
    told = False
    for _ in range(_MOST_PREFIXES):
        match = phrasing.polite.match(text)
        if not match or match.end() == len(text):
            break
        told = told or bool(_TOLD.search(match.group()))
        text = text[match.end() :]
    for _ in range(3):
        text = phrasing.polite_end.sub("", text)
    return text, told


def _plainly(text: str, phrasing: _Phrasing) -> str:
    """Return a text with some constructions put the way they are mostly put."""
    if _WANTED.match(text):
        text = _LEFT_OUT.sub("", text)
    for said, plainly in phrasing.plainly:
        text = said.sub(plainly, text)
    if match := _DEGREE.match(text):
        text = f"what is the {_NOUNS[match.group(1)]} of{text[match.end() :]}"
    return _active(text)


def _active(text: str) -> str:
    """Return "can a flight be changed" as "can i change a flight": what anyone may do, without "by" whom."""
    match = _PASSIVE.match(text)
    if not match:
        return text
    asked, modal, thing, verb, more = match.groups()
    if verb not in lexicon().verbs and not verb.endswith("ed") and verb not in lexicon().irregular:
        return text
    if asked is None:
        return f"can i {word(verb).base} {thing}{more}" if modal in {"can", "could"} else text
    lead = "how to" if asked == "how " else f"{asked}can i"
    return f"{lead} {word(verb).base} {thing}{more}"
