"""What a machine of one's own costs by the hour: the seconds that a call had of it, and the most that it can have."""

from __future__ import annotations

import dataclasses
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

from llmsaver.pricing.money import NANO
from llmsaver.pricing.values import Bound, Cost

__all__ = ["CALL_SECONDS", "SHARED", "TIME", "affordable_seconds", "nano_per_hour", "time_bound", "time_cost"]

TIME: Final = "local:time"
SHARED: Final = "local:shared"
# How long a call on a local tier may take under a hard budget where nobody set a shorter deadline: the time that both
# SDKs give an answer by default.
CALL_SECONDS: Final = 600.0
_HOUR: Final = 3600


def nano_per_hour(hourly_usd: Decimal | float | str) -> int:
    """Return an hourly rate in nano-dollars, rounded up."""
    return int((Decimal(str(hourly_usd)) * NANO).to_integral_value(ROUND_CEILING))


def time_cost(seconds: float, hourly_usd: Decimal | float | str, *, exact: bool = True) -> Cost:
    """Return what so many seconds of a machine cost, rounded up to the nano-dollar and flagged ``local:time``.

    ``exact=False``: calls of other programs could not be seen, so this call's share is at most ``seconds`` (each
    second is divided among the calls that run in it) and the figure the most of a range; flagged ``local:shared``.
    """
    nano = _nano(seconds, hourly_usd)
    if exact:
        return Cost(nano, nano, nano, estimated=False, flags=(TIME,))
    return Cost(nano, 0, nano, estimated=True, flags=(TIME, SHARED))


def time_bound(bound: Bound, hourly_usd: Decimal | float | str, seconds: float) -> Bound:
    """Return the most that a call can cost which is ended after so many seconds: no share is longer than its call.

    ``bound`` is what is known of its tokens, whose price plays no part; what it leaves unbounded of them stays so for
    budgets of tokens.
    """
    nano = _nano(seconds, hourly_usd)
    return dataclasses.replace(bound, nano_usd=nano, input_nano=nano, seconds=seconds)


def affordable_seconds(nano: int, hourly_usd: Decimal | float | str) -> float:
    """Return for how many seconds an amount pays, rounded down to the microsecond; infinity where time is free."""
    rate = Decimal(str(hourly_usd)) * NANO
    if not rate:
        return float("inf")
    micros = (Decimal(nano) * _HOUR * 10**6 / rate).to_integral_value(ROUND_FLOOR)
    return int(micros) / 10**6


def _nano(seconds: float, hourly_usd: Decimal | float | str) -> int:
    amount = Decimal(seconds) * Decimal(str(hourly_usd)) * NANO / _HOUR
    return int(amount.to_integral_value(ROUND_CEILING))
