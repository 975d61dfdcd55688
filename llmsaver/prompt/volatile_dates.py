"""Dates and times of day as prompts have them, in several languages, and whether a date is about today's."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CLOCK", "COMPACT", "DATE", "EPOCH", "MONTH", "STAMP", "TIME", "WEEK", "WEEKDAY", "is_near"]

_NEAR = timedelta(days=2)
_SECONDS = 10**11  # an epoch above it is in milliseconds
# January to December as they stand in dates, by their first letters where these are enough; English, German, Dutch and
# the Nordic languages, French, Spanish, Italian, Portuguese, Polish, Czech, Russian, Turkish.
_MONTHS = (
    "jan|janv|january|januar|januari|jänner|janvier|enero|ene|gennaio|gen|janeiro|stycznia|styczeń|ledna|января|ocak",
    "feb|february|februar|februari|février|févr|febrero|febbraio|fevereiro|fev|lutego|luty|února|февраля|şubat",
    "mar|march|märz|mrz|maart|mars|marts|marzo|março|marca|marzec|března|марта|mart",
    "apr|april|avril|avr|abril|abr|aprile|kwietnia|kwiecień|dubna|апреля|nisan",
    "may|mai|mei|maj|mayo|maggio|mag|maio|maja|května|мая|mayıs",  # noqa: RUF001 - Turkish
    "jun|june|juni|juin|junio|giugno|giu|junho|czerwca|czerwiec|června|июня|haziran",
    "jul|july|juli|juillet|juil|julio|luglio|lug|julho|lipca|lipiec|července|июля|temmuz",
    "aug|august|augustus|augusti|août|agosto|ago|sierpnia|sierpień|srpna|августа|ağustos",
    "sep|sept|september|septembre|septiembre|settembre|set|setembro|września|wrzesień|září|сентября|eylül",
    "oct|october|okt|oktober|octobre|octubre|ottobre|ott|outubro|out|października|październik|října|октября|ekim",
    "nov|november|novembre|noviembre|novembro|listopada|listopad|ноября|kasım",  # noqa: RUF001 - Turkish
    "dec|december|dez|dezember|décembre|déc|diciembre|dic|dicembre|dezembro|grudnia|grudzień|prosince|декабря|aralık",  # noqa: RUF001 - Turkish
)
_NUMBER_OF = {name: number for number, names in enumerate(_MONTHS, 1) for name in names.split("|")}
_MONTH = rf"(?:{'|'.join(sorted(_NUMBER_OF, key=len, reverse=True))})(?![^\W\d_])\.?"
WEEKDAY = (
    r"(?:(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?"
    r"|(?:Mon|Diens|Donners|Frei|Sams|Sonn)tag|Mittwoch|Sonnabend|lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche"
    r"|lunes|martes|miércoles|jueves|viernes|sábado|domingo|lunedì|martedì|mercoledì|giovedì|venerdì|sabato|domenica"
    r"|(?:segunda|terça|quarta|quinta|sexta)-feira|maandag|dinsdag|woensdag|donderdag|vrijdag|zaterdag|zondag"
    r"|måndag|tisdag|onsdag|torsdag|fredag|lördag|söndag|mandag|tirsdag|lørdag|søndag"
    r"|poniedziałek|wtorek|środa|czwartek|piątek|sobota|niedziela"
    r"|понедельник|вторник|среда|четверг|пятница|суббота|воскресенье"
    r"|(?:星期|周)[一二三四五六日天]|[月火水木金土日]曜日?|[월화수목금토일]요일|Pazartesi|Salı|Çarşamba|Perşembe|Cuma|Pazar)"  # noqa: RUF001 - Turkish
)
_NTH = r"\d{1,2}(?:st|nd|rd|th|er|º|\.)?"
_YEAR = r"(?:19|20)\d\d"
_DAY = (
    rf"(?:{_YEAR}[-/.](?:0?[1-9]|1[0-2])[-/.](?:[12]\d|3[01]|0?[1-9])"
    r"|\d{1,2}[-/.]\d{1,2}[-/.](?:19|20)?\d\d"
    rf"|{_YEAR}\s?[年년]\s?\d{{1,2}}\s?[月월]\s?\d{{1,2}}\s?[日일]"
    rf"|{_MONTH}\s+{_NTH},?\s+{_YEAR}"
    rf"|{_NTH}\s+(?:of\s+|de\s+)?{_MONTH},?\s+(?:de\s+|del\s+)?{_YEAR})"
)
CLOCK = (
    r"(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:[.,]\d+)?)?(?:\s?[AaPp]\.?[Mm]\b\.?)?"
    r"(?:\s?(?:Z|UTC|GMT|[+-]\d\d:?\d\d))?"
)
# Beside a number stands no letter or digit; other scripts write no space there.
_BEGINS, _ENDS = "(?<![0-9A-Za-z_])", "(?![0-9A-Za-z_])"
COMPACT = re.compile(rf"{_BEGINS}({_YEAR})(0[1-9]|1[0-2])([0-2]\d|3[01])(?:T\d{{4,6}}Z?)?{_ENDS}")
STAMP = re.compile(
    rf"{_DAY}(?:T|,?\s+(?:at\s+|um\s+|à\s+)?){CLOCK}"
    rf"|{WEEKDAY}\s+{_MONTH}\s+\d{{1,2}}\s+{CLOCK}\s+(?:\w+\s+)?\d{{4}}",
    re.IGNORECASE,
)
DATE = re.compile(
    rf"{_BEGINS}(?<![/.-])(?:{WEEKDAY},?\s+(?:den\s+|der\s+|le\s+|el\s+)?)?{_DAY}(?!\d|[/-]\w)", re.IGNORECASE
)
TIME = re.compile(rf"{_BEGINS}(?<!:){CLOCK}(?!:){_ENDS}")
MONTH = re.compile(rf"(?<![^\W\d_]){_MONTH}\s+(?:de\s+|del\s+)?{_YEAR}(?!\d)", re.IGNORECASE)
EPOCH = re.compile(rf"{_BEGINS}(?<!\.)1[5-9]\d{{8}}(?:\d{{3}})?(?:\.\d+)?(?![\w.])")
WEEK = re.compile(
    rf"(?:\b(?:week|KW|Woche|semaine|semana|settimana|tydzień|vecka|uge)|第)\s*(\d{{1,2}})\D{{1,12}}({_YEAR})"
)
_FIRST_YEAR = re.compile(rf"({_YEAR})\D{{1,3}}(\d{{1,2}})\D{{1,3}}(\d{{1,2}})")
_LAST_YEAR = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.]((?:19|20)?\d\d)")
_NAMED = re.compile(rf"(?:({_MONTH})\s+({_NTH})|({_NTH})\s+(?:of\s+|de\s+)?({_MONTH})).*?({_YEAR})", re.IGNORECASE)


def is_near(text: str, now: datetime) -> bool:
    """Return whether the date or epoch that a match of this module is, is about today's; a week: whether it is this."""
    if EPOCH.fullmatch(text):
        value = float(text)
        then = datetime.fromtimestamp(value / 1000 if value > _SECONDS else value, UTC)
        return abs(then - (now if now.tzinfo else now.astimezone())) <= _NEAR
    week = WEEK.fullmatch(text)
    if week is not None:
        return (int(week[2]), int(week[1])) == tuple(now.isocalendar())[:2]
    today = now.replace(tzinfo=None)
    month = MONTH.fullmatch(text)
    if month is not None:
        return _NUMBER_OF[re.split(r"[\s.]", text)[0].lower()] == now.month and text.endswith(str(now.year))
    return any(abs(day - today) <= _NEAR for day in _days(text))


