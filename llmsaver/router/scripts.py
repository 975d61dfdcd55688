"""The writing systems of a text's letters."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

__all__ = ["SCRIPTS", "prose", "scripts_of"]

# First and last letter; blocks of one script are listed one after the other.
_RANGES = {
    "greek": "\u0370-\u03ff\u1f00-\u1fff",
    "cyrillic": "\u0400-\u052f",
    "hebrew": "\u0590-\u05ff",
    "arabic": "\u0600-\u06ff\u0750-\u077f",
    "devanagari": "\u0900-\u097f",
    "thai": "\u0e00-\u0e7f",
    "kana": "\u3040-\u30ff",
    "han": "\u3400-\u4dbf\u4e00-\u9fff",
    "hangul": "\u1100-\u11ff\uac00-\ud7af",
}
SCRIPTS = frozenset(_RANGES)
_ELSEWHERE = {name: re.compile(f"[{ranges}]") for name, ranges in _RANGES.items()}
_BEYOND_LATIN = re.compile("[\u0370-\uffff]")
# Greek letters alone are mathematics; three in a row are a word.
_GREEK_WORD = re.compile(f"[{_RANGES['greek']}]{{3,}}")
# Each alternative begins where no other match of it can, and is bounded or ends at the first end: linear in any text.
_NO_PROSE = re.compile(
    r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]{0,500}`|\$\$.{0,1000}?\$\$|\\\[.{0,1000}?\\\]|\\\(.{0,500}?\\\)"
    r"|\$[^$\n]{1,200}\$|<think>.*?(?:</think>|\Z)|\b\w+://\S+|(?<!\S)\S+@\S+|<[^<>\n]{1,200}>"
    r"|(?<![\w./\\-])[\w./\\-]*[/\\_][\w./\\-]*",
    re.DOTALL,
)
_LETTER = re.compile(r"[^\W\d_]")


def prose(text: str) -> str:
    """Return a text without code, formulas, links, paths and markup, which have no language."""
    return unicodedata.normalize("NFKC", _NO_PROSE.sub(" ", text))


def scripts_of(text: str) -> tuple[Counter[str], int]:
    """Return how many letters belong to each of ``SCRIPTS``, and how many there are at all; nothing for Latin alone."""
    found: Counter[str] = Counter()
    if not _BEYOND_LATIN.search(text):
        return found, 0
    for name, pattern in _ELSEWHERE.items():
        count = len(pattern.findall(text))
        if name == "greek":
            count = sum(map(len, _GREEK_WORD.findall(text)))
        if count:
            found[name] = count
    return found, len(_LETTER.findall(text))
