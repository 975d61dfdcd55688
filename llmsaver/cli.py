"""The ``llmsaver`` command: each subcommand calls one library function and turns its result into an exit status."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

import llmsaver
from llmsaver.errors import LLMSaverError

__all__ = ["app", "main"]

_INTERRUPTED = 130  # 128 + SIGINT, as shells report it

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


@app.command("demo")
def demo_command() -> None:
    """Make real calls through the whole stack on a small local model: no key, no GPU.

    Exits with 1 where a layer had no effect, a call failed or the model cannot run.
    """
    from llmsaver.reporting.demo import demo
    from llmsaver.reporting.demo_view import View

    view = View()
    try:
        report = demo(view)
    except KeyboardInterrupt:
        view.interrupted()
        raise typer.Exit(_INTERRUPTED) from None
    if report.failures:
        raise typer.Exit(1)


@app.command("doctor")
def doctor_command(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON for a machine.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Start the local model and make one call to it.")] = False,
) -> None:
    """Say what is installed, what works, and how to fix what does not.

    Exits with 1 where something that every call needs is broken.
    """
    from llmsaver.reporting.doctor import examine
    from llmsaver.reporting.doctor_view import as_text

    health = examine(deep=deep)
    if as_json:
        typer.echo(json.dumps(health.as_dict(), indent=2))
    else:
        as_text(health)
    if not health.works:
        raise typer.Exit(1)


def main() -> None:
    """Run the command; an error of ours is one message on standard error and exit status 1."""
    try:
        app()
    except LLMSaverError as error:
        typer.echo(f"llmsaver: {error}", err=True)
        sys.exit(1)
