"""JSON in fewer characters and nothing lost: minified, and lists of like objects as tables whose keys stand once.

A table begins with how many rows it has and with what is the same in all of them, which stands in no row; then come the
names of the columns and a line for each row, as Markdown has them: "17 | Ann Lee | paid". Cells are JSON values,
strings of words without their marks, and "-" for a key that an object does not have. An object that all rows have is
spread over columns of its own, named by the keys that lead there: "address.city".

The form is the one that a small model read as well as the JSON (``benchmarks/prompt_reading.py``): with commas instead
of bars, or with what is the same among the columns' names, it looked into the wrong column in one question of eight.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["minified", "read_back", "tabled"]

_HEAD = "[table {number}: {rows} rows{same}]"
_HEADED = re.compile(r"\[table (\d+): (\d+) rows((?:; .*)?)\]")
_SAME, _ALSO, _BEFORE = "; all with ", "; ", ", before "
_NONE, _BAR = "-", " | "
# Strings that need no marks around them: words that could be taken for no other value, nor for a cell's end.
_BARE = re.compile(r"[^\W_](?:[^|\x00-\x1f]*[^|\s\x00-\x1f])?")
_NUMBER = re.compile(r"[-+.\deE]+")
_LITERALS = {"true": True, "false": False, "null": None}
_PLACE = "<table {number}>"
_PLACED = re.compile(r"<table \d+>")
_FEWEST_ROWS = 3
# Where a larger share of the cells is empty the objects are not alike.
_EMPTIEST = 0.25
_DEEPEST = 3
# Around a number that must be written as it was, while it is a string; a private character that no text should have.
_MARK, _MARK_ESCAPED = "\uf8ff", "\\uf8ff"
_MARKED = re.compile(f'"{_MARK}([^{_MARK}]*){_MARK}"')
_decoder = json.JSONDecoder()


class _Absent:
    """A key that an object does not have."""


_ABSENT = _Absent()
Path = tuple[str, ...]


@dataclass(slots=True)
class _Told:
    """What is told so far: the tables in their order, each as its lines."""

    tables: list[str] = field(default_factory=list)


def minified(text: str) -> str | None:
    """Return the same JSON without white space between its parts; None for what is no JSON object or list.

    None too for what would not read back the same: an object with a key twice. Numbers stay as they are written.
    """
    value = _parsed(text)
    return None if value is _ABSENT else _dumped(value)


def tabled(text: str) -> str | None:
    """Return JSON with its lists of like objects as tables where that is shorter; minified or None as ``minified``."""
    value = _parsed(text)
    if value is _ABSENT:
        return None
    least = _dumped(value)
    if _PLACED.search(least):
        return least
    told = _Told()
    outer = _replaced(value, told)
    if not told.tables:
        return least
    whole = [] if outer == _PLACE.format(number=1) else [_dumped(outer)]
    longer = "\n".join([*whole, *told.tables])
    return longer if len(longer) < len(least) else least


def read_back(text: str) -> Any:
    """Return the value of which ``tabled`` or ``minified`` made ``text``; raises ``ValueError`` for anything else."""
    lines = text.split("\n")
    outer: Any = _PLACE.format(number=1) if _HEADED.fullmatch(lines[0]) else json.loads(lines.pop(0))
    tables: dict[str, list[Any]] = {}
    while lines:
        head = _HEADED.fullmatch(lines.pop(0))
        if head is None:
            raise ValueError("a table's first line is missing")
        columns = _with_same(head[3], _cells(lines.pop(0))) if lines else []
        if not lines or lines.pop(0) != _rule(len(columns) - sum(isinstance(column, dict) for column in columns)):
            raise ValueError("the line below a table's columns is missing")
        count = int(head[2])
        rows, lines = lines[:count], lines[count:]
        tables[_PLACE.format(number=head[1])] = [_object(columns, _cells(row)) for row in rows]
    return _filled(outer, tables)


def _parsed(text: str) -> Any:
    """Return the value of a JSON object or list that is the same when written and read again, else ``_ABSENT``."""
    stripped = text.strip()
    if stripped[:1] not in {"{", "["} or _MARK in text or _MARK_ESCAPED in text.lower():
        return _ABSENT
    try:
        return json.loads(
            stripped, object_pairs_hook=_once, parse_float=_exact, parse_int=_exact, parse_constant=_no_number
        )
    except (ValueError, RecursionError):
        return _ABSENT


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice")
    return made


def _exact(text: str) -> int | float | str:
    """Return a number, or, where it would be written in another form, its text between two marks."""
    value: int | float = float(text) if set(text) & set(".eE") else int(text)
    return value if repr(value) == text else f"{_MARK}{text}{_MARK}"


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _dumped(value: Any) -> str:
    return _MARKED.sub(r"\1", json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _replaced(value: Any, told: _Told, depth: int = 0) -> Any:
    """Return a value with the lists of like objects in it told as tables."""
    if isinstance(value, list):
        table = _table(value, len(told.tables) + 1)
        if table is not None:
            told.tables.append(table)
            return _PLACE.format(number=len(told.tables))
    if depth > _DEEPEST:
        return value
    if isinstance(value, dict):
        return {key: _replaced(part, told, depth + 1) for key, part in value.items()}
    if isinstance(value, list):
        return [_replaced(part, told, depth + 1) for part in value]
    return value


def _table(value: Sequence[Any], number: int) -> str | None:
    """Return a list of like objects as lines, None where they are not alike or a table would be longer."""
    if len(value) < _FEWEST_ROWS or not all(isinstance(part, dict) and part for part in value):
        return None
    rows = [dict(_leaves(part)) for part in value]
    columns = list(dict.fromkeys(path for row in rows for path in row))
    if any(_clash(columns, path) for path in columns):
        columns, rows = _flat(value)
    empty = len(columns) * len(rows) - sum(map(len, rows))
    # A row of which no cell says in which order its keys came would not read back in that order.
    if empty > _EMPTIEST * len(columns) * len(rows) or any(_order(columns, row) != list(row) for row in rows):
        return None
    shown = [path for path in columns if not _is_same(path, rows)] or columns[:1]
    head = _HEAD.format(number=number, rows=len(rows), same=_told_same(columns, shown, rows[0]))
    names = [_line(_cell(_named(path)) for path in shown), _rule(len(shown))]
    lines = [_line(_cell(row[path]) if path in row else _NONE for path in shown) for row in rows]
    told = "\n".join([head, *names, *lines])
    return told if len(told) < len(_dumped(value)) else None


def _line(cells: Iterable[str]) -> str:
    return _BAR.join(cells)


def _rule(columns: int) -> str:
    return "|".join(["---"] * columns)


def _cell(value: Any) -> str:
    if not isinstance(value, str) or value in _LITERALS or _MARK in value or _NUMBER.fullmatch(value):
        return _dumped(value)
    return value if _BARE.fullmatch(value) else _dumped(value)


def _told_same(columns: Sequence[Path], shown: Sequence[Path], row: dict[Path, Any]) -> str:
    """Return what stands in no row, and before which column it belongs, for the keys' order to be kept."""
    told: list[str] = []
    group: dict[str, Any] = {}
    for path in columns:
        if path not in shown:
            group[path[0]] = row[path]
        elif group:
            told.append(f"{_dumped(group)}{_BEFORE}{_dumped(_named(path))}")
            group = {}
    if group:
        told.append(_dumped(group))
    return _SAME + _ALSO.join(told) if told else ""


