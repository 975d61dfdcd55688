"""The rows of a file of outcomes, CSV or JSON lines, packed or not: what is in them, before any meaning is given."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["STDIN", "blank", "number", "rows_of", "share", "text_of"]

STDIN = "-"
_GZIP = b"\x1f\x8b"
_MOST = 1 << 30


def text_of(place: str) -> str:
    """Return a file's text, unpacked, or what standard input has; raises ``ConfigurationError``."""
    try:
        raw = sys.stdin.buffer.read() if place == STDIN else Path(place).read_bytes()
        if raw.startswith(_GZIP):
            with gzip.open(io.BytesIO(raw)) as packed:
                raw = packed.read(_MOST)
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{place}: cannot be read: {error.strerror or error}") from None
    except (EOFError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{place}: is no text in UTF-8, packed by gzip or not: {error}") from None


def rows_of(place: str) -> list[tuple[int, dict[str, Any]]]:
    """Return the rows with their lines' numbers; raises ``ConfigurationError`` for what is no CSV and no JSON lines."""
    text = text_of(place)
    if not text.strip():
        raise ConfigurationError(f"{place}: is empty; it must have a row for each labelled call")
    rows = _json_lines(place, text) if text.lstrip()[0] in "{[" else _csv(place, text)
    if not rows:
        raise ConfigurationError(f"{place}: has a heading and no rows")
    return rows


def number(place: str, line: int, name: str, value: Any, *, endless: bool = False) -> float:
    """Return a finite number, or with ``endless`` any; raises ``ConfigurationError`` that says where it is none."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        found, endless = float("nan"), False
    if not endless and not abs(found) < float("inf"):
        raise ConfigurationError(f"{place}, line {line}: {name} must be a number, not {value!r}")
    return found


def share(place: str, line: int, name: str, value: Any) -> float:
    """Return a share from 0 to 1, for which true and false stand too; raises ``ConfigurationError``."""
    words = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
    word = value.strip().lower() if isinstance(value, str) else value
    found = words[word] if isinstance(word, str) and word in words else number(place, line, name, value)
    if not 0.0 <= found <= 1.0:
        raise ConfigurationError(f"{place}, line {line}: {name} must lie between 0 and 1, not {value!r}")
    return found


def _csv(place: str, text: str) -> list[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, dict[str, Any]]] = []
    try:
        for row in reader:
            if None in row or None in row.values():
                raise ConfigurationError(
                    f"{place}, line {reader.line_num}: has not as many fields as the heading has columns"
                )
            rows.append((reader.line_num, {name.strip(): value for name, value in row.items()}))
    except csv.Error as error:
        raise ConfigurationError(f"{place}, line {reader.line_num}: is no CSV: {error}") from None
    return rows


def _json_lines(place: str, text: str) -> list[tuple[int, dict[str, Any]]]:
    rows = []
    for at, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ConfigurationError(f"{place}, line {at}: is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise ConfigurationError(f"{place}, line {at}: must be a JSON object, one a line")
        rows.append((at, row))
    return rows


def blank(row: Mapping[str, Any], name: str) -> bool:
    """Return whether a row says nothing under ``name``."""
    value = row.get(name)
    return value is None or (isinstance(value, str) and not value.strip())
