"""Amounts, times and names in the fewest characters that say no less than they should."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from decimal import Decimal

__all__ = ["count", "duration", "lasting", "many", "minute", "money", "percent", "shown"]

_NANO, _MILLION = -9, 10**6
_MEGA, _SECOND, _TEN_SECONDS = 10**7, 1_000.0, 10_000.0
_HUNDREDTH, _TENTH, _ONE, _TEN = 0.0001, 0.001, 0.01, 0.1


def money(nano: int | None) -> str:
    """Return nano-dollars as ``$1,234.56``; below a dollar three digits that count, however small it is.

    From a million dollars on the cents are left out. None is "unknown", which is never $0.
    """
    if nano is None:
        return "unknown"
    amount = Decimal(abs(nano)).scaleb(_NANO)
    sign = "-" if nano < 0 else ""
    if amount >= _MILLION:
        return f"{sign}${round(amount):,}"
    places = 2 if amount >= 1 or not amount else min(-_NANO, 2 - amount.adjusted())
    whole, _, fraction = f"{round(amount, places):,f}".partition(".")
    return f"{sign}${whole}.{fraction.rstrip('0'):0<2}"


def count(number: int | None) -> str:
    """Return a whole number with commas; from ten million on, in millions."""
    if number is None:
        return "-"
    return f"{number / 10**6:,.1f}M" if abs(number) >= _MEGA else f"{number:,}"


def many(number: int, word: str) -> str:
    """Return a number with its noun: ``1 call``, ``2 calls``."""
    return f"{count(number)} {word}" + "s" * (number != 1)


def percent(part: float | None, *, cut: bool = False) -> str:
    """Return a share as ``12 %`` or ``1.2 %``; one too small for that as ``<0.01 %``; ``cut`` leaves the sign out."""
    sign = "" if cut else " %"
    if part is None:
        return "-"
    if part == 0:
        return "0" + sign
    if abs(part) < _HUNDREDTH:
        return "<0.01" + sign
    places = 0 if abs(part) >= _TEN else 1 if abs(part) >= _ONE else 2
    return f"{100 * part:.{places}f}{sign}"


def duration(milliseconds: float | None) -> str:
    """Return a latency as ``0.42 ms``, ``420 ms``, ``4.2 s``, ``42 s`` or ``7.0 min``."""
    if milliseconds is None:
        return "-"
    if milliseconds < _SECOND:
        return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.2g} ms"  # noqa: PLR2004 - two digits
    if milliseconds < 60 * _SECOND:
        return f"{milliseconds / _SECOND:.{1 if milliseconds < _TEN_SECONDS else 0}f} s"
    return f"{milliseconds / 60 / _SECOND:.1f} min"


def lasting(seconds: float) -> str:
    """Return a stretch of time in its two largest units: ``3 d 4 h``, ``59 min``, ``12 s``."""
    left = max(0, round(seconds))
    days, left = divmod(left, 86_400)
    hours, left = divmod(left, 3_600)
    minutes, left = divmod(left, 60)
    parts = [f"{n} {unit}" for n, unit in ((days, "d"), (hours, "h"), (minutes, "min"), (left, "s")) if n]
    return " ".join(parts[:2]) or "0 s"


def minute(moment: float, zone: tzinfo = UTC) -> str:
    """Return seconds since the epoch as ``2026-11-21 07:00``, the time left out at midnight."""
    told = datetime.fromtimestamp(moment, zone)
    return told.strftime("%Y-%m-%d" if (told.hour, told.minute) == (0, 0) else "%Y-%m-%d %H:%M")


def shown(name: str) -> str:
    """Return a name fit for a terminal: what would move its cursor, or cannot be seen, becomes a question mark."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)
