"""Whether an answer is in a language that nobody asked for; in doubt it is not."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from llmsaver.router.scripts import SCRIPTS, prose, scripts_of

if TYPE_CHECKING:
    from llmsaver.router.views import Answer, Asked

__all__ = ["language_of", "mismatch", "translation_asked"]

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
# Fewer words tell no language: names, labels and results are in all of them.
_WORDS, _STOPS = 5, 3
# Of a text's words at least so many are stop words, and twice as many of one language as of any other.
_SHARE, _MARGIN = 0.2, 2.0
_LETTERS = 6
_SCRIPT_SHARE = 0.6
# So much of another script in an answer is more than a name or an example.
_STRAYED, _STRAYED_SHARE = 10, 0.2
_ANSWER_WORDS = 8
_EVIDENCE = 3
_BRIEF = 40
_SENTENCE = re.compile(r"(?<=[.!?:;])\s+")
# Texts are judged by their beginnings.
_READ, _END = 1_500, 80
# What explains a language may stand anywhere in a prompt of this length.
_PROMPT = 50_000
_SAME = re.compile(r"same language|user'?s language|language of the (?:user|question|request|message)", re.IGNORECASE)
_REPLY = r"\b(?:answer|reply|respond|speak|output|antwort\w*|r\u00e9pond\w*|respond\w*|rispond\w*|contest\w*)\b"
# Words that say what to make of a text, whose language then need not be the answer's.
_WORKS_ON = re.compile(
    r"\b(?:summar|classif|categor|extract|label|rewrite|rephrase|analy[sz]e|report|proofread|correct|subtitle|caption"
    r"|fass|zusammenf|klassifi|extrahier|formulier|korrigier|r\u00e9sum|reformul|corrig(?:e|er|ez)\b|corrija|resum|clasific|extrae|extrai"
    r"|riassum|estrai|samenvat|vat\b|streszcz|podsumuj|sammanfatt|\u00f6zet)",
    re.IGNORECASE,
)


class _Languages(NamedTuple):
    stops: dict[str, frozenset[str]]
    spoken_in: dict[str, tuple[str, ...]]
    named: re.Pattern[str]
    code: dict[str, str]
    replies: re.Pattern[str]


def mismatch(asked: Asked, answer: Answer) -> str | None:
    """Return why an answer's language is the wrong one; None where it is right, or no language can be told for sure.

    Right is the language that the request says to answer in, else that of the last user text (of the one before,
    where that has too few words). Where a language is named in another way, the text is to be worked on, or it holds
    some of the answer's language itself, no answer is rejected; nor is one that is mostly code, formulas or names.
    """
    if asked.json or not answer.text or answer.calls:
        return None
    found, said = _of(prose(answer.text[:_READ]), _ANSWER_WORDS), _said(asked)
    # Models stray in the middle of an answer: all of it counts here.
    strayed = _strayed(answer.text, asked)
    if strayed is None and not said and (found is None or _spoken(asked) in (None, found)):
        return None
    # What costs more to find out is asked only where something looks wrong.
    named = _named(_SAME.sub(" ", "\n".join(_texts(asked))))
    if named and said != named:
        return None
    if strayed is not None and not said:
        return f"a good part of it is in {strayed} script, and nothing of what was asked"
    expected = min(said) if said else _spoken(asked)
    if expected is None or found is None or found == expected or {found, expected} == {"han", "japanese"}:
        return None
    right = not said and _excused(asked, found, expected)
    return None if right else f"it is in {found!r} where {expected!r} was {'asked for' if said else 'spoken'}"


def language_of(text: str) -> str | None:
    """Return a text's language ("en", "de", "fr", "es", "it", "pt", "nl", "pl", "sv", "tr"), or its script's name.

    Scripts: "han", "japanese", "hangul", "cyrillic", "arabic", "hebrew", "devanagari", "thai", "greek". None where the
    words are too few or no language is clearly ahead. Code, formulas, links and paths do not count.
    """
    return _of(prose(text[:_READ]), _WORDS)


def translation_asked(asked: Asked) -> bool:
    """Tell whether a language, or translating, is named anywhere in what was asked."""
    return bool(_named("\n".join((asked.system, *asked.turns, asked.text))))


def _texts(asked: Asked) -> tuple[str, ...]:
    return (asked.system[:_PROMPT], *(each[:_PROMPT] for each in asked.turns[-4:]), asked.text[:_PROMPT])


def _named(text: str) -> frozenset[str]:
    """Return the languages that a text names."""
    languages = _languages()
    return frozenset(languages.code[each.lower()] for each in languages.named.findall(text))


def _said(asked: Asked) -> frozenset[str]:
    """Return the one language that is told to answer in; nothing where there are two."""
    languages = _languages()
    where = (asked.system[:_READ], asked.system[_READ:][-_READ:], asked.text[:_READ], asked.text[_READ:][-_READ:])
    said = {languages.code[each.lower()] for text in where for each in languages.replies.findall(text)}
    return frozenset(said if len(said) == 1 else ())


def _spoken(asked: Asked) -> str | None:
    texts = (asked.text, *reversed(asked.turns[-4:]))
    return next(filter(None, map(language_of, texts)), None)


def _excused(asked: Asked, found: str, expected: str) -> bool:
    """Whether what was asked explains an answer in another language than the question's."""
    if _WORKS_ON.search(asked.text) or _holds(asked.text, found, expected) or not _all_in(asked.text, expected):
        return True
    if any(_holds(each, found, expected) for each in asked.turns[-4:]):
        return True
    if _SAME.search(asked.system) or not _holds(asked.system, found, expected):
        return False
    # A few words of instructions in English are in front of most conversations, whatever their language.
    return len(asked.system.split()) > _BRIEF or _WORKS_ON.search(asked.system) is not None


