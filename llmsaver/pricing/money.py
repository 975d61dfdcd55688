"""Amounts are whole nano-dollars here, and rates whole nano-dollars per million units; nothing is a float."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final

from llmsaver.errors import ConfigurationError

__all__ = ["MILLION", "NANO", "bill", "plain", "rate"]

NANO: Final = 10**9
MILLION: Final = 10**6
# A rate beyond this is a slip of the pen (dollars per token for dollars per million tokens, say).
_DEAREST: Final = Decimal(10) ** 9


def rate(value: object, key: str) -> int:
    """Return US dollars per million units as nano-dollars per million units.

    ``value`` is a str, Decimal or int: a float has already lost the figure that was meant. ``key`` names the setting in
    the ConfigurationError that everything else raises.
    """
    if isinstance(value, float):
        raise ConfigurationError(f"{key}: {value!r} is a float, which cannot hold a price exactly; write '{value!r}'")
    if isinstance(value, bool) or not isinstance(value, str | Decimal | int):
        raise ConfigurationError(f"{key}: {value!r} is not a price; write dollars per million tokens, such as '0.15'")
    try:
        dollars = Decimal(value)
    except InvalidOperation:
        raise ConfigurationError(
            f"{key}: {value!r} is not a number; write dollars per million, such as '0.15'"
        ) from None
    if not dollars.is_finite() or not 0 <= dollars <= _DEAREST:
        raise ConfigurationError(f"{key}: {value!r} is not a price; it must lie between 0 and {_DEAREST:,f}")
    return int((dollars * NANO).to_integral_value())


def bill(units_times_rate: int, *, up: bool = False) -> int:
    """Return the nano-dollars of a sum of units times nano-dollars per million; halves go up, with ``up`` all do."""
    return -(-units_times_rate // MILLION) if up else (units_times_rate + MILLION // 2) // MILLION


def plain(nano_usd: int) -> str:
    """Return an amount in dollars as a decimal string without exponent or needless zeros ("0.00065", "12")."""
    text = f"{Decimal(nano_usd).scaleb(-9):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
