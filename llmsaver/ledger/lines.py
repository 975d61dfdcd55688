"""The lines of a report: sums per feature, model, user or whatever it is cut by."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from llmsaver.ledger import histogram
from llmsaver.ledger.rollup import COLUMNS, Tally, broad, entry_of, narrow
from llmsaver.ledger.schema import SUMS

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Line", "Lines"]

GROUPED = ("feature", "model", "tier", "router", "day", "total")
NAMED = ("user", "tenant", "task")
PLAIN = {name: COLUMNS.index(name) for name in ("feature", "tier", *NAMED)}


@dataclass(slots=True)
class Line:
    """Sums over the calls that share ``name``; money in nano-dollars, latencies in milliseconds.

    ``saved_nano`` and its bounds are the baseline less the cost, over calls for which both are known; ``errors`` are
    calls that failed or ended with a status of 400 or more; ``task_nano`` is the cost of calls inside tasks, of which
    ``resolved`` ended well; ``refused`` are calls that a budget had no room for, which are in no other sum; ``busy_ms``
    is the time of local servers that was theirs, and the energies (in milliwatt-hours) bound what it took.
    """

    name: str
    calls: int = 0
    errors: int = 0
    estimated: int = 0
    unpriced: int = 0
    hits: int = 0
    escalated: int = 0
    truncated: int = 0
    cost_nano: int = 0
    cost_low: int = 0
    cost_high: int = 0
    baseline_nano: int = 0
    saved_nano: int = 0
    saved_low: int = 0
    saved_high: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    task_nano: int = 0
    refused: int = 0
    spilled: int = 0
    semantic_hits: int = 0
    busy_ms: int = 0
    energy_low_mwh: int = 0
    energy_high_mwh: int = 0
    resolved: int = 0
    latency: histogram.Histogram = field(default_factory=dict, repr=False)
    first_byte: histogram.Histogram = field(default_factory=dict, repr=False)

    def latency_ms(self, fraction: float) -> float | None:
        """Return a percentile of latency, good to 4.5 %; None where nothing was measured."""
        return histogram.percentile(self.latency, fraction)

    def first_byte_ms(self, fraction: float) -> float | None:
        """Return a percentile of the time to the first byte, good to 4.5 %; None where nothing was measured."""
        return histogram.percentile(self.first_byte, fraction)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it, the histograms as percentiles."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in {"latency", "first_byte"}}
        for name, counts in (("latency", self.latency), ("first_byte", self.first_byte)):
            for percent in (50, 90, 99):
                plain[f"{name}_p{percent}_ms"] = histogram.percentile(counts, percent / 100)
        return plain


class Lines:
    """Collects sums and rows under the value of ``by``; raises ``ValueError`` where that is nothing to cut by."""

    def __init__(self, by: str, tz: str = "UTC") -> None:
        tag = by.startswith("tag:") and len(by) > len("tag:")
        if by not in GROUPED and by not in NAMED and not tag:
            raise ValueError(f"a report is cut by {', '.join((*GROUPED, *NAMED))} or tag:x; {by!r} is none of them")
        self.by = by
        self.grouped = by in GROUPED
        self.axis = "total" if by == "day" else by
        self._zone = ZoneInfo(tz)
        # UTC days are summed; those of another zone are made of hours.
        self.hourly = by == "day" and tz != "UTC"
        self._found: dict[str, tuple[Tally, list[int]]] = {}

    def merge(self, row: Sequence[Any]) -> None:
        """Take in a row of ``rollups``: name, bucket, the sums, the histograms."""
        name = self.day(row[1]) if self.by == "day" else row[0]
        self._at(name)[0].merge(row[2:-2], row[-2], row[-1])

    def add(self, row: Sequence[Any]) -> None:
        """Take in one call, in the order of ``rollup.COLUMNS``."""
        if self.by == "day":
            name: str | None = self.day(row[0])
        elif self.by in PLAIN:
            name = row[PLAIN[self.by]] or ""
        else:
            name = (broad(row) if self.grouped else narrow(row)).get(self.by)
        if name is not None:
            self._at(name)[0].add(entry_of(row))

    def resolve(self, name: str, count: int) -> None:
        """Take in that tasks of this name were resolved."""
        if count:
            self._at(name)[1][0] += count

    def ordered(self) -> list[Line]:
        """Return the lines, dearest first and the one without a name last; days in their order."""
        lines = []
        for name, (found, resolved) in self._found.items():
            sums = dict(zip(SUMS, found.sums(), strict=True))
            lines.append(
                Line(name, **sums, resolved=resolved[0], latency=found.latency(), first_byte=found.first_byte())
            )
        if self.by == "day":
            return sorted(lines, key=lambda line: line.name)
        return sorted(lines, key=lambda line: (not line.name, -line.cost_nano, -line.calls, line.name))

    def _at(self, name: str) -> tuple[Tally, list[int]]:
        found = self._found.get(name)
        if found is None:
            found = self._found[name] = (Tally(), [0])
        return found

    def day(self, moment: float) -> str:
        """Return the day of a moment (seconds since the epoch) as 2026-11-21."""
        return datetime.fromtimestamp(moment, self._zone).date().isoformat()
