"""The commands of the router: how it stands, labels from a file, a dry run, and thresholds on recorded outcomes."""

from __future__ import annotations

import json
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from llmsaver.reporting.router_outcomes import Outcomes

__all__ = ["router_app"]

router_app = typer.Typer(help="The cascade router: how it stands, calibrating it, dry runs.", no_args_is_help=True)


class Format(StrEnum):
    """What is written."""

    table = "table"
    json = "json"


Form = Annotated[Format, typer.Option("--format", help="A table for people, or JSON for machines.")]
Where = Annotated[
    str | None,
    typer.Option(
        "--ledger", metavar="PATH|URL", help="The ledger's file or SQLAlchemy URL; the setting's if left out."
    ),
]
Feature = Annotated[str | None, typer.Option("--feature", help="Of this feature alone.")]
Quality = Annotated[
    float | None, typer.Option("--min-quality", help="The share of the last tier's quality to keep, such as 0.95.")
]
Risk = Annotated[float | None, typer.Option("--risk", help="How likely that may be missed, such as 0.1.")]
_SINCE = "7d, 24h, today, 2026-11-01 or 2026-11-01T09:30."


@router_app.command("status")
def status_command(
    *,
    feature: Feature = None,
    since: Annotated[str | None, typer.Option("--since", help=f"Calls from then on: {_SINCE}")] = None,
    min_quality: Quality = None,
    risk: Risk = None,
    form: Form = Format.table,
    ledger: Where = None,
) -> None:
    """Show each feature: which tier served how much, what that saved, its threshold, and what its labels prove."""
    from llmsaver.reporting.books import ledger_at
    from llmsaver.reporting.moments import moment
    from llmsaver.reporting.router_status import standings
    from llmsaver.reporting.router_tables import standings_as_text

    _shares(min_quality, risk)
    first = None if since is None else moment(since, time.time())
    found = standings(ledger_at(ledger), since=first, feature=feature, min_quality=min_quality, risk=risk)
    if form is Format.json:
        typer.echo(json.dumps([standing.as_dict() for standing in found], indent=2))
    else:
        standings_as_text(found)


@router_app.command("calibrate")
def calibrate_command(
    *,
    data: Annotated[
        str | None, typer.Option("--data", metavar="FILE", help="Labelled outcomes, CSV or JSON lines; - is stdin.")
    ] = None,
    feature: Annotated[
        str | None, typer.Option("--feature", help="Whose labels they are where the file is silent; all features'.")
    ] = None,
    tier: Annotated[str | None, typer.Option("--tier", help="The cheap model, where the file is silent.")] = None,
    last: Annotated[str | None, typer.Option("--last", help="The last tier's model, in a row for each answer.")] = None,
    min_quality: Quality = None,
    risk: Risk = None,
    form: Form = Format.table,
    ledger: Where = None,
) -> None:
    """Keep a file's labels in the ledger, and say which thresholds all labels there prove."""
    from llmsaver.reporting.books import ledger_at
    from llmsaver.reporting.router_status import keep, standings
    from llmsaver.reporting.router_tables import standings_as_text
    from llmsaver.reporting.words import many

    _shares(min_quality, risk)
    books = ledger_at(ledger)
    if data is not None:
        found = _outcomes(data, feature, _tier_of(tier, feature, ledger), last)
        wanted = sum(len(each.labels) for each in found)
        with books:
            if keep(books, found) != wanted:
                raise ConfigurationError("the labels could not be written to the ledger")
        typer.echo(
            f"{many(wanted, 'label')} kept; programs that share the ledger take them in within a minute", err=True
        )
    told = standings(books, feature=feature, min_quality=min_quality, risk=risk)
    told = [each for each in told if any(promise.labels for promise in each.promises)]
    if not told:
        raise ConfigurationError(
            "no labels: give a file (--data FILE), let the cascade audit (it does by itself), or call "
            "llmsaver.feedback(response, ok=...)"
        )
    if form is Format.json:
        typer.echo(json.dumps([standing.as_dict() for standing in told], indent=2))
    else:
        standings_as_text(told)


