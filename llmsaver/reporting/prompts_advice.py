"""What would make the calls that begin alike cheaper, as far as their rows tell."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from llmsaver.prompt.keys import MINIMUM
from llmsaver.prompt.marks import minimum
from llmsaver.prompt.worth import Tariff
from llmsaver.reporting.words import count, lasting, many, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llmsaver.ledger.prefixes import PromptRow
    from llmsaver.pricing import PriceBook
    from llmsaver.prompt.learned import Told

__all__ = ["Advice", "advised"]

_HOSTS = {"messages": "api.anthropic.com", "chat": "api.openai.com", "responses": "api.openai.com"}
_CACHE = "prompt cache"
_KEEPS = {"5m": 300.0, "1h": 3600.0}
_DAY, _BURST = 86_400.0, 600.0
# From where on a finding is worth a line: the share of a prompt that is old tool outputs, of input that is read, of a
# prefix's price that another time to live saves; the same request in a day; calls in ten minutes.
_OLD, _READ, _LESS, _SAME, _AT_ONCE = 0.3, 0.5, 0.05, 10, 100


class Advice(NamedTuple):
    """A ``kind`` for machines, and what is to be known in words for people."""

    kind: str
    told: str


def advised(
    group: Sequence[tuple[PromptRow, Told | None]], gaps: Sequence[float], model: str, book: PriceBook
) -> Iterator[Advice]:
    """Yield what would make some calls cheaper; ``gaps`` are the seconds between those that share a prefix."""
    rows = [row for row, _ in group]
    told = [each for _, each in group if each is not None]
    yield from _broken(rows)
    short = list(_short(rows, told, model))
    yield from short
    if not short:
        yield from _off(rows, told, gaps)
    yield from _longer(rows, told, gaps, book)
    yield from _old_results(rows, told)
    yield from _again(rows)
    yield from _batch(rows)


def _broken(rows: Sequence[PromptRow]) -> Iterator[Advice]:
    """Say what in the instructions changes from call to call."""
    found = Counter(str(_shape(row)[3]) for row in rows if len(_shape(row)) > 3 and _shape(row)[3])  # noqa: PLR2004 - where ``Shape.broken`` is
    for what, number in found.most_common(1):
        yield Advice("broken", f"breaks its own cache: {what} ({count(number)} of {many(len(rows), 'call')})")


def _shape(row: PromptRow) -> Sequence[object]:
    shape = (row.shaped or {}).get(_CACHE, ())
    return shape if isinstance(shape, list) else ()


def _short(rows: Sequence[PromptRow], told: Sequence[Told], model: str) -> Iterator[Advice]:
    """Say that a provider keeps no prompt, or no instructions, of this size."""
    if any(row.cache_read_tokens for row in rows):
        return
    dialect = rows[0].dialect
    if dialect not in _HOSTS:
        return
    least = minimum(model) if dialect == "messages" else MINIMUM
    size = round(median(row.input_tokens for row in rows))
    if size < least:
        yield Advice("short", f"too short to be kept ({size:,} of {least:,} tokens)")
    elif told and 0 < told[-1].prefix_tokens < least and not any(each.tail for each in told):
        size = told[-1].prefix_tokens
        yield Advice("short", f"tools and instructions too short to be kept (about {size:,} of {least:,} tokens)")


def _off(rows: Sequence[PromptRow], told: Sequence[Told], gaps: Sequence[float]) -> Iterator[Advice]:
    """Say that nobody has the provider keep what calls share."""
    if told or not gaps or any(row.cache_write_tokens or _CACHE in (row.shaped or {}) for row in rows):
        return
    first = rows[0]
    if _HOSTS.get(first.dialect or "") != first.upstream:
        return
    share = sum(row.cache_read_tokens for row in rows) / max(1, sum(row.input_tokens for row in rows))
    if share < _READ:
        found = f"PromptCache marked none of {many(len(rows), 'call')} that began alike, {percent(share)} was read"
        yield Advice("off", f"{found}: is it on?")


def _longer(
    rows: Sequence[PromptRow], told: Sequence[Told], gaps: Sequence[float], book: PriceBook
) -> Iterator[Advice]:
    """Say that keeping the prefix for an hour would have paid, or not keeping it, by the gaps that there were."""
    kept = Counter(each.static for each in told).most_common(1)
    if rows[0].dialect != "messages" or not gaps or not kept or kept[0][0] not in {"", "5m"}:
        return
    size, least = told[-1].prefix_tokens, told[-1].minimum
    rates = book.rates(f"https://{rows[0].upstream}", told[-1].model)
    tariff = None if rates is None else Tariff.of(rates.kinds, tuple(_KEEPS))
    if tariff is None or size < least:
        return
    prices = {keep: _price(tariff, keep, gaps) for keep in tariff.write} | {"": 1.0 + len(gaps)}
    best = min(prices, key=lambda keep: prices[keep])
    if best == "1h" and prices[best] < (1 - _LESS) * prices[kept[0][0]]:
        less = 1 - prices[best] / prices[kept[0][0]]
        asked = f"asked again after {lasting(median(gaps))} at the median"
        yield Advice("ttl", f"{asked}: ttl 1h would pay, {percent(less)} less for its {size:,} tokens")


def _price(tariff: Tariff, keep: str, gaps: Sequence[float]) -> float:
    """Return what a token of a prefix costs over these gaps, as a multiple of its price."""
    write = tariff.write[keep]
    return write + sum(tariff.read if gap <= _KEEPS[keep] else write for gap in gaps)


def _old_results(rows: Sequence[PromptRow], told: Sequence[Told]) -> Iterator[Advice]:
    """Say how much of the prompts is what tools said before the last answer."""
    tokens = sum(each.tokens for each in told)
    share = sum(each.old_results for each in told) / tokens if tokens else 0.0
    if share >= _OLD and not any("compress" in (row.shaped or {}) for row in rows):
        yield Advice("tools", f"old tool outputs are {percent(share)} of it: Compress makes them shorter")


def _again(rows: Sequence[PromptRow]) -> Iterator[Advice]:
    """Say that the very same request is sent time and again."""
    same = Counter(row.fingerprint for row in rows if row.fingerprint).most_common(1)
    if not same or same[0][1] < _SAME:
        return
    days = max(1.0, (rows[-1].started_at - rows[0].started_at) / _DAY)
    if same[0][1] >= _SAME * days:
        often = f"sent as a whole {count(round(same[0][1] / days))} times a day"
        yield Advice("same", f"{often}: ExactCache answers it for nothing")


def _batch(rows: Sequence[PromptRow]) -> Iterator[Advice]:
    """Say that calls nobody watched came all at once."""
    if any(row.stream for row in rows) or _HOSTS.get(rows[0].dialect or "") != rows[0].upstream:
        return
    most, first = 0, 0
    for last, row in enumerate(rows):
        while row.started_at - rows[first].started_at > _BURST:
            first += 1
        most = max(most, last + 1 - first)
    if most >= _AT_ONCE:
        yield Advice("batch", f"{count(most)} calls in 10 minutes, none streamed: half the price with llmsaver batch")
