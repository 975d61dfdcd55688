"""Local models' servers in a report: how long they were up and busy, and what idling and tokens cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmsaver.pricing import plain
from llmsaver.pricing.equivalent import PAID, paid_equivalent
from llmsaver.reporting.layout import clip
from llmsaver.reporting.words import lasting, money, percent, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from llmsaver.pricing import PriceBook
    from llmsaver.reporting.figures import Figures

__all__ = ["Achieved", "Served", "achieved", "beside", "lines", "served"]

_HOUR, _MILLION = 3_600.0, 10**6


@dataclass(frozen=True, slots=True)
class Served:
    """A local model's servers over a time: seconds up and busy, and what the rest cost, in nano-dollars.

    ``idle_nano`` is None where nobody said what an hour costs; ``cut`` tells that some server was up before or after
    the time asked for, so that its seconds are shared out evenly.
    """

    name: str
    up_s: float
    busy_s: float
    idle_nano: int | None
    cut: bool = False

    @property
    def idle_s(self) -> float:
        """The seconds in which nothing was asked of it."""
        return max(0.0, self.up_s - self.busy_s)

    def as_dict(self) -> dict[str, Any]:
        """Return it for a machine; dollars as an exact decimal string, None where unknown."""
        return {
            "name": self.name,
            "up_s": round(self.up_s, 3),
            "busy_s": round(self.busy_s, 3),
            "idle_s": round(self.idle_s, 3),
            "idle_usd": None if self.idle_nano is None else plain(self.idle_nano),
            "estimated": self.cut,
        }


@dataclass(frozen=True, slots=True)
class Achieved:
    """What a million tokens came to on the local models, in nano-dollars: by the calls' own cost, and with idle time.

    ``paid`` is what the same tokens would have cost on ``reference``, None where no such model is configured.
    """

    tokens: int
    busy: int | None
    whole: int | None
    paid: int | None = None
    reference: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it for a machine; dollars as exact decimal strings, None where unknown."""
        told = {"per_1m_usd": self.busy, "per_1m_with_idle_usd": self.whole, "per_1m_paid_usd": self.paid}
        dollars = {name: None if nano is None else plain(nano) for name, nano in told.items()}
        return {"tokens": self.tokens, **dollars, "paid_reference": self.reference or None}


def served(
    rows: Iterable[Mapping[str, Any]], since: float | None = None, until: float | None = None
) -> tuple[Served, ...]:
    """Return the servers of ``Reader.servers`` by model, the longest up first, as far as they lie in the time."""
    found: dict[str, Served] = {}
    for row in rows:
        begun, ended = row["started_at"], max(row["updated_at"], row["started_at"])
        first, last = max(begun, begun if since is None else since), min(ended, ended if until is None else until)
        share = max(0.0, last - first) / (ended - begun) if ended > begun else 1.0
        idle = max(0.0, row["up_s"] - row["busy_s"]) * share
        nano = None if row["hourly_nano"] is None else round(idle * row["hourly_nano"] / _HOUR)
        before = found.get(row["name"], Served(row["name"], 0.0, 0.0, 0))
        found[row["name"]] = Served(
            row["name"],
            before.up_s + row["up_s"] * share,
            before.busy_s + row["busy_s"] * share,
            None if nano is None or before.idle_nano is None else before.idle_nano + nano,
            before.cut or share < 1,
        )
    return tuple(sorted(found.values(), key=lambda one: (-one.up_s, one.name)))


def achieved(tier: Figures | None, servers: Iterable[Served]) -> Achieved | None:
    """Return what the tokens of the local tier came to; None where it had none.

    With idle time it is unknown as soon as one server's hourly price is.
    """
    tokens = 0 if tier is None else tier.input_tokens + tier.output_tokens
    if tier is None or not tokens:
        return None
    idle = [one.idle_nano for one in servers]
    whole = None if None in idle or tier.unpriced else tier.cost_nano + sum(nano or 0 for nano in idle)
    spend = None if tier.unpriced else _per_million(tier.cost_nano, tokens)
    return Achieved(tokens, spend, None if whole is None else _per_million(whole, tokens))


def beside(found: Achieved | None, tier: Figures | None, book: PriceBook) -> Achieved | None:
    """Return it with what a small paid model asks for calls of the same average size; as it was where nobody knows."""
    if found is None or tier is None or not tier.calls:
        return found
    size = (tier.input_tokens // tier.calls, tier.output_tokens // tier.calls)
    nano = paid_equivalent(book, PAID[0], [size])
    if nano is None or not sum(size):
        return found
    return replace(found, paid=_per_million(nano, sum(size)), reference=PAID[0].model)


def lines(servers: Iterable[Served], found: Achieved | None, width: int, *, ascii_only: bool = False) -> Iterator[str]:
    """Yield what a report says of them."""
    for one in servers:
        busy = percent(one.busy_s / one.up_s if one.up_s else 0.0)
        idle = "no hourly price" if one.idle_nano is None else f"{money(one.idle_nano)}{'~' * one.cut}"
        told = f"up {lasting(one.up_s)}, busy {lasting(one.busy_s)} ({busy}), idle {lasting(one.idle_s)}: {idle}"
        name = clip(shown(one.name), max(12, width - len(told) - 4), ascii_only=ascii_only)
        yield f"  {name}  {told}"
    if found is not None:
        idle = "" if found.whole is None else f", {money(found.whole)} with idle time"
        yield f"  achieved: {money(found.busy)} per 1M tokens{idle}"
        if found.paid is not None:
            yield f"  the same tokens on {shown(found.reference)}: {money(found.paid)} per 1M"


def _per_million(nano: int, tokens: int) -> int:
    return (2 * nano * _MILLION + tokens) // (2 * tokens)
