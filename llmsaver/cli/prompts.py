"""The command that lists the costliest prompts."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated

import typer

__all__ = ["prompts_command"]


class Format(StrEnum):
    """What is written."""

    table = "table"
    json = "json"


def prompts_command(
    *,
    since: Annotated[
        str, typer.Option("--since", help="Calls from then on: 7d, 24h, today, 2026-11-01 or 2026-11-01T09:30.")
    ] = "7d",
    form: Annotated[Format, typer.Option("--format", help="A table for people, or JSON for machines.")] = Format.table,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many lines at most.")] = 10,
    ledger: Annotated[
        str | None,
        typer.Option(
            "--ledger", metavar="PATH|URL", help="The ledger's file or SQLAlchemy URL; the setting's if left out."
        ),
    ] = None,
) -> None:
    """List the costliest prompts, by what they begin with, and what would make each cheaper."""
    from llmsaver.reporting import prompts_view
    from llmsaver.reporting.books import ledger_at
    from llmsaver.reporting.moments import moment
    from llmsaver.reporting.prompts import as_json, prompts

    found = prompts(ledger_at(ledger), since=moment(since, time.time()), limit=limit)
    if form is Format.json:
        typer.echo(as_json(found))
    else:
        prompts_view.as_text(found)
