"""Words of a text as a search compares them: lower case, less their commonest English endings."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["STOP", "stems"]

_WORD = re.compile(r"\w+")
# The longest ending that leaves a stem goes. Fewer rules than Porter's (1980): a search needs only that the forms of
# one word come to the same.
_ENDINGS = (
    *(("ational", "ate"), ("ization", "ize"), ("fulness", "ful"), ("iveness", "ive"), ("sses", "ss"), ("ies", "y")),
    *((ending, "") for ending in ("ingly", "edly", "ation", "ments", "ment", "ness", "ings", "ing")),
    *((ending, "") for ending in ("ers", "er", "ors", "or", "ed", "es", "ly", "al", "s")),
)
_SHORTEST = 3


@lru_cache(maxsize=65_536)
def _stem(word: str) -> str:
    if len(word) <= _SHORTEST:
        return word
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) + len(instead) >= _SHORTEST:
            word = word[: len(word) - len(ending)] + instead
            break
    if word.endswith("e"):
        word = word[:-1]
    elif word.endswith("y"):
        word = word[:-1] + "i"
    doubled = len(word) > _SHORTEST and word[-1] == word[-2]
    return word[:-1] if doubled and word[-1] not in "ls" else word


def stems(text: str) -> list[str]:
    """Return the words of a text in their order, reduced."""
    return [_stem(word) for word in _WORD.findall(text.lower())]


# Words that say nothing of what is asked about.
STOP = frozenset(
    stems(
        "a an the of in on at to for from by with and or is are was were be been being do does did has have had"
        " what which who whom whose when where why how that this these those it its as than then there their his"
        " her he she they them into about between both same first two also not no"
    )
)
