"""A text as the guards read it: cleaned, contractions written out, cut into words, numbers and symbols."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LONGEST", "Plain", "plain"]

# Texts longer than this are not compared: a question is short, and the rest of such a text is its material.
LONGEST = 2_000
_APOSTROPHES = str.maketrans("\u2018\u2019\u02bc\u2032\u0060\u00b4", "''''''")
_POWERS = str.maketrans({"\u00b2": "^2", "\u00b3": "^3", "\u00b9": "^1", "\u2070": "^0"})
_TOKEN = re.compile(
    r"""
    [$\u20ac\u00a3\u00a5\u20b9](?=\s?\d)                      # a currency before its amount
    | \d[\d,]*(?:\.\d+)*(?:st|nd|rd|th)?(?![^\W_])            # a number, a version, an ordinal
    | \d+(?:[.,]\d+)*(?=(?:km|kg|mg|ml|cm|mm|mi|lbs?|oz|gb|mb|kb|tb|hrs?|min|mins|ms|ft|k|m|am|pm|x)(?![^\W_]))
    | [^\W\d_]\#(?!\w) | [^\W\d_]\+\+                         # C#, F#, C++
    | [!=<>]=+ | => | -> | && | \|\| | <> | \*\* | // | :: | \[\] | \{\} | \(\)
    | \.net\b
    | (?:[^\W\d_]\.){2,}                                      # e.g. U.S.
    | \w+(?:['.\-]\w+)*                                       # words, dotted and hyphened ones too
    | [^\w\s]
    """,
    re.VERBOSE | re.IGNORECASE,
)
_CONTRACTIONS = {
    "can't": "can not", "cant": "can not", "cannot": "can not", "won't": "will not", "wont": "will not",
    "shan't": "shall not", "ain't": "is not", "dont": "do not", "doesnt": "does not", "didnt": "did not",
    "isnt": "is not", "arent": "are not", "wasnt": "was not", "werent": "were not", "havent": "have not",
    "hasnt": "has not", "hadnt": "had not", "wouldnt": "would not", "couldnt": "could not", "shouldnt": "should not",
    "im": "i am", "ive": "i have", "whats": "what is", "wheres": "where is", "hows": "how is", "whos": "who is",
    "thats": "that is", "theres": "there is", "let's": "let us", "y'all": "you", "u": "you", "ur": "your", "r": "are",
    "pls": "please", "plz": "please", "thx": "thanks", "wanna": "want to", "gonna": "going to", "gotta": "have to",
    "youre": "you are", "theyre": "they are", "couldn": "could not",
}  # fmt: skip
_CLITICS = {"n't": "not", "'re": "are", "'ve": "have", "'ll": "will", "'m": "am", "'d": "would"}
_IS_AFTER = frozenset("what where who how when why that there here it he she".split())  # noqa: SIM905 - a list to read
# "one" is left out: it is a pronoun as often as a number.
_NUMBER_WORDS = {
    word: str(number)
    for number, words in {
        0: "zero", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine", 10: "ten",
        11: "eleven", 12: "twelve dozen", 13: "thirteen", 14: "fourteen", 15: "fifteen", 16: "sixteen", 17: "seventeen",
        18: "eighteen", 19: "nineteen", 20: "twenty", 30: "thirty", 40: "forty", 50: "fifty", 60: "sixty",
        70: "seventy", 80: "eighty", 90: "ninety", 100: "hundred", 1_000: "thousand", 1_000_000: "million",
        1_000_000_000: "billion",
    }.items()
    for word in words.split()
}  # fmt: skip
_MAGNITUDES = {"k": 1_000}
_NO_NAMES = frozenset(
    """i i'm i've i'll i'd it is are the a an my your you what how why when where who which can could do does did please
    and or but if in on of to for with not no yes pin atm id help""".split()  # noqa: SIM905 - a list to read
)
_SILENT = frozenset("?.!,;:\"()[]{}'\u2026\u201c\u201d\u00ab\u00bb\u00bf\u00a1_\u2014\u2013")
_DASH = re.compile(r"(?<=[^\W\d]{2})(?:\s*/\s*(?=[^\W\d]{2})|\s*-+\s+|\s+-+\Z)|(?<=[^\W\d]{2}[.?!])(?=[^\W\d_])")
# A mark that stands by itself within a text is what the text is about: what does ? mean in a pattern.
_ALONE = re.compile(r"(?<=[\s\"'])[?.!:;,\"_()\[\]{}](?=[\s\"'`]+\w)")
_LATIN = re.compile(r"[\x00-\x7f\u00c0-\u024f]*\Z")
# What makes a piece of text a piece of code, and what only looks like it.
_CODE = re.compile(r"[\\$#@^*=+<>|~_{}\[\]&%]")
_OPTION = re.compile(r"--?[A-Za-z][\w-]*\Z")
_AMOUNT = re.compile(r"[~<>+=$\u20ac\u00a3\u00a5]*\d[\d.,]*(?:%|\+|[A-Za-z]{0,3})\Z")
_MARKS = frozenset("& - -- / + = ? ! . , : ; ... \u2026 \u2014 \u2013 -> => --> \u2192 % $ #".split())  # noqa: SIM905 - a list to read
_ENDS = "?!.,;:"
_QUOTES = frozenset("\"'\u201c\u2018")
_QUOTED = "\"'\u201c\u201d\u2018\u2019"
_LETTERS = 2
_ARROW = re.compile(r"(?<=\w)\s+(?:-+>|\u2192)\s+(?=\w)")
# 10-year-old, two-factor: the number counts as one.
_COMPOUND = re.compile(
    r"\b(\d+|two|three|four|five|six|seven|eight|nine|ten)-(?=[^\W\d_]{3,})|(?<=[^\W\d_]{3})-(?=old\b)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Plain:
    """A cleaned text: lower-case ``tokens``, the ``names`` among them (capitals inside a sentence), its ``scripts``.

    ``codes``: pieces of code as they were written, sorted: with symbols in them, options, quoted letters.
    ``hidden`` is True where characters were dropped that nobody sees; ``cut`` where the text was too long to read.
    """

    tokens: tuple[str, ...]
    names: frozenset[str]
    codes: tuple[str, ...]
    scripts: frozenset[str]
    hidden: bool
    cut: bool


def plain(text: str) -> Plain:
    """Return a text as the guards read it; any string will do, and only its first ``LONGEST`` characters are read."""
    head = unicodedata.normalize("NFKC", text[:LONGEST].translate(_POWERS)).translate(_APOSTROPHES)
    seen = "".join(
        each for each in head if unicodedata.category(each) not in {"Cf", "Cc", "Cs", "Co"} or each.isspace()
    )
    spaced = _DASH.sub(" ", _COMPOUND.sub(r"\1 ", _ARROW.sub(" to ", seen)))
    raw = [match.group() for match in _TOKEN.finditer(spaced)]
    alone = {match.group() for match in _ALONE.finditer(spaced)}
    shouted = seen == seen.upper()
    tokens: list[str] = []
    for each in raw:
        if each not in _SILENT or each in alone:
            tokens += _written_out(each, tokens, shouted=shouted)
    tokens = tokens or spaced.split()
    hidden = len(seen) != len(head)
    return Plain(tuple(tokens), _names(raw), _codes(seen), _scripts(raw), hidden, len(text) > LONGEST)


def _codes(seen: str) -> tuple[str, ...]:
    r"""Return the pieces of a text whose every character counts: \d, $?, -R, "a", where \D, $!, -r, "A" are others."""
    pieces = seen.split()
    found = [_bare(piece, last=place == len(pieces) - 1) for place, piece in enumerate(pieces)]
    return tuple(sorted(bare for bare, piece in zip(found, pieces, strict=True) if _is_code(bare, piece)))


def _bare(piece: str, *, last: bool) -> str:
    """Return a piece of text without the quotes around it and the punctuation behind it, if anything is left then."""
    bare = piece
    if any(map(str.isalnum, piece)):
        closed = piece.rstrip(_ENDS)
        bare = (closed if closed[-1:] in _QUOTED else piece.rstrip(",;:.")).strip(_QUOTED + "()")
    if last and len(bare) > 1 and bare[-1] in _ENDS:
        bare = bare[:-1]
    return bare


def _is_code(bare: str, piece: str) -> bool:
    if bare in _MARKS or not bare:
        return False
    if piece[0] in _QUOTES and len(bare) <= _LETTERS:
        return True
    if any(map(str.isalnum, bare)):
        return not _AMOUNT.match(bare) and bool(_CODE.search(bare) or _OPTION.match(bare))
    return bool(_CODE.search(bare)) and not set(bare) <= {"$", "%"}


def _written_out(raw: str, before: list[str], *, shouted: bool) -> list[str]:
    """Return the tokens of a piece of text: a contraction is two, "k" after a number makes that a thousand times it."""
    low = raw.lower()
    known = _CONTRACTIONS.get(low) or _NUMBER_WORDS.get(low)
    if raw == "%":
        known = "percent"
    if raw == "US" and not shouted:
        known = "usa"
    if known:
        return known.split()
    if low[0].isdigit():
        return [_number(low)]
    if low in _MAGNITUDES and before and before[-1].isdecimal() and raw.islower():
        return [str(int(before.pop()) * _MAGNITUDES[low])]
    return _parts(low) if "'" in low else [low.rstrip(".") or low]


def _parts(low: str) -> list[str]:
    """Return a word with an apostrophe as the words that it is short for; a possessive as its owner and "'s"."""
    for clitic, full in _CLITICS.items():
        if low.endswith(clitic) and low != clitic:
            return [low.removesuffix(clitic), full]
    owner = low.removesuffix("'s")
    if owner == low or not owner:
        return [low.replace("'", "")] if low != "'s" else []
    return [owner, "is"] if owner in _IS_AFTER else [owner, "'s"]


def _number(low: str) -> str:
    return low.replace(",", "") if low.replace(",", "").replace(".", "", 1).isdigit() else low


def _names(raw: Iterable[str]) -> frozenset[str]:
    """Return the words with a capital that no start of a sentence explains, where the text uses capitals at all."""
    words = [each for each in raw if each[0].isalpha()]
    capitals = sum(each[0].isupper() for each in words)
    if not words or capitals * 2 > len(words) + 2:
        return frozenset()
    found = set()
    first = True
    for each in raw:
        inside = each[0].isalpha() and any(char.isupper() for char in each)
        # Vitamin A, hepatitis A: no article is written so.
        plain_word = each.lower() in _NO_NAMES and each != "A"
        if inside and (not first or any(char.isupper() for char in each[1:])) and not plain_word:
            found.add("usa" if each == "US" else each.lower().rstrip("."))
        first = each in '.?!:"\u201c-' if not each[0].isalnum() else False
    return frozenset(found)


def _scripts(raw: Iterable[str]) -> frozenset[str]:
    """Return the scripts of the letters, by the first word of their Unicode names; "mixed" for two in one word."""
    found = set()
    for each in raw:
        if _LATIN.match(each):
            continue
        own = {unicodedata.name(char, "?").split()[0].split("-")[0] for char in each if char.isalpha()}
        if len(own) > 1 and not own <= {"CJK", "HIRAGANA", "KATAKANA"}:
            found.add("mixed")
        found |= own - {"LATIN"}
    return frozenset(found)
