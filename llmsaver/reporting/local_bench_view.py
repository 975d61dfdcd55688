"""How a measured local tier looks: a line per number of calls at once, and what they mean."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from llmsaver.reporting.layout import Column, columns
from llmsaver.reporting.local_bench import usd_per_million
from llmsaver.reporting.local_view import gigabytes
from llmsaver.reporting.words import duration, money, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from decimal import Decimal

    from llmsaver.reporting.local_bench import Bench

__all__ = ["as_text", "watched"]

_MIB, _NANO = 1 << 20, 10**9


@contextmanager
def watched(model: str, console: Console | None = None) -> Iterator[Callable[[str], None]]:
    """Say on standard error, where that is a terminal, what is being measured."""
    out = console or Console(stderr=True, highlight=False)
    with out.status(shown(model)) as status:
        yield lambda what: status.update(f"{shown(model)}: {shown(what)}")


def as_text(made: Bench, console: Console | None = None) -> None:
    """Write what was measured."""
    out = console or Console(highlight=False)
    out.print(Text(_heading(made), style="bold"), soft_wrap=True)
    if made.rates:
        table = [
            Column("at once", [str(rate.concurrent) for rate in made.rates]),
            Column("tokens/s", [f"{rate.tokens_per_s:.1f}" for rate in made.rates]),
            Column("each", [f"{rate.tokens_per_s / rate.concurrent:.1f}" for rate in made.rates]),
            Column("first token", [_seconds(rate.first_token_s) for rate in made.rates]),
        ]
        if made.hourly_usd is not None:
            table.append(Column("$/1M tokens", [_usd(made.hourly_usd, rate.tokens_per_s) for rate in made.rates]))
        for line in columns(table, out.width, ascii_only=out.options.ascii_only):
            out.print(Text(line), soft_wrap=True)
    for line in _notes(made):
        out.print(Text(line), soft_wrap=True)


def _heading(made: Bench) -> str:
    parts = [shown(made.model), made.runner]
    if made.slots is not None and made.context is not None:
        parts.append(f"{made.slots} slots x {made.context:,} tokens")
    if made.memory_mib is not None:
        parts.append(gigabytes(made.memory_mib * _MIB))
    parts.append("was running" if made.was_running else f"ready in {_seconds(made.ready_s)}")
    return ", ".join(parts)


def _notes(made: Bench) -> Iterator[str]:
    first = made.first
    if first is not None:
        known = "" if first.cached is None else f" ({first.cached:,} cached)"
        yield (
            f"first token after {first.tokens:,} tokens: {_seconds(first.cold_s)} cold, {_seconds(first.warm_s)} warm, "
            f"{first.times:.1f}x{known}"
        )
    if made.hourly_usd is None:
        yield "$/1M tokens: say what the machine costs, --hourly, or hourly_usd on the tier"
    elif made.rates:
        yield f"$/1M output tokens at ${made.hourly_usd.normalize():f} an hour, busy all the time"
    if made.slots is not None and any(rate.concurrent > made.slots for rate in made.rates):
        yield f"more than {made.slots} at once wait for a slot: local_parallel, or parallel= on the tier"
    if made.skipped:
        yield f"no time for: {', '.join(made.skipped)}"


def _seconds(seconds: float | None) -> str:
    return duration(None if seconds is None else 1e3 * seconds)


def _usd(hourly_usd: Decimal, tokens_per_s: float) -> str:
    found = usd_per_million(hourly_usd, tokens_per_s)
    return "-" if found is None else money(int(found * _NANO))
