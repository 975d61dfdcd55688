"""The ``llmsaver`` command: each subcommand calls one library function and turns its result into an exit status."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import llmsaver
from llmsaver.cli import batch, books, cache, first, local, local_bench, models, originals, prompts, router
from llmsaver.errors import LLMSaverError

__all__ = ["app", "main"]

app = typer.Typer(
    name="llmsaver",
    help="Makes LLM calls cheaper from inside your process, with the evidence.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"llmsaver {llmsaver.__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and leave.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    """Take the options that belong to no command."""


app.command("demo")(first.demo_command)
app.command("doctor")(first.doctor_command)
app.command("prompts")(prompts.prompts_command)
app.command("report")(books.report_command)
app.command("tail")(books.tail_command)
app.add_typer(batch.batch_app, name="batch")
app.add_typer(books.budgets_app, name="budgets")
app.add_typer(books.ledger_app, name="ledger")
app.add_typer(cache.cache_app, name="cache")
app.add_typer(router.router_app, name="router")
local.local_app.command("bench")(local_bench.bench_command)
local.local_app.command("check")(local_bench.check_command)
app.add_typer(local.local_app, name="local")
app.add_typer(models.models_app, name="models")
app.add_typer(originals.originals_app, name="originals")


def main() -> None:
    """Run the command; an error of ours is one message on standard error and exit status 1."""
    try:
        app()
    except LLMSaverError as error:
        typer.echo(f"llmsaver: {error}", err=True)
        sys.exit(1)
