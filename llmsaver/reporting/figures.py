"""The figures of one line of a report: what is added up, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmsaver.ledger.lines import Line
from llmsaver.ledger.schema import SUMS
from llmsaver.pricing import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmsaver.ledger.histogram import Histogram

__all__ = ["Figures", "less", "merged"]

_COUNTS = (*SUMS, "resolved")


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums over some calls; money in nano-dollars, latencies in milliseconds, good to 4.5 %.

    ``cost_low`` and ``cost_high`` bound the cost where some of it is estimated. Percentiles are p50, p90 and p99, empty
    where nothing was measured.
    """

    name: str
    calls: int
    errors: int
    estimated: int
    unpriced: int
    hits: int
    escalated: int
    truncated: int
    cost_nano: int
    cost_low: int
    cost_high: int
    baseline_nano: int
    saved_nano: int
    saved_low: int
    saved_high: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    task_nano: int
    refused: int
    spilled: int
    semantic_hits: int
    busy_ms: int
    energy_low_mwh: int
    energy_high_mwh: int
    resolved: int
    latency_ms: tuple[float, ...]
    first_byte_ms: tuple[float, ...]

    @classmethod
    def of(cls, line: Line) -> Figures:
        """Return the figures of a ledger's line."""
        return cls(
            line.name,
            **{name: getattr(line, name) for name in _COUNTS},
            latency_ms=_percentiles(line.latency_ms(p) for p in (0.5, 0.9, 0.99)),
            first_byte_ms=_percentiles(line.first_byte_ms(p) for p in (0.5, 0.9, 0.99)),
        )

    @property
    def spend(self) -> int | None:
        """What the calls cost; None where no price is known for any of what they used."""
        return None if self.unpriced and not self.cost_nano else self.cost_nano

    @property
    def saved(self) -> int | None:
        """What they would have cost as written, less what they did; None where there is nothing to compare."""
        return self.saved_nano if self.baseline_nano or self.saved_nano else None

    @property
    def saved_share(self) -> float | None:
        """What was saved, as a share of what they would have cost."""
        return self.saved_nano / self.baseline_nano if self.baseline_nano else None

    @property
    def per_thousand(self) -> int | None:
        """The cost of a thousand calls."""
        return None if self.spend is None else _ratio(1_000 * self.spend, self.calls)

    @property
    def per_resolved(self) -> int | None:
        """The cost of all calls inside tasks for each task that was resolved."""
        return _ratio(self.task_nano, self.resolved)

    @property
    def tokens_in(self) -> int | None:
        """Input tokens per call."""
        return _ratio(self.input_tokens, self.calls)

    @property
    def tokens_out(self) -> int | None:
        """Output tokens per call."""
        return _ratio(self.output_tokens, self.calls)

    @property
    def read_share(self) -> float | None:
        """What share of the input tokens was read from providers' caches."""
        return self.cache_read_tokens / self.input_tokens if self.input_tokens else None

    def rate(self, name: str) -> float | None:
        """Return ``errors``, ``hits``, ``escalated``, ``spilled`` or ``truncated`` as a share of the calls."""
        return getattr(self, name) / self.calls if self.calls else None

    @property
    def flags(self) -> str:
        """``~`` where the spend holds estimates, ``?`` where it holds calls without a price."""
        return "~" * bool(self.estimated) + "?" * bool(self.unpriced)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it for a machine: dollars as exact decimal strings, None for what is unknown."""
        told: dict[str, Any] = {"name": self.name or None}
        told |= {name: getattr(self, name) for name in _COUNTS if not name.endswith(_MONEY)}
        money = {
            "spend_usd": self.spend,
            "spend_low_usd": self.cost_low if self.spend is not None else None,
            "spend_high_usd": self.cost_high if self.spend is not None else None,
            "baseline_usd": self.baseline_nano if self.saved is not None else None,
            "saved_usd": self.saved,
            "saved_low_usd": self.saved_low if self.saved is not None else None,
            "saved_high_usd": self.saved_high if self.saved is not None else None,
            "per_1000_calls_usd": self.per_thousand,
            "per_resolved_task_usd": self.per_resolved,
        }
        told |= {name: None if nano is None else plain(nano) for name, nano in money.items()}
        for name in ("errors", "hits", "escalated", "spilled", "truncated"):
            rate = self.rate(name)
            told[f"{name}_rate"] = None if rate is None else round(rate, 6)
        told["cache_read_share"] = None if self.read_share is None else round(self.read_share, 6)
        told |= {"input_tokens_per_call": self.tokens_in, "output_tokens_per_call": self.tokens_out}
        for name in ("latency_ms", "first_byte_ms"):
            found = getattr(self, name) or (None, None, None)
            told |= {f"{name}_p{p}": v if v is None else round(v, 3) for p, v in zip((50, 90, 99), found, strict=True)}
        return told


_MONEY = ("_nano", "_low", "_high")


def merged(lines: Iterable[Line], name: str = "total") -> Line:
    """Return the sums over all of ``lines``."""
    out = Line(name)
    for line in lines:
        for field in _COUNTS:
            setattr(out, field, getattr(out, field) + getattr(line, field))
        for counts, more in ((out.latency, line.latency), (out.first_byte, line.first_byte)):
            for at, number in more.items():
                counts[at] = counts.get(at, 0) + number
    return out


def less(whole: Line, part: Line) -> Line:
    """Return what ``whole`` has beyond ``part``; calls that were written between the two readings count as none."""
    out = Line("")
    for field in _COUNTS:
        setattr(out, field, getattr(whole, field) - getattr(part, field))
    for counts, all_of, some in (
        (out.latency, whole.latency, part.latency),
        (out.first_byte, whole.first_byte, part.first_byte),
    ):
        counts.update(_rest(all_of, some))
    return out if out.calls > 0 or out.refused > 0 else Line("")


def _rest(whole: Histogram, part: Histogram) -> Histogram:
    return {at: number - part.get(at, 0) for at, number in whole.items() if number > part.get(at, 0)}


def _percentiles(found: Iterable[float | None]) -> tuple[float, ...]:
    return tuple(value for value in found if value is not None)


def _ratio(amount: int, number: int) -> int | None:
    """Return ``amount`` per ``number``, to the nearest whole, halves up; None for none."""
    return (2 * amount + number) // (2 * number) if number > 0 else None
