"""Folding call rows into sums per hour and day, so that a report over a million calls reads a few thousand rows.

Rows up to the *watermark* (``meta.rolled``) are in the sums and the rest are not; a report adds the rest by itself, so
it is exact whenever folding happens.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, select, text

from llmsaver.ledger import histogram, shaped
from llmsaver.ledger.schema import SUMS, calls, meta, rollups
from llmsaver.ledger.statements import Statement, inserted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Dialect

    from llmsaver.ledger.statements import Transaction

__all__ = [
    "COLUMNS",
    "DAY",
    "HOUR",
    "Tally",
    "amend",
    "broad",
    "clamp",
    "entry_of",
    "fold",
    "narrow",
    "unfold",
    "watermark",
]

HOUR, DAY = 3_600, 86_400
COLUMNS = (
    "started_at",
    "feature",
    "model_answered",
    "model_asked",
    "tier",
    "user",
    "tenant",
    "task",
    "tags",
    "status",
    "error",
    "estimated",
    "unpriced",
    "hit",
    "escalated",
    "truncated",
    "cost_nano",
    "cost_low",
    "cost_high",
    "baseline_nano",
    "baseline_low",
    "baseline_high",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "refused",
    "spilled",
    "hit_kind",
    "busy_s",
    "energy_low_wh",
    "energy_high_wh",
    "routing",
    "shaped",
    "latency_ms",
    "first_byte_ms",
)
FAILED = 400
NOTHING = (0,) * len(SUMS)
NO_CALL = NOTHING[: SUMS.index("refused")]
Key = tuple[str, int, int, str]
# A call's amounts in the order of ``SUMS``, and the bins of its two latencies.
Entry = tuple[tuple[int, ...], int | None, int | None]
KEYS = ("axis", "span", "bucket", "name")

_columns = [calls.c[name] for name in COLUMNS]
NEXT = Statement(
    select(calls.c.seq, *_columns).where(calls.c.seq > bindparam("s")).order_by(calls.c.seq).limit(bindparam("n")),
    "s",
    "n",
)
ONE = Statement(select(*_columns).where(calls.c.seq == bindparam("s")), "s")
READ = Statement(
    select(rollups.c.latency, rollups.c.first_byte).where(*(rollups.c[name] == bindparam(f"{name}_") for name in KEYS)),
    *(f"{name}_" for name in KEYS),
)


def _add(dialect: Dialect) -> Any:
    statement = inserted(rollups)(dialect)
    more = {name: rollups.c[name] + statement.excluded[name] for name in SUMS}
    texts = {name: statement.excluded[name] for name in ("latency", "first_byte")}
    return statement.on_conflict_do_update(index_elements=KEYS, set_=more | texts)


ADD = Statement(_add, *KEYS, *SUMS, "latency", "first_byte")
EMPTY = Statement(delete(rollups).where(rollups.c.calls == 0, rollups.c.refused == 0))
LAST = Statement(select(func.max(calls.c.seq)))
ROLLED = Statement(select(meta.c.value).where(meta.c.key == "rolled"))
# A number drawn is not yet a row committed: waiting for all who write keeps a late one from being passed over.
WAIT_FOR_WRITERS = Statement(text("LOCK TABLE calls IN SHARE ROW EXCLUSIVE MODE"))
# Of those who change the sums, one at a time; always taken after the lock on calls, which a writer holds by writing.
ALONE = Statement(text("SELECT pg_advisory_xact_lock(7020584)"))


def _set(dialect: Dialect) -> Any:
    statement = inserted(meta)(dialect)
    return statement.on_conflict_do_update(index_elements=["key"], set_={"value": statement.excluded.value})


SET = Statement(_set, "key", "value")


class Tally:
    """Gathers calls, and sums made before, to add them all up at once: several times quicker than one by one."""

    __slots__ = ("_first_bytes", "_first_texts", "_latencies", "_latency_texts", "_sums")

    def __init__(self) -> None:
        self._sums: list[Sequence[int]] = []
        self._latencies: list[int] = []
        self._first_bytes: list[int] = []
        self._latency_texts: list[str] = []
        self._first_texts: list[str] = []

    def add(self, entry: Entry) -> None:
        """Add one call."""
        sums, latency, first_byte = entry
        self._sums.append(sums)
        if latency is not None:
            self._latencies.append(latency)
        if first_byte is not None:
            self._first_bytes.append(first_byte)

    def merge(self, sums: Sequence[int], latency: str, first_byte: str) -> None:
        """Add a row of ``rollups``."""
        self._sums.append(sums)
        self._latency_texts.append(latency)
        self._first_texts.append(first_byte)

    def sums(self, sign: int = 1) -> list[int]:
        """Return the sums in the order of ``SUMS``; -1 is for calls that are to be taken out."""
        return [sign * sum(column) for column in zip(*self._sums, strict=True)] or [0] * len(SUMS)

    def latency(self, sign: int = 1) -> histogram.Histogram:
        """Return the histogram of latencies in milliseconds; ``sign`` is for calls, not for sums made before."""
        return histogram.joined(self._latency_texts, self._latencies, sign)

    def first_byte(self, sign: int = 1) -> histogram.Histogram:
        """Return the same for the time to the first byte."""
        return histogram.joined(self._first_texts, self._first_bytes, sign)


def entry_of(row: Sequence[Any]) -> Entry:
    """Return what one call adds to a tally; its values are in the order of ``COLUMNS``."""
    latency, first_byte = row[-2], row[-1]
    return (
        _amounts(row),
        None if latency is None else histogram.bin_of(latency),
        None if first_byte is None else histogram.bin_of(first_byte),
    )


def _amounts(row: Sequence[Any]) -> tuple[int, ...]:
    refused, spilled, kind, busy, energy_low, energy_high = row[27:33]
    if refused:  # it never left: no call, no failure, and nothing that was spent
        return (*NO_CALL, refused, *NOTHING[: len(SUMS) - len(NO_CALL) - 1])
    task, status, error, cost, low, high = row[7], row[9], row[10], row[16], row[17], row[18]
    baseline, baseline_low, baseline_high = row[19], row[20], row[21]
    low = cost if low is None else low
    high = cost if high is None else high
    saved = saved_low = saved_high = 0
    if baseline is not None and cost is not None:
        saved = baseline - cost
        saved_low = (baseline if baseline_low is None else baseline_low) - high
        saved_high = (baseline if baseline_high is None else baseline_high) - low
    return (
        1,
        1 if error is not None or (status is not None and status >= FAILED) else 0,
        *row[11:16],
        cost or 0,
        low or 0,
        high or 0,
        baseline or 0,
        saved,
        saved_low,
        saved_high,
        *(value or 0 for value in row[22:27]),
        cost or 0 if task is not None else 0,
        0,
        spilled,
        1 if kind == "semantic" else 0,
        0 if busy is None else round(busy * 1e3),
        0 if energy_low is None else round(energy_low * 1e3),
        0 if energy_high is None else round(energy_high * 1e3),
    )


def broad(row: Sequence[Any]) -> dict[str, str]:
    """Return the names of a call on the axes that have few."""
    found = {"feature": row[1], "model": row[2] or row[3] or "", "tier": row[4], "total": "total"}
    if row[33]:
        found["router"] = f"{row[1]} > {_served(row[33])}"
    return found


def _served(routing: str) -> str:
    """Return the name of the tier that served, which has no blank in it; "" where none did."""
    told = json.loads(routing)
    return str(told.get("tier") or "") if isinstance(told, dict) else ""


def narrow(row: Sequence[Any]) -> dict[str, str]:
    """Return the names of a call on the axes that have many; "" where it has none, tags aside."""
    found = {"user": row[5] or "", "tenant": row[6] or "", "task": row[7] or ""}
    if row[8]:
        found |= {f"tag:{tag}": str(value) for tag, value in json.loads(row[8]).items()}
    return found


def watermark(transaction: Transaction) -> int:
    """Return the number of the last row that is in the sums."""
    row = transaction.row(ROLLED)
    return 0 if row is None else int(row[0])


def fold(transaction: Transaction, limit: int) -> int:
    """Fold up to ``limit`` of the oldest rows that are not folded yet; return how many there were."""
    if transaction.dialect.name == "postgresql":
        transaction.run(WAIT_FOR_WRITERS)
        transaction.rows(ALONE)
    rows = transaction.rows(NEXT, watermark(transaction), limit)
    if rows:
        _apply(transaction, (row[1:] for row in rows), 1)
        transaction.run(SET, "rolled", str(rows[-1][0]))
    return len(rows)


def unfold(transaction: Transaction, seq: int) -> None:
    """Take a row that is about to be replaced out of the sums, if it is in them."""
    if transaction.dialect.name == "postgresql":
        transaction.rows(ALONE)
    if seq <= watermark(transaction):
        _apply(transaction, transaction.rows(ONE, seq), -1)


def amend(transaction: Transaction, seq: int, change: Callable[[], object]) -> None:
    """Change a row where it is, and the sums with it if it is in them."""
    unfold(transaction, seq)
    change()
    if seq <= watermark(transaction):
        _apply(transaction, transaction.rows(ONE, seq), 1)


def clamp(transaction: Transaction) -> None:
    """Lower the watermark to the last row there is: SQLite gives the numbers of deleted last rows to new ones."""
    if transaction.dialect.name == "sqlite":
        last = transaction.row(LAST)[0] or 0
        if last < watermark(transaction):
            transaction.run(SET, "rolled", str(last))


def _apply(transaction: Transaction, rows: Iterable[Sequence[Any]], sign: int) -> None:
    tallies: defaultdict[Key, Tally] = defaultdict(Tally)
    layers = shaped.Sums()
    for row in rows:
        hour, day = (int(row[0] // span) * span for span in (HOUR, DAY))
        if row[34] and not row[27]:  # what a budget refused was never sent, and is in no other figure
            layers.add(row[1], row[34], (HOUR, hour), (DAY, day))
        entry, names = entry_of(row), broad(row)
        for axis, name in names.items():
            tallies[axis, HOUR, hour, name].add(entry)
        for axis, name in (names | narrow(row)).items():
            tallies[axis, DAY, day, name].add(entry)
    for key, tally in tallies.items():
        sums = tally.sums(sign)  # the database adds them to those it has
        before = transaction.row(READ, *key)
        if before is not None:
            tally.merge(NOTHING, *before)
        latency, first_byte = tally.latency(sign), tally.first_byte(sign)
        transaction.run(ADD, *key, *sums, histogram.dump(latency), histogram.dump(first_byte))
    layers.apply(transaction, sign)
    if sign < 0:
        transaction.run(EMPTY)
