"""How the standing of features, and simulated thresholds, look on a terminal."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from llmsaver.reporting.layout import Column, columns, pointed
from llmsaver.reporting.router_status import EVERY
from llmsaver.reporting.router_view import routed_lines
from llmsaver.reporting.words import count, many, money, percent, shown
from llmsaver.router.calibration import NotEnough

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llmsaver.reporting.router_simulation import Simulation, Step
    from llmsaver.reporting.router_status import Promise, Standing

_SMALL = 1e-4

__all__ = ["promise_words", "simulations_as_text", "standings_as_text"]


def standings_as_text(standings: Sequence[Standing], console: Console | None = None) -> None:
    """Write each feature's standing."""
    out = console or Console(highlight=False)
    if not standings:
        _say(
            out, "no call was routed yet, and no answer labelled: Saver(stack=[..., Cascade([cheap, ..., dear])]), then"
        )
        _say(out, 'calls with model="auto"; or labels of your own: llmsaver router calibrate --data FILE')
        return
    for at, standing in enumerate(standings):
        if at:
            _say(out, "")
        _say(out, f"feature {shown(standing.feature) or EVERY}", style="bold")
        for line in _described(standing, out.width, ascii_only=out.options.ascii_only):
            _say(out, line)


def _described(standing: Standing, width: int, *, ascii_only: bool) -> Iterator[str]:
    if standing.routed is None:
        yield "no routed call in this time"
    else:
        yield from routed_lines(standing.routed, width, ascii_only=ascii_only)
    for told in (_latest(standing), *(promise_words(each, promised=standing.promised) for each in standing.promises)):
        if told:
            yield from textwrap.wrap(told, width, break_on_hyphens=False)


def _latest(standing: Standing) -> str:
    """Say by what the latest call was decided."""
    latest = standing.latest
    if not latest:
        return ""
    threshold, signal = latest.get("threshold"), latest.get("signal")
    told = "now: " + shown(str(latest.get("evidence") or "no evidence told"))
    told += f", threshold {_shown(threshold)}" if isinstance(threshold, int | float) else ", no threshold"
    told += f" on {shown(str(signal))}" if signal else ""
    told += "; traffic HAS SHIFTED, more is audited and less accepted" if latest.get("drift") else "; no drift"
    return told + ("; STEPPED ASIDE: here the cascade would cost more" if latest.get("aside") else "")


def promise_words(promise: Promise, *, promised: bool = True) -> str:
    """Say in a sentence what the labels prove of a tier."""
    proxy = promise.labels - promise.gold
    told = f"{shown(promise.tier) or 'the cheap tier'}: {many(promise.labels, 'label')}"
    told += f" ({count(promise.gold)} gold, {count(proxy)} by agreement)" if promise.labels else ""
    want = f"{promise.min_quality:.4g} of the last tier's quality at risk {promise.risk:.3g}"
    lead = "for" if promised else "nothing is promised; for"
    if isinstance(promise.found, NotEnough):
        return f"{told}; {lead} {want}: {promise.found}"
    if math.isinf(promise.found.value):
        return f"{told}; {lead} {want}: no threshold keeps it, so the last tier serves"
    kept = f"at least {promise.found.quality_low:.1%} kept".replace("%", " %")
    share = f"{percent(promise.found.escalation)} escalated, {percent(promise.found.saving)} saved"
    return f"{told}; {lead} {want}: threshold {_shown(promise.found.value)} on {promise.found.signal}, {kept}, {share}"


def simulations_as_text(simulations: Sequence[Simulation], console: Console | None = None) -> None:
    """Write each feature's curve, and what the contract comes to."""
    out = console or Console(highlight=False)
    for at, simulation in enumerate(simulations):
        if at:
            _say(out, "")
        _say(out, f"{shown(simulation.feature) or EVERY}: {many(simulation.rows, 'row')}", style="bold")
        for line in _simulated(simulation, out.width, ascii_only=out.options.ascii_only):
            _say(out, line)


def _simulated(simulation: Simulation, width: int, *, ascii_only: bool) -> Iterator[str]:
    cheap, last = shown(simulation.tier) or "the cheap tier", shown(simulation.last) or "the last tier"
    told = f"{cheap} alone is right on {simulation.weak:.1%}, {last} on {simulation.strong:.1%}".replace("%", " %")
    told += f" at {money(simulation.strong_nano)}" if simulation.strong_nano else "; no costs are told"
    yield from textwrap.wrap(told, width, break_on_hyphens=False)
    yield ""
    yield from columns(_steps(simulation.steps), width, ascii_only=ascii_only)
    yield ""
    yield from textwrap.wrap("contract: " + promise_words(simulation.promise), width, break_on_hyphens=False)
    held = simulation.held
    if held is not None:
        wanted = f"made on one half and scored on the other, {held.splits} times: target missed {held.missed} times, "
        wanted += f"{percent(held.saving)} saved and {percent(held.quality)} of the quality kept on average"
        wanted += f"; not enough evidence {held.short} times" if held.short else ""
        yield from textwrap.wrap(wanted, width, break_on_hyphens=False)


def _steps(steps: Sequence[Step]) -> list[Column]:
    return [
        Column("threshold", [_shown(step.threshold) for step in steps]),
        Column("escalated", [percent(step.escalation) for step in steps]),
        Column("quality kept", [f"{100 * step.quality:.1f} %" for step in steps]),
        Column("cost", pointed([money(step.cost_nano) for step in steps]), 2),
        Column("saved", pointed([money(step.saved_nano) for step in steps]), 1),
        Column("share", [f"{100 * step.saving:.0f} %" for step in steps]),
        Column("", [step.name for step in steps], left=True),
    ]


def _shown(threshold: float) -> str:
    """Return a threshold with four digits behind the point, or that none lets an answer pass."""
    if math.isinf(threshold):
        return "none passes"
    return f"{threshold:.1e}" if 0 < threshold < _SMALL else f"{threshold:.4f}"


def _say(out: Console, text: str, style: str = "") -> None:
    out.print(Text(text, style=style), soft_wrap=True)
