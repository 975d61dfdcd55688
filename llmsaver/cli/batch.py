"""The commands of batches: run one or go on with it, see how it stands, list them, cancel one."""

from __future__ import annotations

import shlex
import sys
import time
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated

import typer

from llmsaver.cli.first import INTERRUPTED

if TYPE_CHECKING:
    from llmsaver.ledger.batches import Batches

__all__ = ["FAILED", "batch_app"]

batch_app = typer.Typer(help="Many requests at half price: run, status, list, cancel.", no_args_is_help=True)

FAILED = 3  # some requests have no answer; 1 is an error of ours and 2 of the command line

Where = Annotated[
    str | None,
    typer.Option(
        "--ledger", metavar="PATH|URL", help="The ledger's file or SQLAlchemy URL; the setting's if left out."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON for a machine.")]


class Via(StrEnum):
    """How the requests go."""

    openai = "openai"
    anthropic = "anthropic"
    local = "local"
    flex = "flex"


@batch_app.command("run")
def run_command(  # noqa: PLR0913 - the options of one command
    requests: Annotated[Path, typer.Argument(metavar="REQUESTS.jsonl", help="Batch lines or plain bodies.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the answers go, in the order of the requests.")],
    via: Annotated[Via | None, typer.Option("--via", help="How they go; follows from the requests.")] = None,
    max_usd: Annotated[str | None, typer.Option("--max-usd", help="Refuse what may cost more.")] = None,
    partly: Annotated[bool, typer.Option("--partly", help="Rather do as much as surely fits --max-usd.")] = False,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Calls at once, via local or flex.")] = 8,
    retries: Annotated[int, typer.Option("--retries", min=0, help="How often a failed request is sent again.")] = 2,
    part_requests: Annotated[
        int | None, typer.Option("--part-requests", min=1, help="Requests in one job at most.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Begin anew, and pay anew, what was run before.")] = False,
    ledger: Where = None,
) -> None:
    """Have every request answered; after an interruption of any kind the same command goes on.

    Exits with 3 where some requests have no answer in the end.
    """
    from llmsaver.batch import BatchInterrupted
    from llmsaver.reporting.batch_view import Bar, summary
    from llmsaver.saver import Saver

    with Saver(ledger=ledger) as saver:
        try:
            with Bar() as bar:
                result = saver.batch(
                    requests,
                    via=None if via is None else via.value,
                    out=out,
                    max_usd=max_usd,
                    partly=partly,
                    concurrency=concurrency,
                    retries=retries,
                    part_requests=part_requests,
                    again=again,
                    progress=bar,
                )
        except KeyboardInterrupt:
            typer.echo(f"\ninterrupted; nothing is lost. To go on: {_same_command()}", err=True)
            typer.echo("jobs at a provider go on meanwhile; to end them: llmsaver batch cancel ID", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except BatchInterrupted as error:
            typer.echo(f"llmsaver: {error}\nto go on: {_same_command()}", err=True)
            raise typer.Exit(1) from None
    for line in summary(result):
        typer.echo(line)
    if not result.ok:
        raise typer.Exit(FAILED)


@batch_app.command("list")
def list_command(*, as_json: Json = False, ledger: Where = None) -> None:
    """List the latest runs."""
    from llmsaver.reporting import batch_view

    runs = _batches(ledger).latest()
    for line in [batch_view.runs_as_json(runs)] if as_json else batch_view.list_as_text(runs, time.time()):
        typer.echo(line)


@batch_app.command("status")
def status_command(
    batch: Annotated[str, typer.Argument(metavar="ID", help="As llmsaver batch list says.")],
    *,
    as_json: Json = False,
    ledger: Where = None,
) -> None:
    """Show one run and its jobs, as far as is written down; nobody is asked."""
    from llmsaver.reporting import batch_view

    books = _batches(ledger)
    run = books.find(batch)
    if run is None:
        typer.echo(f"no batch {batch} is known", err=True)
        raise typer.Exit(1)
    parts = books.parts(batch)
    lines = [batch_view.run_as_json(run, parts)] if as_json else batch_view.status_as_text(run, parts, time.time())
    for line in lines:
        typer.echo(line)


@batch_app.command("cancel")
def cancel_command(
    batch: Annotated[str, typer.Argument(metavar="ID", help="As llmsaver batch list says.")],
    *,
    ledger: Where = None,
) -> None:
    """Cancel a run's jobs, wait until they have ended, and book what was answered by then."""
    from llmsaver.batch import cancel
    from llmsaver.reporting.words import money
    from llmsaver.saver import Saver

    with Saver(ledger=ledger) as saver:
        run = cancel(saver, batch)
    typer.echo(
        f"batch {run.id} is {run.state}: {run.answered:,} of {run.total:,} answered, {money(run.spent_nano)} spent"
    )


def _batches(ledger: str | None) -> Batches:
    from llmsaver.ledger.batches import Batches
    from llmsaver.reporting.books import ledger_at

    return Batches(ledger_at(ledger))


def _same_command() -> str:
    return shlex.join(["llmsaver", *sys.argv[1:]])