def _all_in(text: str, expected: str) -> bool:
    """Whether a text of several lines, or a long one, begins and ends in a language: at either end a task may be."""
    lines = [line for line in text.splitlines() if line.strip()]
    ends = (lines[0][:_END], _SENTENCE.split(lines[-1].strip())[-1]) if lines else ()
    return (len(text) <= _READ and len(lines) == 1) or all(language_of(each) == expected for each in ends)


def _holds(text: str, found: str, expected: str) -> bool:
    """Whether some of a text is in the language ``found``."""
    if found in SCRIPTS or found == "japanese":
        return scripts_of(text)[0]["kana" if found == "japanese" else found] > 0
    stops = _languages().stops
    own = stops[found] - stops.get(expected, frozenset())
    return len({each.lower() for each in _WORD.findall(prose(text))} & own) >= _EVIDENCE


def _strayed(given: str, asked: Asked) -> str | None:
    """Return the script that much of an answer is in and nothing of the prompt."""
    if not scripts_of(given)[0]:
        return None
    found, letters = scripts_of(prose(given))
    here = scripts_of("\n".join(_texts(asked)))[0] if found else {}
    if "kana" in found and "han" in here:
        return None
    for name, count in found.most_common():
        if name not in here and count >= max(_STRAYED, _STRAYED_SHARE * letters):
            return name
    return None


def _of(text: str, fewest: int) -> str | None:
    found, letters = scripts_of(text)
    if found:
        japanese = found["kana"] * 10 >= found["kana"] + found["han"]
        found["japanese" if japanese else "han"] = found.pop("kana", 0) + found.pop("han", 0)
        name, count = found.most_common(1)[0]
        if count >= max(_LETTERS, _SCRIPT_SHARE * letters):
            return name
        if count > (1 - _SCRIPT_SHARE) * letters:
            return None
    words = [each.lower().replace("\u2019", "'") for each in _WORD.findall(text)]
    if len(words) < fewest:
        return None
    spoken_in = _languages().spoken_in
    counts: Counter[str] = Counter()
    for word in words:
        codes = spoken_in.get(word, ())
        for each in codes:
            counts[each] += 12 // len(codes)  # a word of four languages says little of any
    (code, best), (_, second) = [*counts.most_common(2), ("", 0), ("", 0)][:2]
    own = [word for word in words if code in spoken_in.get(word, ())]
    distinct = len(set(own))
    sure = len(own) >= _SHARE * len(words) and best >= _MARGIN * second and distinct >= _STOPS
    return code if sure else None


@cache
def _languages() -> _Languages:
    table = json.loads(files("llmsaver.router").joinpath("languages.json").read_text(encoding="utf-8"))
    code = {name: language for language, each in table.items() for name in each["names"].split()}
    names = "|".join(sorted(map(re.escape, code), key=len, reverse=True))
    stops = {language: frozenset(each["stop"].split()) for language, each in table.items() if "stop" in each}
    words = frozenset().union(*stops.values())
    return _Languages(
        stops=stops,
        spoken_in={word: tuple(language for language, own in stops.items() if word in own) for word in words},
        # Names of Latin script begin a word, whatever follows: "deutsche", "traduction".
        named=re.compile(rf"(?:(?<![^\W\d_])|(?<=[\u3040-\u9fff\uac00-\ud7af]))(?:{names})", re.IGNORECASE),
        code=code,
        replies=re.compile(rf"{_REPLY}(?:\W+\w+){{0,4}}?\W+(?:in|auf|en|em|op|po)\W+({names})\b", re.IGNORECASE),
    )
