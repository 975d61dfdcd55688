"""The forms that times, ids and counters have in prompts, and the words around them that say whether they change."""

from __future__ import annotations

import re

__all__ = [
    "CLOCK",
    "COUNTER",
    "DATE",
    "DATE_FORMATS",
    "DAY",
    "EPOCH",
    "FIXED",
    "IDS",
    "LABELLED_ID",
    "LIST_NUMBER",
    "NOW",
    "ORDINAL",
    "STAMP",
    "TIME",
]


def _any(words: str) -> str:
    """Return a pattern for any of some words or phrases, which stand apart by bars."""
    return "(?:" + "|".join(word.strip().replace(" ", r"\s+") for word in words.split("|")) + ")"


_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?"
_WEEKDAY = r"(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?"
_NTH = r"\d{1,2}(?:st|nd|rd|th)?"
DAY = (
    r"(?:(?:19|20)\d\d[-/.](?:0?[1-9]|1[0-2])[-/.](?:[12]\d|3[01]|0?[1-9])"
    r"|\d{1,2}[-/.]\d{1,2}[-/.](?:19|20)?\d\d"
    rf"|{_MONTH}\s+{_NTH},?\s+(?:19|20)\d\d"
    rf"|{_NTH}\.?\s+(?:of\s+)?{_MONTH},?\s+(?:19|20)\d\d)"
)
CLOCK = (
    r"(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:[.,]\d+)?)?(?:\s?[AaPp]\.?[Mm]\b\.?)?"
    r"(?:\s?(?:Z|UTC|GMT|[+-]\d\d:?\d\d))?"
)
STAMP = re.compile(
    rf"{DAY}(?:T|,?\s+(?:at\s+)?){CLOCK}|{_WEEKDAY},?\s+{DAY}"
    rf"|{_WEEKDAY}\s+{_MONTH}\s+\d{{1,2}}\s+{CLOCK}\s+(?:\w+\s+)?\d{{4}}"
)
DATE = re.compile(rf"(?<![\w/.-]){DAY}(?![\w/-])")
TIME = re.compile(rf"(?<![\w:]){CLOCK}(?![\w:])")
EPOCH = re.compile(r"(?<![\w.])1[5-9]\d{8}(?:\d{3})?(?:\.\d+)?(?![\w.])")

# Before a time: that it is now, or that it is one for ever.
_NOW_WORDS = _any(
    "now | today(?:'s)? | current(?:ly)? | present | local | server | system | utc | at the moment | as of | it is"
    "| it's | generated | time(?:stamp)? | date(?: and time)? | datetime"
    "| last (?:updated?|refreshed|synced|seen|login)"
    "| updated | started | retrieved | rendered | sent | received | asked | logged in"
)
_FIXED_WORDS = _any(
    "cut-?off | released? | since | born | founded | effective | version | published | copyright | until | before"
    "| after | between | from | example | e\\.g | such as | like | format | every | each | daily | weekly | opens?"
    "| closes? | hours? | schedule | in force | valid | enacted | dated | deadline | due | expires?"
)
NOW = re.compile(rf"\b{_NOW_WORDS}\b[^\n]{{0,30}}$", re.IGNORECASE)
FIXED = re.compile(rf"\b{_FIXED_WORDS}\b[^\n]{{0,40}}$", re.IGNORECASE)
DATE_FORMATS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y"),
    *("%B %d %Y", "%b %d %Y", "%d %B %Y", "%d %b %Y"),
)
ORDINAL = re.compile(r"(?<=\d)(?:st|nd|rd|th)|\bof\b|[,]|(?<=[a-z])\.")

_PREFIXES = (
    "req|sess|session|trace|span|run|msg|conv|thread|call|chat|txn|job|nonce|corr|cid|sid|rid|usr|user|ticket|order"
)
IDS = (
    re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"),
    re.compile(rf"\b(?:{_PREFIXES}|inv)[_-](?=[A-Za-z0-9]*\d)[A-Za-z0-9]{{6,}}\b"),
    re.compile(
        r"(?<![\w/.+-])(?=[a-z]*\d)(?=\d*[a-z])(?:[0-9a-f]{16,64})(?![\w/.+-])|\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b",
        re.ASCII,
    ),
)
_ID_WORDS = _any(
    "request | session | trace | correlation | conversation | thread | run | user | customer | visitor | device"
    "| message | transaction | job | build | nonce | seed | salt | token | ticket | order | chat | call | instance"
    "| span | csrf | ref(?:erence)?"
)
LABELLED_ID = re.compile(
    rf"\b{_ID_WORDS}[\s_-]*(?:id|no|number|key|token|code|hash|nonce)?\s*(?:[:=#]|\bis\b)\s*[\"'`#]?"
    r"(?P<id>(?=[\w.-]*\d)[\w.-]{4,})",
    re.IGNORECASE,
)

_COUNTED = _any(
    "turn | attempt | iteration | retry | round | message | request | query | call | visit | sequence | seq | counter"
    "| count | tick | uptime | step | page view | invocation"
)
_THINGS = _any(
    "messages? | turns? | requests? | tokens? | credits? | calls? | queries | attempts? | tries | seconds? | minutes?"
    "| hours? | items? | users? | people"
)
_LEFT = _any("left | remaining | so far | used | ago | online | waiting | elapsed | until now | in the queue | already")
_GAUGES = _any(
    "remaining | left | used | elapsed | online | balance | queue length | load | cpu | memory | temperature"
)
COUNTER = re.compile(
    rf"\b{_COUNTED}s?(?:\s+(?:number|count|counter|no\.?|id))?\s*(?:[:=#]|\bis\b|\bnumber\b)\s*[\"'#]?\d+\b"
    r"(?!\s*[-.)]\s|\s*%)"
    r"|\b(?:turn|attempt|iteration|retry|round|message|step|request|call)\s+\d+\s*(?:of|/)\s*\d+"
    rf"|\b\d[\d,]*\s+{_THINGS}\s+{_LEFT}|\b{_GAUGES}\s*[:=]\s*\$?\d[\d.,]*",
    re.IGNORECASE,
)
LIST_NUMBER = re.compile(r"^\s*(?:[-*#]\s*)?(?:step|rule|example|part|section|phase)\s+\d+\b", re.IGNORECASE)
