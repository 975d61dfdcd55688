"""JSON in fewer characters and nothing lost: minified, and lists of like objects as tables whose keys stand once.

A table's first line names its columns, each other line is a row; both are JSON values with commas between, and a cell
left empty is a key that its object does not have. An object that all rows have is spread over columns of its own, named
by the keys that lead there: ``["address","city"]``. What is the same in every row stands among the columns' names, as
an object, and in no row.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["minified", "read_back", "tabled"]

_HEAD = "[table {number}: {rows} rows; first the columns, then a line for each]"
_HEADED = re.compile(r"\[table (\d+): (\d+) rows; first the columns, then a line for each\]")
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
        columns = _cells(lines.pop(0))
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
    same = {path: cell for path in columns if (cell := _of_all(path, rows)) is not None}
    names = ",".join(_dumped({path[0]: rows[0][path]} if path in same else _named(path)) for path in columns)
    shown = [path for path in columns if path not in same]
    lines = [",".join(_dumped(row[path]) if path in row else "" for path in shown) for row in rows]
    told = "\n".join([_HEAD.format(number=number, rows=len(rows)), names, *lines])
    return told if len(told) < len(_dumped(value)) else None


def _named(path: Path) -> str | Path:
    return path[0] if len(path) == 1 else path


def _of_all(path: Path, rows: Sequence[dict[Path, Any]]) -> str | None:
    """Return how a cell is written that is the same in all rows, and under one key; None for any other."""
    if len(path) > 1 or any(path not in row for row in rows):
        return None
    told = {_dumped(row[path]) for row in rows}
    return told.pop() if len(told) == 1 else None


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
    """Return the values of a line, ``_ABSENT`` for one left empty."""
    cells: list[Any] = []
    at = 0
    while True:
        if at == len(line) or line[at] == ",":
            cells.append(_ABSENT)
        else:
            value, at = _decoder.raw_decode(line, at)
            cells.append(value)
        if at == len(line):
            return cells
        if line[at] != ",":
            raise ValueError(f"a comma is missing at {at} of a table's line")
        at += 1


def _object(columns: Sequence[Any], cells: Sequence[Any]) -> dict[str, Any]:
    """Return a row as an object: a column is a key, a list of keys, or what all rows have."""
    made: dict[str, Any] = {}
    left = list(cells)
    for column in columns:
        if isinstance(column, dict):
            made |= column
            continue
        cell = left.pop(0)
        path = (column,) if isinstance(column, str) else tuple(column)
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
