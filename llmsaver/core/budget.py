"""What a budget is: limits, a window that repeats, and whose calls share it; arithmetic only, nothing stored here."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal
    from zoneinfo import ZoneInfo

__all__ = ["PERIODS", "SCOPES", "UNLIMITED", "Budget", "Window", "nano_of"]

UNLIMITED = 2**62
PERIODS = ("minute", "hour", "day", "month", "total")
SCOPES = ("feature", "organisation", "user", "tenant")
NANO = 10**9


class Window(NamedTuple):
    """One stretch of a budget's time: ``start`` <= now < ``end`` in seconds since the epoch, None for unbounded."""

    id: str
    start: float | None
    end: float | None


@dataclass(frozen=True, slots=True)
class Budget:
    """A cap by name. Limits left at None do not bind; at least one must be given.

    ``limit_nano`` is in nano-dollars (``Budget.usd`` takes dollars); ``per`` is the window, in the time zone ``tz``;
    ``scope`` is whose calls share one pot: "feature" and "organisation" have a single one, "user", "tenant" and
    "tag:x" one for each value; a soft budget (``hard=False``) is charged and never refuses; ``thresholds`` are the
    fractions of a limit whose crossing is told once per window. Raises ``ConfigurationError``.
    """

    name: str
    limit_nano: int | None = None
    limit_tokens: int | None = None
    limit_calls: int | None = None
    per: str = "day"
    tz: str = "UTC"
    scope: str = "feature"
    hard: bool = True
    thresholds: tuple[float, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > 200:  # noqa: PLR2004 - a sane length for an indexed column
            raise ConfigurationError(f"a budget needs a name of 1 to 200 characters; it is {self.name!r}")
        limits = (self.limit_nano, self.limit_tokens, self.limit_calls)
        if all(limit is None for limit in limits):
            raise ConfigurationError(f"budget {self.name!r} caps nothing; give usd=, tokens= or calls=")
        if any(limit is not None and not 0 <= limit < UNLIMITED for limit in limits):
            raise ConfigurationError(f"budget {self.name!r} has a limit below 0 or beyond 2**62: {limits}")
        if self.per not in PERIODS:
            raise ConfigurationError(
                f"budget {self.name!r}: per= must be one of {', '.join(PERIODS)}; it is {self.per!r}"
            )
        if self.scope not in SCOPES and not (self.scope.startswith("tag:") and len(self.scope) > len("tag:")):
            raise ConfigurationError(
                f"budget {self.name!r}: scope= must be one of {', '.join(SCOPES)}, tag:NAME; it is {self.scope!r}"
            )
        if any(not 0 < threshold <= 1 for threshold in self.thresholds):
            raise ConfigurationError(f"budget {self.name!r}: thresholds are fractions above 0 and up to 1")
        _zone(self.tz, self.name)

    @classmethod
    def usd(cls, name: str, usd: Decimal | float | str | None = None, **terms: Any) -> Budget:
        """Return a budget whose money limit is given in dollars, read exactly as it is written."""
        return cls(name, limit_nano=None if usd is None else nano_of(usd), **terms)

    def key(self, *, user: str | None = None, tenant: str | None = None, tags: Mapping[str, str] | None = None) -> str:
        """Return which pot a call draws on: "" for the only one, else scope and value; those without a value share."""
        if self.scope == "user":
            return f"user:{user or ''}"
        if self.scope == "tenant":
            return f"tenant:{tenant or ''}"
        if self.scope.startswith("tag:"):
            return f"{self.scope}:{(tags or {}).get(self.scope.removeprefix('tag:'), '')}"
        return ""

    def window(self, now: float) -> Window:
        """Return the window ``now`` (seconds since the epoch) falls in; its id names period, moment and zone."""
        if self.per == "total":
            return Window("total", None, None)
        if self.per in {"minute", "hour"}:
            # Cut on the absolute clock, by the offset the zone had on one fixed day: no hour repeats, is missing or is
            # cut anew when the zone changes its offset.
            seconds = 60 if self.per == "minute" else 3600
            offset = datetime(2026, 1, 1, tzinfo=_zone(self.tz, self.name)).utcoffset() or timedelta()
            shift = int(offset.total_seconds()) % seconds
            start = (int(now // 1) + shift) // seconds * seconds - shift
            moment = datetime.fromtimestamp(start, UTC).strftime("%Y-%m-%dT%H:%MZ")
            return Window(f"{self.per} {moment}", float(start), float(start + seconds))
        zone = _zone(self.tz, self.name)
        first = datetime.fromtimestamp(now, zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        if self.per == "month":
            first = first.replace(day=1)
            after = (first + timedelta(days=31)).replace(day=1)
        else:
            after = (first + timedelta(days=1)).replace(fold=0)
        moment = first.strftime("%Y-%m" if self.per == "month" else "%Y-%m-%d")
        return Window(f"{self.per} {moment} {self.tz}", first.timestamp(), after.timestamp())

    def terms(self) -> str:
        """Return what must agree between declarations, as canonical JSON."""
        values = asdict(self)
        del values["thresholds"], values["name"]
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_terms(cls, name: str, terms: str, thresholds: tuple[float, ...] = ()) -> Budget:
        """Return the budget that ``terms`` describe."""
        return cls(name, thresholds=thresholds, **json.loads(terms))

    def replace(self, **changes: Any) -> Budget:
        """Return a copy with other terms."""
        return replace(self, **changes)


def nano_of(usd: Decimal | float | str) -> int:
    """Return dollars as nano-dollars; a float counts as its shortest decimal writing. Raises ``ConfigurationError``."""
    from decimal import Decimal, InvalidOperation

    try:
        nano = Decimal(str(usd)) * NANO
        whole = int(nano)
    except (InvalidOperation, ValueError, OverflowError):
        raise ConfigurationError(f"{usd!r} is no amount of dollars") from None
    if nano != whole:
        raise ConfigurationError(f"{usd!r} is finer than a nano-dollar")
    return whole


@lru_cache(maxsize=64)
def _zone(tz: str, name: str) -> ZoneInfo:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigurationError(f"budget {name!r}: tz= must be an IANA time zone; {tz!r} is none") from None
