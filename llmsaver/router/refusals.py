"""Answers that are none: the model declines, or says that it cannot or does not know."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from llmsaver.router.language import translation_asked

if TYPE_CHECKING:
    from llmsaver.router.views import Answer, Asked

__all__ = ["apologises", "opens_with_refusal", "refusal"]

# What a refusal says after its first words: offers, reasons, whom to ask. Longer texts answer something.
_FIRM_LETTERS, _SOFT_LETTERS = 700, 350
_OPENING = 400
_SENTENCE = re.compile(r"(?<=[.!?\u3002])\s?")
_BLANKS = re.compile(r"\s+")
_MARKS = re.compile(r"^[\s\"'*_>#\-\u201c\u201e\u00ab\u300c\u2019.,;:!]+")
_THOUGHT = re.compile(r"^\s*<think>.*?(?:</think>|\Z)", re.DOTALL)
# Where the answer goes on to answer, or holds what no refusal holds.
_GOES_ON = re.compile(
    r"```|^\s*(?:[-*\u2022]|\d+[.)])\s|\|.*\||\n#+ |\\boxed|####|"
    r"\b(?:but here(?:'s| is| are)|here(?:'s| is| are) (?:a|an|some|the|what|how|my)|however|that said|nevertheless|"
    r"in general|generally|based on|assuming|therefore|the answer is|allerdings|jedoch|trotzdem|cependant|toutefois|"
    r"n\u00e9anmoins|sin embargo|no obstante|tuttavia|per\u00f2|no entanto|por\u00e9m|echter|jednak)\b"
    r"|\u043e\u0434\u043d\u0430\u043a\u043e|\u4f46\u662f|\u4e0d\u8fc7|\u4e0d\u904e|\u305f\u3060\u3057|\ud558\uc9c0\ub9cc",
    re.IGNORECASE | re.MULTILINE,
)
# Tasks whose result may well read like a refusal: another's words, a text to order, or one about declining.
_TO_ORDER = re.compile(
    r"\b(?:rewrite|rephrase|paraphrase|proofread|correct|fix the (?:grammar|spelling)|transcri|quote|role-?play|pretend"
    r"|dialog|(?:write|draft|compose)\b.{0,40}\b(?:e-?mail|letter|message|reply|note|sms|text|line|story|poem|scene)"
    r"|refus|declin|apolog|sorry|turn(?:ing)? down|reject|can't|cannot|unable|umformulier|korrigier|schreib|ablehn"
    r"|reformul|corrig|\u00e9cri[st]|r\u00e9dig|escrib|redact|scriv|escrev|schrijf|herschrijf)",
    re.IGNORECASE | re.DOTALL,
)


class _Patterns(NamedTuple):
    firm: re.Pattern[str]
    soft: re.Pattern[str]
    apology: re.Pattern[str]


def refusal(asked: Asked, answer: Answer) -> str | None:
    """Return why an answer counts as a refusal; None for every other, also for one that says "I can't" on its way.

    Certain are those that the provider marks. Of the others only the first words count, in twelve languages: those
    of a short text that does not go on to answer, and was not ordered (a translation, a letter, a quotation, words
    that the request itself holds).
    """
    if answer.finish in ("refusal", "filter"):
        return "the provider says that it was refused or filtered"
    if answer.calls or asked.json:
        return None
    text = _plain(answer.text)
    kind = _kind(text)
    if kind is None or _answers(answer.text, text, kind) or _ordered(asked, text):
        return None
    return "it declines to answer" if kind == "firm" else "it says that it cannot know or do this"


def opens_with_refusal(text: str) -> bool:
    """Tell whether a text begins as refusals do; for the beginning of an answer whose rest is not there yet."""
    return _kind(_plain(text)) == "firm"


def apologises(text: str) -> bool:
    """Tell whether a text begins with what refusals begin with ("I'm sorry, but"): more of it is to be read."""
    return _patterns().apology.match(_opening(_plain(text))) is not None


def _answers(written: str, text: str, kind: str) -> bool:
    """Whether a text that begins like a refusal goes on to be an answer."""
    if kind == "soft":
        return len(text) > _SOFT_LETTERS or _GOES_ON.search(written) is not None
    return len(text) > _FIRM_LETTERS or "```" in written


def _ordered(asked: Asked, text: str) -> bool:
    """Whether such words may be just what was asked for."""
    if translation_asked(asked) or _TO_ORDER.search(asked.text):
        return True
    opening = _SENTENCE.split(text, maxsplit=1)[0].strip(" .!?\u3002")
    return opening.lower() in _plain(f"{asked.system} {' '.join(asked.turns)} {asked.text}").lower()


def _plain(text: str) -> str:
    bare = _MARKS.sub("", _BLANKS.sub(" ", _THOUGHT.sub("", text.replace("**", ""))))
    return bare.replace("\u2019", "'").strip()


def _kind(text: str) -> str | None:
    opening, patterns = _opening(text), _patterns()
    if patterns.firm.match(opening):
        return "firm"
    return "soft" if patterns.soft.match(opening) else None


def _opening(text: str) -> str:
    return text[:_OPENING].lower().replace("i'm ", "i am ")


@cache
def _patterns() -> _Patterns:
    table = json.loads(files("llmsaver.router").joinpath("refusals.json").read_text(encoding="utf-8"))
    said = {}
    for strength in ("firm", "soft"):
        # An apology, if any, what joins it to the rest, then the words that decline.
        each = (
            rf"(?:{language['apology']}[\s,.!:;\u2014\u2013\uff0c\u3002\u3001-]*(?:but|that|and|aber|dass|mais|pero|que|ma"
            rf"|mas|maar|dat|ale|\u017ce|\u043d\u043e|\u4f46|\u4f46\u662f)?[\s,\uff0c]*){{0,2}}(?:{'|'.join(language[strength])})"
            for language in table.values()
        )
        said[strength] = re.compile("|".join(each))
    apology = re.compile(
        "|".join(["as an? (?:ai|language|large)", *(f"(?:{each['apology']})" for each in table.values())])
    )
    return _Patterns(said["firm"], said["soft"], apology)
