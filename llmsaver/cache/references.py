"""Texts for which no stored answer can be right: they refer to something outside themselves, or to the present."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import pairwise

from llmsaver.cache.guard_text import LONGEST
from llmsaver.cache.lexicon import patterns

__all__ = ["off"]

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_PRONOUNS = frozenset("it its that this these those they them their theirs he him his she her hers".split())  # noqa: SIM905 - a list to read
# Words that ask or say what to do with a thing, and so cannot be the thing that a pronoun stands for.
_NO_THINGS = frozenset(
    """what when where which whom whose does will would could should have been with from about please tell show give
    explain help make need want like know more into over after before than then some many much very just also only even
    open send change delete remove reset cancel find turn install create update check move copy translate summarize
    rewrite export import stop start""".split()  # noqa: SIM905 - a list to read
)
# What makes a thing of a word however short: a car, my SIM.
_ARTICLES = frozenset("a an the my our your".split())  # noqa: SIM905 - the same
_FEW = 4


@cache
def _compiled() -> dict[str, re.Pattern[str]]:
    return {name: re.compile(rf"(?:{pattern})") for name, pattern in patterns("references.txt").items()}


def off(text: str, *, time_bound: bool = False) -> str | None:
    """Return why the semantic cache stays off for a question ("empty", "long", "reference", "time-bound"), or None.

    ``time_bound=True`` says that questions about the present may be answered from what is stored.
    """
    if len(text) > LONGEST:
        return "long"
    low = " ".join(unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'").split())
    words = _WORD.findall(low)
    if not any(char.isalpha() for char in low):
        return "empty"
    bare = " ".join(words)
    rules = _compiled()
    carried_on = rules["CARRIED_ON"].fullmatch(bare) or rules["ELLIPTIC"].match(bare) or rules["POINTING"].search(bare)
    if carried_on or _points(bare):
        return "reference"
    if not time_bound and rules["NOW"].search(rules["NOT_NOW"].sub(" ", bare)):
        return "time-bound"
    return None


def _points(bare: str) -> bool:
    """Return whether a pronoun stands for something that the text itself does not name before it."""
    rules = _compiled()
    words = rules["ANTECEDENT"].sub(" ", rules["DUMMY_IT"].sub(" ", bare)).split()
    things = [
        each not in _NO_THINGS and (len(each) >= _FEW or before in _ARTICLES) and each not in _PRONOUNS
        for before, each in pairwise(["", *words])
    ]
    return any(not any(things[:place]) for place, each in enumerate(words) if each.split("'")[0] in _PRONOUNS)
