"""What people write for a moment: ``7d`` for seven days ago, or a date."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from datetime import tzinfo

__all__ = ["moment", "seconds", "zone"]

_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(s|m|min|h|d|w)", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
# Beyond it no ledger reaches, and datetime not much further.
_LONGEST = 1_000 * 366 * 86_400


def seconds(text: str) -> float:
    """Return the seconds in ``90d``, ``24h``, ``30m``, ``1.5h``, ``2w`` or ``45s``; raises ``ConfigurationError``."""
    found = _SPAN.fullmatch(text.strip().lower())
    span = float(found[1]) * _SECONDS[found[2]] if found else -1.0
    if not 0 <= span <= _LONGEST:
        raise ConfigurationError(f"{text!r} is no stretch of time; write 7d, 24h, 30m or 2w")
    return span


def moment(text: str, now: float, tz: str = "UTC") -> float:
    """Return seconds since the epoch for a stretch before ``now`` or a date: ``7d``, ``2026-11-01T09:30``.

    A date without an offset of its own is one in ``tz``; ``today`` and ``yesterday`` begin at midnight there. Raises
    ``ConfigurationError``.
    """
    word = text.strip().lower()
    if _SPAN.fullmatch(word):
        return now - seconds(word)
    place = zone(tz)
    if word in {"today", "yesterday"}:
        day = datetime.fromtimestamp(now, place).date() - timedelta(days=word == "yesterday")
        return datetime(day.year, day.month, day.day, tzinfo=place).timestamp()
    try:
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=place)).timestamp()
    except (ValueError, OverflowError):
        raise ConfigurationError(
            f"{text!r} is no moment; write 7d, 24h, today, 2026-11-01 or 2026-11-01T09:30"
        ) from None


def zone(tz: str) -> tzinfo:
    """Return a time zone by its IANA name; raises ``ConfigurationError``."""
    try:
        return ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigurationError(f"{tz!r} is no time zone; write an IANA name such as Europe/Berlin") from None
