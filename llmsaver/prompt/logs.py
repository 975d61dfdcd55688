"""Logs in a fifth of their length: every line that tells of trouble, every kind of line with its count.

Lines that differ only in numbers, addresses and times are of one kind. A line of trouble (a warning, an error, a stack
trace) is kept whole in what it says: its kind once, then what differs, with the times of each. Of any other kind the
first line stands for all, with their number. Lines with an id that the question names are kept as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["is_log", "shortened"]

_TIME = re.compile(
    r"\[?(?P<at>\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"
    r"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{6} \d{6}|\d\d:\d\d:\d\d(?:[.,]\d+)?)"
)
_TROUBLE = re.compile(
    r"\b(?:WARN(?:ING)?|ERR(?:OR)?|FATAL|CRITICAL|SEVERE|ALERT|EMERG|PANIC)\b|\bTraceback \(most recent"
)
_LOWER_TROUBLE = re.compile(
    r"(?:^|[\s\[<|])(?:warn(?:ing)?|err(?:or)?|fatal|critical|panic)[\]>:|]|level=(?:warn|error|fatal)"
)
_BELONGS = re.compile(r"\s+\S|Caused by: |\.\.\. \d+ more|[\w.$]+(?:Exception|Error)\b")
# What differs between two lines of one kind.
_DIFFERS = re.compile(
    r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|0x[0-9a-fA-F]+|/?\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?"
    r"|\b[0-9a-f]{12,}\b|-?\d+(?:\.\d+)?"
)
_CLOCK = re.compile(r"(.*?)([ T]?)([^ T]*)")
_ID = re.compile(r"[\w.:/@#-]*\d[\w.:/@#-]*|[\w.-]+@[\w.-]+")
_SLOT, _STAMP = "\0", "{time}"
_FEWEST_LINES = 8
_SHORTEST_ID = 3
_NAMES = "abcdefghijklmnopqrstuvwxyz"
_TOLD = (
    "[log of {lines} lines, shortened: of each kind of line its text, how many there are and, for warnings and errors, "
    "all of them: what stood where {{a}}, {{b}} ... are in the text, then each {{time}}, its date where it changes]"
)


@dataclass(slots=True)
class _Line:
    number: int
    text: str
    time: str
    values: tuple[str, ...]


@dataclass(slots=True)
class _Kind:
    pattern: str
    trouble: bool
    lines: list[_Line] = field(default_factory=list)


def is_log(text: str) -> bool:
    """Return whether most lines of a text begin with a time, and there are enough of them."""
    lines = text.splitlines()
    stamped = sum(_TIME.match(line) is not None for line in lines)
    return stamped >= _FEWEST_LINES and stamped >= len(lines) / 2


def shortened(text: str, question: str = "") -> str:
    """Return the log shortened, or as it is where that is no shorter; a question's ids keep the lines they are in."""
    if _SLOT in text:
        return text
    lines = text.splitlines()
    named = _named(question)
    kinds: dict[tuple[str, bool], _Kind] = {}
    asked: list[str] = []
    troubled = False
    for number, line in enumerate(lines):
        stamp = _TIME.match(line)
        troubled = _is_trouble(line) or (troubled and stamp is None and _BELONGS.match(line) is not None)
        if any(id_ in line for id_ in named):
            asked.append(line)
        begins, ends = (0, 0) if stamp is None else stamp.span("at")
        time, rest = line[begins:ends], line[ends:]
        values = tuple(_DIFFERS.findall(rest))
        pattern = f"{line[:begins]}{_STAMP if time else ''}{_DIFFERS.sub(_SLOT, rest)}"
        kind = kinds.setdefault((pattern, troubled), _Kind(pattern, troubled))
        kind.lines.append(_Line(number, line, time, values))
    told = [_TOLD.format(lines=len(lines))]
    for kind in kinds.values():
        told += _told(kind)
    if asked:
        told += [f"[all {len(asked)} lines with {', '.join(sorted(named))}]", *asked]
    result = "\n".join(told)
    return result if len(result) < len(text) else text


def _is_trouble(line: str) -> bool:
    return _TROUBLE.search(line) is not None or _LOWER_TROUBLE.search(line) is not None


def _named(question: str) -> set[str]:
    """Return the ids that a question names: what has a digit in it, or an address."""
    found = (each.strip(".,:;-/") for each in _ID.findall(question))
    return {each for each in found if len(each) >= _SHORTEST_ID}


def _told(kind: _Kind) -> list[str]:
    """Return a kind of line in few lines."""
    count = len(kind.lines)
    if count == 1:
        return [kind.lines[0].text]
    if not kind.trouble:
        first, last = kind.lines[0], kind.lines[-1]
        until = f", the last at {last.time}" if last.time else ""
        return [f"{first.text}  [x{count} of this kind{until}]"]
    columns = list(zip(*(line.values for line in kind.lines), strict=True))
    fixed = [len(set(column)) == 1 for column in columns]
    names = iter(_NAMES)
    pattern, shown = kind.pattern, []
    for at, column in enumerate(columns):
        name = None if fixed[at] else next(names, None)
        if not fixed[at] and name is None:
            return [line.text for line in kind.lines]  # more differs than is worth naming
        pattern = pattern.replace(_SLOT, column[0] if name is None else f"{{{name}}}", 1)
        if name is not None:
            shown.append((name, at))
    groups: dict[tuple[str, ...], list[_Line]] = {}
    for line in kind.lines:
        groups.setdefault(tuple(line.values[at] for _, at in shown), []).append(line)
    told = [f"{pattern}  [x{count}]"]
    for values, lines in groups.items():
        what = " ".join(f"{name}={value}" for (name, _), value in zip(shown, values, strict=True))
        told.append(f"  {what}{': ' if what else ''}{_times(lines)}")
    return told


def _times(lines: Sequence[_Line]) -> str:
    """Return the times of lines that say the same; a date only where it is another than before, a count without any."""
    if not lines[0].time:
        return f"x{len(lines)}"
    told: list[str] = []
    day = ""
    for line in lines:
        date, apart, clock = _CLOCK.fullmatch(line.time).groups()  # type: ignore[union-attr]  # every time has one
        told.append(clock if date == day else f"{date}{apart}{clock}")
        day = date
    return ", ".join(told)