def _days(text: str) -> Iterator[datetime]:
    """Yield what day a text may mean: of 3/4 nobody knows which is the month."""
    for year, month, day in _read(text):
        with suppress(ValueError):  # 31 February, or 13 as a month
            yield datetime(year, month, day)  # noqa: DTZ001 - a day, wherever it is


def _read(text: str) -> Iterator[tuple[int, int, int]]:
    if (found := COMPACT.search(text) or _FIRST_YEAR.search(text)) is not None:
        yield int(found[1]), int(found[2]), int(found[3])
    elif (found := _LAST_YEAR.search(text)) is not None:
        one, other, year = int(found[1]), int(found[2]), int(found[3])
        year += 2000 if year < 100 else 0  # noqa: PLR2004 - two digits
        yield year, other, one
        yield year, one, other
    elif (found := _NAMED.search(text)) is not None:
        name = (found[1] or found[4]).lower().rstrip(".")
        day = re.match(r"\d+", found[2] or found[3])
        if day is not None and name in _NUMBER_OF:
            yield int(found[5]), _NUMBER_OF[name], int(day[0])
    elif (ctime := re.search(rf"({_MONTH})\s+(\d{{1,2}})\s.*?(\d{{4}})$", text, re.IGNORECASE)) is not None:
        yield int(ctime[3]), _NUMBER_OF[ctime[1].lower().rstrip(".")], int(ctime[2])
