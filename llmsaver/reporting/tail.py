"""Calls as they are written, by whichever program: live, one line each."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from llmsaver.ledger.sqlite import SQLiteStore
from llmsaver.pricing import plain
from llmsaver.reporting.books import begun, reading
from llmsaver.reporting.layout import clip
from llmsaver.reporting.words import count, duration, money, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import tzinfo

    from llmsaver.ledger import Ledger, Reader

__all__ = ["follow", "line_of", "row_as_json"]

POLL_SECONDS = 0.5
_PAGE = 500
# On a server, numbers are drawn before rows are committed: a row may come after one with a higher number.
_LATE = 300
_FEATURE, _MODEL, _STATUS, _TOKENS, _TIME, _MONEY = 13, 18, 4, 13, 7, 11
_FAILED = 400


def follow(
    ledger: Ledger,
    *,
    latest: int = 10,
    forever: bool = True,
    poll_s: float = POLL_SECONDS,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[dict[str, Any]]:
    """Yield the ``latest`` rows and then every new one, as ``Reader.tail`` gives them; with ``forever`` it never ends.

    A ledger that is not there yet is waited for. Raises ``LedgerUnavailable`` where it cannot be read.
    """
    while not begun(ledger):
        if not forever:
            return
        latest = _PAGE  # whatever is in it then is new
        sleep(poll_s)
    late = 0 if isinstance(ledger.store, SQLiteStore) else _LATE
    with reading(ledger) as reader:
        rows = reader.tail(limit=max(latest, late, 1))
        after, seen = _last(rows, 0), {row["seq"] for row in rows}
        yield from rows[max(0, len(rows) - latest) :]
        while forever:
            rows = [row for row in reader.tail(after - late, _PAGE) if row["seq"] not in seen]
            yield from rows
            seen = {seq for seq in seen if seq >= after - late} | {row["seq"] for row in rows}
            after = _last(rows, after)
            if not rows:
                after = min(after, _highest(reader))
                sleep(poll_s)


def line_of(row: dict[str, Any], zone: tzinfo | None = None) -> str:
    """Return a row as a line of 80 columns: time, feature, model, status, tokens, latency, cost.

    The time is told in ``zone``, None being the machine's. ``~`` marks an estimate,
    ``?`` a call without a known price; ``>`` stands between tokens in and out.
    """
    failed = row["error"] is not None or (row["status"] or 0) >= _FAILED
    counts = f"{count(row['input_tokens'])} > {count(row['output_tokens'])}"
    middle = row["error"] or "failed" if failed else "" if row["input_tokens"] is None else counts
    spent = money(row["cost_nano"]) + "~" * bool(row["estimated"]) + "?" * bool(row["unpriced"])
    status = "hit" if row["hit"] else str(row["status"] or ("ERR" if failed else "-"))
    took = duration(row["latency_ms"])
    model = _MODEL - max(0, len(spent) - _MONEY) - max(0, len(took) - _TIME)
    return " ".join(
        (
            datetime.fromtimestamp(row["started_at"], zone).strftime("%H:%M:%S"),
            _cell(row["feature"], _FEATURE),
            _cell(row["model_answered"] or row["model_asked"] or "-", model),
            f"{status:<{_STATUS}}",
            _cell(middle, _TOKENS, right=True),
            f"{took:>{_TIME}}",
            f"{spent:>{_MONEY}}",
        )
    )


def row_as_json(row: dict[str, Any]) -> str:
    """Return a row as one line of JSON: all its columns, money as exact decimal strings of dollars."""
    told = _in_dollars(row)
    told["attempts"] = [_in_dollars(attempt) for attempt in row["attempts"]]
    return json.dumps(told)


def _in_dollars(values: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in values.items():
        kind, _, part = name.partition("_")
        if kind in {"cost", "baseline"} and part in {"nano", "low", "high"}:
            out[f"{kind}_usd" if part == "nano" else f"{name}_usd"] = None if value is None else plain(value)
        else:
            out[name] = value
    return out


def _cell(text: str, width: int, *, right: bool = False) -> str:
    told = clip(shown(text), width)
    pad = " " * (width - cell_len(told))
    return pad + told if right else told + pad


def _last(rows: list[dict[str, Any]], otherwise: int) -> int:
    return max((row["seq"] for row in rows), default=otherwise)


def _highest(reader: Reader) -> int:
    """Return the highest number there is: lower than before where the ledger was replaced, or its last rows deleted."""
    return _last(reader.tail(limit=1), 0)
