"""Folding call rows into sums per hour and day, so that a report over a million calls reads a few thousand rows.

Rows up to the *watermark* (``meta.rolled``) are in the sums and the rest are not; a report adds the rest by itself, so
it is exact whenever folding happens.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, insert, select, text

from llmsaver.ledger import histogram
from llmsaver.ledger.schema import SUMS, calls, meta, rollups
from llmsaver.ledger.statements import Statement, inserted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Dialect

    from llmsaver.ledger.statements import Transaction

__all__ = ["COLUMNS", "DAY", "HOUR", "Tally", "amend", "axes", "clamp", "fold", "unfold", "watermark"]

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
    "latency_ms",
    "first_byte_ms",
)
FAILED = 400
Key = tuple[str, int, int, str, str, str, str]
KEYS = ("axis", "span", "bucket", "name", "feature", "model", "tier")

_columns = [calls.c[name] for name in COLUMNS]
NEXT = Statement(
    select(calls.c.seq, *_columns).where(calls.c.seq > bindparam("s")).order_by(calls.c.seq).limit(bindparam("n")),
    "s",
    "n",
)
ONE = Statement(select(*_columns).where(calls.c.seq == bindparam("s")), "s")
READ = Statement(
    select(*(rollups.c[name] for name in SUMS), rollups.c.latency, rollups.c.first_byte).where(
        *(rollups.c[name] == bindparam(f"{name}_") for name in KEYS)
    ),
    *(f"{name}_" for name in KEYS),
)
CLEAR = Statement(
    delete(rollups).where(*(rollups.c[name] == bindparam(f"{name}_") for name in KEYS)), *(f"{name}_" for name in KEYS)
)
WRITE = Statement(insert(rollups), *KEYS, *SUMS, "latency", "first_byte")
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
    """The sums of some calls, in the order of ``SUMS``, and the histograms of their latencies in milliseconds."""

    __slots__ = ("first_byte", "latency", "sums")

    def __init__(self) -> None:
        self.sums: Sequence[int] = (0,) * len(SUMS)
        self.latency: histogram.Histogram = {}
        self.first_byte: histogram.Histogram = {}

    def add(self, row: Sequence[Any], sign: int = 1) -> None:
        """Add one call, whose values are in the order of ``COLUMNS``; ``sign`` of -1 takes it out again."""
        more = _amounts(row)
        self.sums = [a + sign * b for a, b in zip(self.sums, more, strict=True)]
        for counts, value in ((self.latency, row[-2]), (self.first_byte, row[-1])):
            if value is not None:
                at = histogram.bin_of(value)
                counts[at] = counts.get(at, 0) + sign

    def merge(self, sums: Sequence[int], latency: histogram.Histogram, first_byte: histogram.Histogram) -> None:
        """Add what another tally holds."""
        self.sums = [a + b for a, b in zip(self.sums, sums, strict=True)]
        for counts, more in ((self.latency, latency), (self.first_byte, first_byte)):
            for at, count in more.items():
                counts[at] = counts.get(at, 0) + count


def _amounts(row: Sequence[Any]) -> tuple[int, ...]:
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
    )


def axes(row: Sequence[Any]) -> list[tuple[str, str]]:
    """Return the (axis, name) pairs a call is summed under beside its feature, model and tier."""
    found = [
        (axis, name) for axis, name in (("user", row[5]), ("tenant", row[6]), ("task", row[7])) if name is not None
    ]
    if row[8]:
        found += [(f"tag:{tag}", str(value)) for tag, value in json.loads(row[8]).items()]
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
    tallies: dict[Key, Tally] = {}
    for row in rows:
        hour, day = (int(row[0] // span) * span for span in (HOUR, DAY))
        kind = (row[1], row[2] or row[3] or "", row[4])
        keys: list[Key] = [("call", HOUR, hour, "", *kind), ("call", DAY, day, "", *kind)]
        keys += [(axis, DAY, day, name, "", "", "") for axis, name in axes(row)]
        for key in keys:
            tally = tallies.get(key)
            if tally is None:
                tally = tallies[key] = Tally()
            tally.add(row, sign)
    for key, tally in tallies.items():
        before = transaction.row(READ, *key)
        if before is not None:
            tally.merge(before[:-2], histogram.load(before[-2]), histogram.load(before[-1]))
            transaction.run(CLEAR, *key)
        if tally.sums[0]:
            latency, first_byte = histogram.dump(tally.latency), histogram.dump(tally.first_byte)
            transaction.run(WRITE, *key, *tally.sums, latency, first_byte)
