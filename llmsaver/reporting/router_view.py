"""How routing looks on a terminal: the tiers and their shares, what that saved, and how far to trust it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from llmsaver.reporting.layout import Column, columns, pointed
from llmsaver.reporting.words import count, duration, many, money, percent, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llmsaver.reporting.router_figures import Routed, Saving, TierShare

__all__ = ["routed_lines", "saving_words"]

_NAME = 12


def routed_lines(routed: Routed, width: int, *, ascii_only: bool = False) -> Iterator[str]:
    """Yield a table of the tiers, and in a sentence what routing saved; no line is wider than ``width`` from 60 on."""
    tiers = routed.tiers

    def of(head: str, cell: Callable[[TierShare], str], rank: int) -> Column:
        return Column(head, pointed([cell(tier) for tier in tiers]), rank)

    table = [
        Column("tier", [shown(tier.model) or "(none served)" for tier in tiers], left=True, least=_NAME),
        of("calls", lambda tier: count(tier.figures.calls), 0),
        of("share", lambda tier: percent(tier.share), 0),
        of("escalated to", lambda tier: count(tier.figures.escalated), 2),
        of("spend", lambda tier: money(tier.figures.spend), 1),
        of("$/1,000", lambda tier: money(tier.figures.per_thousand), 3),
        of("p50", lambda tier: duration(tier.figures.latency_ms[0] if tier.figures.latency_ms else None), 5),
    ]
    if any(tier.tasks for tier in tiers):
        table.append(of("$/resolved task", _per_task, 4))
    yield from columns(table, width, ascii_only=ascii_only)
    told = (
        f"{percent(routed.escalation)} of {many(routed.figures.calls, 'call')} escalated; {saving_words(routed.saving)}"
    )
    yield from textwrap.wrap(told, width, break_on_hyphens=False)


def saving_words(saving: Saving | None) -> str:
    """Return what was saved, its interval, and what that interval is."""
    if saving is None:
        return "what it saved is not known: the last tier has no known price"
    word = "saved" if saving.nano >= 0 else "cost"
    told = f"{word} {money(abs(saving.nano))}, {percent(abs(saving.share or 0.0))} of {money(saving.baseline_nano)}"
    if saving.interval:
        told += (
            f", 95 % interval {money(saving.low)} to {money(saving.high)} by {many(saving.checked, 'checked answer')}"
        )
    else:
        bounds = f" (between {money(saving.low)} and {money(saving.high)})" if saving.low != saving.high else ""
        told += f"{bounds}, by the tokens of the answers served; {many(saving.checked, 'checked answer')} so far"
    return told + (f"; the checks cost {money(saving.checks_nano)}, counted" if saving.checks_nano else "")


def _per_task(tier: TierShare) -> str:
    return "-" if tier.per_resolved is None else f"{money(tier.per_resolved)} ({tier.resolved} of {tier.tasks})"