@router_app.command("explain")
def explain_command(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="A request's JSON, as an SDK sends it.")],
    *,
    tier: Annotated[
        list[str] | None, typer.Option("--tier", help="A model, the cheapest first; by default the latest call's.")
    ] = None,
    dialect: Annotated[
        str | None, typer.Option("--dialect", help="chat, responses or messages; by default as it is written.")
    ] = None,
    feature: Annotated[str, typer.Option("--feature", help="The feature that asks.")] = "default",
    min_quality: Quality = None,
    risk: Risk = None,
    form: Form = Format.table,
    ledger: Where = None,
) -> None:
    """Say which tier a request would go to, and what would change that; nothing is sent."""
    from llmsaver.reporting.books import ledger_at
    from llmsaver.reporting.router_explain import dialect_of, explained, request_of, tiers_of

    _shares(min_quality, risk)
    body = request_of(file)
    told = explained(
        ledger,
        {"model": "auto", **body},
        tiers_of(ledger_at(ledger), tier or (), feature),
        dialect=dialect_of(file, body, dialect),
        feature=feature,
        min_quality=min_quality,
        risk=0.1 if risk is None else risk,
    )
    typer.echo(json.dumps(told.as_dict(), indent=2) if form is Format.json else str(told))


@router_app.command("simulate")
def simulate_command(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="Labelled outcomes, CSV or JSON lines.")],
    *,
    feature: Feature = None,
    tier: Annotated[str | None, typer.Option("--tier", help="The cheap model, in a row for each answer.")] = None,
    last: Annotated[str | None, typer.Option("--last", help="The last tier's model, the same.")] = None,
    min_quality: Quality = None,
    risk: Risk = None,
    splits: Annotated[int, typer.Option("--splits", min=0, help="Random halves to check the contract on.")] = 20,
    form: Form = Format.table,
) -> None:
    """Say what each threshold would have cost and saved on recorded outcomes, and what the contract comes to."""
    from llmsaver.reporting.router_simulation import simulate
    from llmsaver.reporting.router_status import QUALITY, RISK
    from llmsaver.reporting.router_tables import simulations_as_text

    _shares(min_quality, risk)
    quality, chance = min_quality or QUALITY, risk or RISK
    outcomes = _outcomes(file, feature, tier, last)
    told = [simulate(each, min_quality=quality, risk=chance, splits=splits) for each in outcomes]
    if form is Format.json:
        typer.echo(json.dumps([each.as_dict() for each in told], indent=2))
    else:
        simulations_as_text(told)


def _outcomes(place: str, feature: str | None, tier: str | None, last: str | None) -> list[Outcomes]:
    """Return a file's labels; what was passed over in it is told on standard error."""
    from llmsaver.reporting.router_outcomes import read_outcomes

    found, ignored = read_outcomes(place, feature=feature, tier=tier, last=last)
    if ignored:
        typer.echo(f"{place}: columns passed over: {', '.join(ignored)}", err=True)
    if not found:
        raise ConfigurationError(f"{place}: has no labels of feature {feature!r}")
    return found


def _tier_of(tier: str | None, feature: str | None, ledger: str | None) -> str | None:
    """Return the cheap tier that labels are about: the one given, else that of the latest routed call."""
    if tier is not None:
        return tier
    from llmsaver.reporting.books import ledger_at
    from llmsaver.reporting.router_explain import tiers_of

    try:
        return tiers_of(ledger_at(ledger), (), feature)[0]
    except ConfigurationError:
        return None


def _shares(min_quality: float | None, risk: float | None) -> None:
    for name, value in (("--min-quality", min_quality), ("--risk", risk)):
        if value is not None and not 0 < value < 1:
            raise ConfigurationError(f"{name} must be a share above 0 and below 1, such as 0.95; not {value:g}")
