"""The user's own tiers as the layers see them: found by a model's name, and the most that a call on one can cost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from llmsaver.pricing.hourly import CALL_SECONDS, time_bound

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from llmsaver.core.request import Request
    from llmsaver.local.models import Tier
    from llmsaver.pricing import Bound, PriceBook

__all__ = ["LOCAL_PREFIX", "OwnTiers", "is_free"]

LOCAL_PREFIX = "local/"


class OwnTiers:
    """What is known beforehand of the models behind ``local/...``, by name; one that is not here costs nothing."""

    def __init__(self, declared: Mapping[str, Tier] | None = None) -> None:
        self._declared = dict(declared or {})

    def __iter__(self) -> Iterator[tuple[str, Tier]]:
        return iter(self._declared.items())

    def of(self, model: str | None) -> Tier | None:
        """Return the tier that a request's model names, with or without an adapter (``local/name:adapter``)."""
        if model is None or not model.startswith(LOCAL_PREFIX):
            return None
        name = model.removeprefix(LOCAL_PREFIX)
        return self._declared.get(name) or self._declared.get(name.rpartition(":")[0])

    def bound(self, book: PriceBook, request: Request, body: Mapping[str, Any], *, most: float = CALL_SECONDS) -> Bound:
        """Return the most that a call can cost.

        On a tier with an hourly price no number of tokens bounds it, but its time does: the caller's deadline, else
        ``most`` seconds, which ``Reserving`` makes the request's deadline. Where everything costs nothing, nothing can
        exceed $0, whatever the length of the answer.
        """
        bound = book.upper_bound(body, dialect=request.dialect, host=request.url)
        model = request.model
        if model is None or not model.startswith(LOCAL_PREFIX):
            return bound
        tier = self.of(model)
        if tier is not None and tier.hourly_usd is not None:
            left = most if request.deadline is None else max(0.0, request.deadline - time.monotonic())
            return time_bound(bound, tier.hourly_usd, min(left, most))
        if is_free(book, request.url, model):
            return time_bound(bound, 0, most)
        return bound


def is_free(book: PriceBook, host: str, model: str | None) -> bool:
    """Return whether a model costs nothing, whatever its tokens: what local models are declared as."""
    rates = None if model is None else book.rates(host, model)
    return rates is not None and not any(rates.kinds.values())
