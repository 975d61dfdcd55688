"""What kind of task a request is, and how hard it looks, by what can be read off it in a moment."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Literal

from llmsaver.router.needs import estimated_tokens

if TYPE_CHECKING:
    from llmsaver.router.views import Asked

__all__ = ["Kind", "choices_of", "difficulty", "task_kind"]

Kind = Literal["tools", "extraction", "translation", "choice", "classification", "math", "code", "chat"]

_READ = 1_000
# So far from the end of a text its options may begin.
_OPTIONS_READ = 8_000
# Options of a multiple choice, each at the start of its line: "A. 4", "(B) 8", "C: 12", "D) 6".
_OPTION = re.compile(r"^[ \t]*\(?([A-J])[.):][ \t]*\S", re.MULTILINE)
_FEWEST_OPTIONS = 2
_TRANSLATION = re.compile(
    r"\btranslat(?:e|ion)|\b\u00fcbersetz|\btradui[st]|\btraduc[ei]|\btraduz|\btradur|\bvertaal|\bprzet\u0142umacz|\bperevedi"
    r"|\u043f\u0435\u0440\u0435\u0432\u0435\u0434\u0438|\u7ffb\u8bd1|\u7ffb\u8b6f|\u7ffb\u8a33|\u8a33\u3057\u3066|\ubc88\uc5ed",
    re.IGNORECASE,
)
_CLASSIFICATION = re.compile(
    r"\b(?:classif|categori[sz]e|sentiment|which (?:category|label|class|intent)|label (?:the|this|each)|spam or|"
    r"klassifizier|kategorisier|classe(?:r|z) |clasific|classific|"
    r"one of the following (?:labels|categories|classes|intents))",
    re.IGNORECASE,
)
_EXTRACTION = re.compile(
    r"\b(?:extract|extrah|extrai|extrae|estrai|parse (?:the|this)\b|pull out\b|list all the\b)", re.IGNORECASE
)
_MATH = re.compile(
    r"\b(?:solve|calculate|compute|prove|integral|derivative|equation|probability|theorem|polynomial|matrix|modulo|"
    r"how (?:many|much|far|long|old|fast)|what (?:percent|fraction)|berechne|l\u00f6se|wie viele|"
    r"calcule[rz]?|combien|calcula|cu\u00e1nt[oa]s?|calcola|quant[aeio])\b|\\(?:frac|sum|int|sqrt)|[\d)]\s*[*^/+]\s*[\d(]"
    r"|\u8ba1\u7b97|\u8a08\u7b97|\uacc4\uc0b0",
    re.IGNORECASE,
)
_DIGIT = re.compile(r"\d")
_NUMBER = re.compile(r"\d+")
_CODE = re.compile(
    r"```|^\s*(?:def |class |import |from \w+ import|#include|function |public |const |let |SELECT )|Traceback|"
    r"\b(?:python|javascript|typescript|java|rust|golang|c\+\+|c#|sql|regex|bash|html|css|kubernetes|dockerfile|"
    r"refactor|unit tests?|stack trace|compile[rd]?|debug|function that|code|script|api|endpoint|git|commit|bug)\b",
    re.IGNORECASE | re.MULTILINE,
)
_WORD = re.compile(r"[^\W\d_]+")
# Words of tasks that take several steps, one weight each; and those that one step does.
_HARD = frozenset(
    """prove proof derive why explain compare contrast tradeoff tradeoffs design architecture implement refactor debug
    optimize optimise analyze analyse evaluate critique step steps edge concurrency concurrent thread threads race
    complexity theorem legal contract diagnose diagnosis strategy plan beweise erkl\u00e4re erkl\u00e4r warum vergleiche
    entwirf prouve explique expliquez pourquoi demuestra explica compara""".split()  # noqa: SIM905 - a list to read
)
_EASY = frozenset(
    """hi hello thanks thank capital who when define synonym spell lowercase uppercase briefly hallo danke bonjour merci
    hola gracias""".split()  # noqa: SIM905 - a list to read
)
_START: dict[Kind, float] = {
    "tools": 0.45,
    "extraction": 0.2,
    "translation": 0.2,
    "choice": 0.45,
    "classification": 0.15,
    "math": 0.5,
    "code": 0.5,
    "chat": 0.3,
}
_LONG_TOKENS = 8_000
_SPAN = 0.25
_PER_WORD, _MOST_WORDS = 0.06, 4
_NUMBERS = 6


def task_kind(asked: Asked) -> Kind:
    """Return the kind of a task: by what the request needs first, then by the words of the last user text.

    Keywords say what a text is about, never that it is complex: that is ``difficulty``'s to weigh.
    """
    if asked.tools:
        return "tools"
    if asked.json:
        return "extraction"
    text = _ends(asked.text)
    both = f"{_ends(asked.system)}\n{text}"
    found: tuple[tuple[Kind, object], ...] = (
        ("choice", len(choices_of(asked)) >= _FEWEST_OPTIONS),
        ("translation", _TRANSLATION.search(text)),
        ("classification", _CLASSIFICATION.search(both)),
        ("extraction", _EXTRACTION.search(both)),
        ("code", _CODE.search(text)),
        ("math", _DIGIT.search(text) and _MATH.search(text)),
    )
    return next((kind for kind, is_it in found if is_it), "chat")


def choices_of(asked: Asked) -> str:
    """Return the letters of the options that a request offers ("ABCD"), "" where it offers none in a row from A."""
    letters = "".join(dict.fromkeys(_OPTION.findall(asked.text[-_OPTIONS_READ:])))
    return letters if letters and "ABCDEFGHIJ".startswith(letters) else ""


def difficulty(asked: Asked) -> float:
    """Return how hard a request looks, 0.0 to 1.0: its kind, its length, its numbers and what it asks to be done.

    A start for where nothing was learned yet; its scale means nothing but more and less.
    """
    text = _ends(asked.text)
    words = frozenset(_WORD.findall(text.lower()))
    value = _START[task_kind(asked)]
    value += _SPAN * min(1.0, math.log1p(estimated_tokens(asked)) / math.log1p(_LONG_TOKENS)) - _SPAN / 2
    value += _PER_WORD * min(_MOST_WORDS, len(words & _HARD))
    value -= _PER_WORD * min(_MOST_WORDS, len(words & _EASY))
    value += _PER_WORD * min(_MOST_WORDS, max(0, text.count("?") - 1))
    value += _PER_WORD * (len(_NUMBER.findall(text)) >= _NUMBERS)
    return min(1.0, max(0.0, value))


def _ends(text: str) -> str:
    """Return the beginning and the end of a text, where what to do with it is said."""
    return text if len(text) <= 2 * _READ else f"{text[:_READ]}\n{text[-_READ:]}"
