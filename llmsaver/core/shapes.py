"""What each layer that shapes calls did to one: tokens before and after, and nano-dollars saved, net of what it cost.

Only what was measured is money. A prompt cache: what was read at a discount, less the fees of writing, by the model's
rates. Text taken out: at four bytes a token, at the cheapest rate at which any of the call's input was billed, which is
that of cached reads wherever there were any, since what was taken out might have been read from the cache too. A stored
answer: what the call that made it had cost. A router: what the tier it replaces would have cost, less all that was
paid. A second try: what the first had cost, below 0. Asking for shorter answers or for less effort is counted, and no
money is claimed for it: nobody knows the answer that was not given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.core.entry import Entry

__all__ = ["BYTES_PER_TOKEN", "Shape", "shapes_of"]

# Three or four bytes of English are a token; where a few more or less decide nothing it is taken for four.
BYTES_PER_TOKEN: Final = 4
_MILLION: Final = 1_000_000
_CACHES: Final = {"exact": "exact cache", "semantic": "semantic cache"}
_ROUTER, _PART_HIT = "cascade", ("exact cache", "part hit")
# Acts that say that a call was shaped, of layers that do not say by how much.
_MARKED, _BROKEN = ("prompt cache", "marked"), ("prompt cache", "broken")
_COUNTED: Final = frozenset({
    _MARKED,
    ("concise", "asked"),
    ("effort", "set"),
    ("output cap", "limited"),
    ("continuation", "continued"),
})  # fmt: skip
# What input is billed as, the cheapest first: a token that was not sent is worth no more than one that was.
_INPUT: Final = ("cache_read", "input", "cache_write_5m", "cache_write_30m", "cache_write_1h", "cache_write_12h")


class Shape(NamedTuple):
    """What a layer did to a call: estimated tokens ``before`` and ``after`` of the texts it made shorter, if any.

    ``saved`` is in nano-dollars, below 0 where it cost more than it saved, None where nothing was measured. ``broken``:
    what in the prompt breaks the provider's cache, as a kind and a place.
    """

    before: int | None = None
    after: int | None = None
    saved: int | None = None
    broken: str | None = None

    def told(self) -> list[Any]:
        """Return it as the ledger keeps it, None left out at the end."""
        values = list(self)
        while values and values[-1] is None:
            values.pop()
        return values


def shapes_of(entry: Entry) -> Mapping[str, Shape]:
    """Return what was done to a call by layer, empty for most."""
    found: dict[str, Shape] = {}
    texts: dict[tuple[str, str], Mapping[str, int]] = {}
    for act in entry.layers:
        kind, figures = (act.name, act.action), act.figures
        if figures is not None and "saved_nano" in figures:
            before = found.get(act.name, Shape())
            found[act.name] = before._replace(saved=figures["saved_nano"] + (before.saved or 0))
        elif figures is not None and "before" in figures:
            texts[kind] = figures  # a later attempt's in the place of an earlier one's
        elif kind in _COUNTED:
            marked = kind == _MARKED and entry.usage is not None  # and nothing was read or written
            found.setdefault(act.name, Shape(saved=0) if marked else Shape())
        elif kind == _BROKEN:
            found[act.name] = found.get(act.name, Shape())._replace(broken=act.why)
        elif kind == _PART_HIT:
            found[act.name] = Shape(saved=_below_baseline(entry))
    for (name, _), figures in texts.items():
        found[name] = _shorter(found.get(name, Shape()), figures, entry)
    if entry.hit_kind is not None:
        found[_CACHES.get(entry.hit_kind, entry.hit_kind)] = Shape(saved=_below_baseline(entry))
    elif entry.routing is not None and entry.written_cost is not None:
        found[_ROUTER] = Shape(saved=_below_baseline(entry))
    return found


def _shorter(shape: Shape, figures: Mapping[str, int], entry: Entry) -> Shape:
    """Return a shape with texts in it that were made shorter."""
    first, last = figures["before"], figures.get("after", figures["before"])
    before, after = (round(size / BYTES_PER_TOKEN) for size in (first, last))
    rate = _rate(entry)
    saved = shape.saved if rate is None else (first - last) * rate // (BYTES_PER_TOKEN * _MILLION) + (shape.saved or 0)
    return shape._replace(before=before + (shape.before or 0), after=after + (shape.after or 0), saved=saved)


def _rate(entry: Entry) -> int | None:
    """Return nano-dollars per million tokens that input less would have saved; None where tokens have no price."""
    cost = entry.attempts[-1].cost if entry.attempts else None
    if cost is None or entry.unpriced:
        return None
    billed = {line.kind: line.nano_per_million for line in cost.lines if line.units}
    return next((billed[kind] for kind in _INPUT if kind in billed), None)


def _below_baseline(entry: Entry) -> int | None:
    """Return what the call would have cost, less what it did cost; None where either is unknown."""
    if entry.unpriced or entry.baseline_nano is None or entry.cost_nano is None:
        return None
    return entry.baseline_nano - entry.cost_nano
