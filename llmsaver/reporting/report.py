"""The spend report: what calls cost and what was saved, by feature, model, user or whatever it is cut by."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmsaver.errors import ConfigurationError
from llmsaver.ledger.lines import NAMED, Lines
from llmsaver.ledger.rollup import COLUMNS
from llmsaver.reporting.books import begun, place, reading
from llmsaver.reporting.figures import Figures, less, merged
from llmsaver.reporting.layers import LayerFigures, layer_figures
from llmsaver.reporting.moments import zone
from llmsaver.reporting.router_figures import gathered, routed
from llmsaver.reporting.servers import Achieved, Served, achieved, beside, served

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from llmsaver.ledger import Ledger, Line
    from llmsaver.reporting.router_figures import Routed

_LAYER = "layer"
_JSON = frozenset({"tags", "routing", "shaped"})

__all__ = ["Report", "list_prices_as_of", "priced", "report", "report_of"]


@dataclass(frozen=True, slots=True)
class Report:
    """Sums over the calls begun in [since, until), cut ``by`` something; times are seconds since the epoch.

    ``lines`` are dearest first, days in order; calls that have no user, tenant, task or tag come last under the name
    "", and ``names`` is how many lines there are, of which ``lines`` may be the first. ``models`` and ``days`` (in
    ``tz``) are there whatever it is cut by. ``lost`` counts the rows that could not be written since the ledger began
    and are in no sum; ``written`` is how many calls it has at any time. ``servers`` are the local models', ``achieved``
    what the tokens they handled came to; ``routing`` is about the calls that a router had a choice in, ``layers`` about
    those that layers shaped, which are also what it is cut by under ``layer``.
    """

    by: str
    total: Figures
    lines: tuple[Figures, ...]
    models: tuple[Figures, ...]
    days: tuple[Figures, ...]
    since: float | None = None
    until: float | None = None
    tz: str = "UTC"
    made_at: float = 0.0
    lost: int = 0
    written: int = 0
    tiers: tuple[Figures, ...] = ()
    names: int = 0
    servers: tuple[Served, ...] = ()
    achieved: Achieved | None = None
    routing: Routed | None = None
    layers: tuple[LayerFigures, ...] = ()
    ledger: str = ""
    prices_as_of: date | None = None


def report(
    ledger: Ledger,
    by: str = "feature",
    *,
    since: float | None = None,
    until: float | None = None,
    tz: str = "UTC",
    now: float | None = None,
    top: int | None = None,
    prices_as_of: date | None = None,
) -> Report:
    """Read a report: ``by`` is feature, model, tier, router, layer, user, tenant, task, day or tag:x.

    With ``top`` the lines may be only so many of the dearest, which is quicker where there are thousands.
    An empty ledger, and one that is not there yet, give an empty report. Writers are never made to wait. Raises
    ``ConfigurationError`` for a wrong ``by`` or ``tz``, and ``LedgerUnavailable``.
    """
    _check(by, tz)
    days: Sequence[Line] = ()
    models: Sequence[Line] = ()
    lines: Sequence[Line] = ()
    tiers: Sequence[Line] = ()
    servers: tuple[Served, ...] = ()
    routes: Sequence[Line] = ()
    routing: Routed | None = None
    layers: tuple[LayerFigures, ...] = ()
    lost = written = names = 0
    if begun(ledger):
        with reading(ledger) as reader:
            days, models = (reader.lines(axis, since=since, until=until, tz=tz) for axis in ("day", "model"))
            tiers = reader.lines("tier", since=since, until=until, tz=tz)
            servers = served(reader.servers(since=since, until=until), since, until)
            routes = reader.lines("router", since=since, until=until)
            routing = routed(gathered(reader, since=since, until=until, lines=routes))
            layers = layer_figures(reader.layers(since=since, until=until))
            known = {"day": days, "model": models, "tier": tiers, "router": routes, _LAYER: ()}
            if by in known:
                lines, names = known[by], len(known[by])
            else:
                lines, names = reader.dearest(by, top, since=since, until=until, tz=tz)
            lost = int(reader.meta().get("lost", 0))
            written = sum(line.calls for line in days) or reader.totals().calls
    facts: dict[str, Any] = {
        "since": since,
        "until": until,
        "made_at": time.time() if now is None else now,
        "lost": lost,
        "names": names,
    }
    facts |= {"tz": tz, "written": written, "ledger": place(ledger), "prices_as_of": prices_as_of}
    told = tuple(map(Figures.of, tiers))
    found = achieved(next((tier for tier in told if tier.name == "local"), None), servers)
    facts |= {"routing": routing, "layers": layers}
    return _made(by, lines, models, days, **facts, tiers=told, servers=servers, achieved=found)


def report_of(rows: Iterable[Mapping[str, Any]], by: str = "feature", **facts: Any) -> Report:
    """Return the report on some rows, as ``Reader.calls`` gives them; ``facts`` are fields of ``Report``."""
    _check(by, facts.get("tz", "UTC"))
    cuts = {axis: Lines(axis, facts.get("tz", "UTC")) for axis in dict.fromkeys((by, "model", "day"))}
    for row in rows:
        values = [json.dumps(row[name]) if name in _JSON and row[name] else row[name] for name in COLUMNS]
        for cut in cuts.values():
            cut.add(values)
    found = {axis: cut.ordered() for axis, cut in cuts.items()}
    return _made(by, found[by], found["model"], found["day"], **facts)


def list_prices_as_of() -> date:
    """Return the day of the list prices that calls are priced at; takes a fifth of a second the first time."""
    from llmsaver.pricing import PriceBook

    return PriceBook().as_of


def priced(made: Report) -> Report:
    """Return the report with the day of the list prices, and a paid model's beside what local tokens came to."""
    from llmsaver.pricing import PriceBook

    book = PriceBook()
    local = next((tier for tier in made.tiers if tier.name == "local"), None)
    return replace(made, prices_as_of=book.as_of, achieved=beside(made.achieved, local, book))


def _check(by: str, tz: str) -> None:
    zone(tz)
    try:
        Lines("total" if by == _LAYER else by)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def _made(by: str, lines: Sequence[Line], models: Sequence[Line], days: Sequence[Line], **facts: Any) -> Report:
    total = merged(days)
    names = max(facts.pop("names", 0), len(lines))
    if names == len(lines) and (by in NAMED or by.startswith("tag:")):
        named = [line for line in lines if line.name]
        rest = less(total, merged(named))  # what older versions have summed without a name is in no line
        lines = [*named, rest] if rest.calls or rest.refused else named
        names = len(lines)
    told = [tuple(map(Figures.of, cut)) for cut in (lines, models, days)]
    return Report(by, Figures.of(total), told[0], told[1], told[2], names=names, **facts)
