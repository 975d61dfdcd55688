"""The commands of tool outputs that were left out of prompts: one of them, how many there are, and deleting them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from llmsaver.prompt.originals import Originals

__all__ = ["originals_app"]

originals_app = typer.Typer(
    help="Tool outputs that were left out of prompts: one of them, deleting them.", no_args_is_help=True
)

Where = Annotated[
    str | None,
    typer.Option("--originals", metavar="PATH|URL", help="Their file or SQLAlchemy URL; the setting's if left out."),
]
Tenant = Annotated[str | None, typer.Option("--tenant", help="Whose; the setting's if left out.")]


@originals_app.command("show")
def show_command(
    reference: Annotated[str, typer.Argument(metavar="REF", help="As it stands in a stub: llmsaver:o-...")],
    *,
    tenant: Tenant = None,
    originals: Where = None,
) -> None:
    """Write one original, as the tool gave it."""
    store, own = _store(originals)
    text = store.recall(reference, own if tenant is None else tenant)
    if text is None:
        typer.echo(f"nothing is kept under {reference} for this tenant, or no longer", err=True)
        raise typer.Exit(1)
    typer.echo(text.encode("utf-8", "replace").decode())


@originals_app.command("stats")
def stats_command(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON for a machine.")] = False,
    originals: Where = None,
) -> None:
    """Say how many originals are kept, and what they take."""
    from llmsaver.reporting.words import many

    stats = _store(originals)[0].stats()
    if as_json:
        typer.echo(json.dumps(stats))
    else:
        held = f"{many(stats['originals'], 'original')} of {many(stats['tenants'], 'tenant')}"
        typer.echo(f"{held} in {stats['place']}: {stats['bytes']:,} bytes")


@originals_app.command("purge")
def purge_command(
    *,
    tenant: Annotated[str | None, typer.Option("--tenant", help="This tenant's only.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    originals: Where = None,
) -> None:
    """Delete every original, or one tenant's; a conversation that goes on stores its own anew."""
    from llmsaver.reporting.words import many

    store, _ = _store(originals)
    if not yes:
        whose = "every original" if tenant is None else f"the originals of {tenant}"
        typer.confirm(f"Delete {whose} from {store.place.name}?", abort=True)
    gone = store.purge() if tenant is None else store.purge_tenant(tenant)
    typer.echo(f"deleted {many(gone, 'original')}")


def _store(originals: str | None) -> tuple[Originals, str | None]:
    """Return the store, by default the one that the settings name, and the settings' tenant."""
    from llmsaver import settings
    from llmsaver.prompt.originals import Originals

    loaded = settings.load({"originals": originals})
    return Originals(loaded.originals, loaded.ledger), loaded.tenant