def _with_same(told: str, columns: list[Any]) -> list[Any]:
    """Return the columns, and objects among them for what all rows have."""
    at = len(_SAME)
    while at < len(told):
        if told[at:].startswith(_ALSO):
            at += len(_ALSO)
        same, at = _decoder.raw_decode(told, at)
        place = len(columns)
        if told[at:].startswith(_BEFORE):
            name, at = _decoder.raw_decode(told, at + len(_BEFORE))
            place = columns.index(name)
        columns.insert(place, same)
    return columns


def _named(path: Path) -> str | Path:
    """Return a column's name; a key with a point in it stands in a list, as no path does."""
    return path if any("." in key for key in path) else ".".join(path)


def _is_same(path: Path, rows: Sequence[dict[Path, Any]]) -> bool:
    """Return whether a cell, under one key, is the same in all rows."""
    return len(path) == 1 and all(path in row for row in rows) and len({_dumped(row[path]) for row in rows}) == 1


def _leaves(value: dict[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield what an object has at the end of its keys; an object in it that is empty or too deep is such an end."""
    for key, part in value.items():
        here = (*path, key)
        if isinstance(part, dict) and part and len(here) < _DEEPEST:
            yield from _leaves(part, here)
        else:
            yield here, part


def _clash(columns: Sequence[Path], path: Path) -> bool:
    """Whether one row has a value where another has an object."""
    return any(other != path and other[: len(path)] == path for other in columns)


def _flat(value: Sequence[Any]) -> tuple[list[Path], list[dict[Path, Any]]]:
    rows: list[dict[Path, Any]] = [{(key,): cell for key, cell in part.items()} for part in value]
    return list(dict.fromkeys(path for row in rows for path in row)), rows


def _order(columns: Sequence[Path], row: dict[Path, Any]) -> list[Path]:
    return [path for path in columns if path in row]


def _cells(line: str) -> list[Any]:
    """Return the values of a line, ``_ABSENT`` for one that is not there."""
    cells: list[Any] = []
    at = 0
    while True:
        if line[at : at + 1] in {'"', "[", "{"}:
            value, at = _decoder.raw_decode(line, at)
        else:
            end = line.find(_BAR, at)
            end = len(line) if end < 0 else end
            value, at = _bare(line[at:end]), end
        cells.append(value)
        if at == len(line):
            return cells
        if not line.startswith(_BAR, at):
            raise ValueError(f"a bar is missing at {at} of a table's line")
        at += len(_BAR)


def _bare(text: str) -> Any:
    if text == _NONE:
        return _ABSENT
    if text in _LITERALS:
        return _LITERALS[text]
    return json.loads(text) if _NUMBER.fullmatch(text) else text


def _object(columns: Sequence[Any], cells: Sequence[Any]) -> dict[str, Any]:
    """Return a row as an object: a column is a key, a list of keys, or what all rows have."""
    made: dict[str, Any] = {}
    left = list(cells)
    for column in columns:
        if isinstance(column, dict):
            made |= column
            continue
        cell = left.pop(0)
        path = tuple(column.split(".") if isinstance(column, str) else column)
        if cell is _ABSENT:
            continue
        inner = made
        for key in path[:-1]:
            inner = inner.setdefault(key, {})
        inner[path[-1]] = cell
    if left:
        raise ValueError("a table's line has more cells than columns")
    return made


def _filled(value: Any, tables: dict[str, list[Any]]) -> Any:
    """Return a value with its tables in their places."""
    if isinstance(value, str):
        return tables.get(value, value)
    if isinstance(value, dict):
        return {key: _filled(part, tables) for key, part in value.items()}
    return [_filled(part, tables) for part in value] if isinstance(value, list) else value
