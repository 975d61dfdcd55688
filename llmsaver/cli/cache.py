"""The commands of the stored answers: how many there are and what they saved, one of them, and deleting them."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from llmsaver.cache.caches import Caches

__all__ = ["cache_app"]

cache_app = typer.Typer(help="Stored answers: what they saved, one of them, deleting them.", no_args_is_help=True)

Where = Annotated[
    str | None,
    typer.Option("--cache", metavar="PATH|URL", help="The cache's file or SQLAlchemy URL; the setting's if left out."),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON for a machine.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@cache_app.command("stats")
def stats_command(*, as_json: Json = False, cache: Where = None) -> None:
    """Say how many answers are stored, how often they were served, and what that saved."""
    from llmsaver.reporting.cache_view import stats_as_text

    with_stats = caches_at(cache).stats()
    if as_json:
        typer.echo(json.dumps({name: value for name, value in with_stats.items() if name not in {"memory", "here"}}))
    else:
        stats_as_text(with_stats, time.time())


@cache_app.command("inspect")
def inspect_command(
    key: Annotated[str, typer.Argument(metavar="KEY", help="As llmsaver cache export says.")],
    *,
    as_json: Json = False,
    cache: Where = None,
) -> None:
    """Show one stored answer."""
    from llmsaver.reporting.cache_view import entry_as_text

    found = caches_at(cache).inspect(key)
    if found is None:
        typer.echo(f"no answer is stored under {key}", err=True)
        raise typer.Exit(1)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        entry_as_text(found, time.time())


@cache_app.command("invalidate")
def invalidate_command(
    *,
    tag: Annotated[str | None, typer.Option("--tag", help="Answers stored with this tag.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Answers of this model.")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Answers for this tenant.")] = None,
    feature: Annotated[str | None, typer.Option("--feature", help="Answers under this feature.")] = None,
    before: Annotated[
        str | None, typer.Option("--before", help="Answers from before then: 7d, 24h, today or 2026-11-01.")
    ] = None,
    cache: Where = None,
) -> None:
    """Delete the answers that match everything given; running programs follow within a second."""
    from llmsaver.reporting.moments import moment
    from llmsaver.reporting.words import many

    until = None if before is None else moment(before, time.time())
    gone = caches_at(cache).invalidate(tag=tag, model=model, tenant=tenant, feature=feature, before=until)
    typer.echo(f"deleted {many(gone, 'answer')}")


@cache_app.command("purge")
def purge_command(*, yes: Yes = False, cache: Where = None) -> None:
    """Delete every answer, and what was learned of them."""
    from llmsaver.reporting.words import many

    caches = caches_at(cache)
    stats = caches.stats()
    if not yes:
        typer.confirm(f"Delete {many(stats['entries'], 'answer')} from {stats['place']}?", abort=True)
    typer.echo(f"deleted {many(caches.purge(), 'answer')}")


@cache_app.command("export")
def export_command(*, cache: Where = None) -> None:
    """Write every stored answer as a line of JSON."""
    for entry in caches_at(cache).export():
        typer.echo(json.dumps(entry))


@cache_app.command("shadow")
def shadow_command(
    *,
    feature: Annotated[str | None, typer.Option("--feature", help="Of this feature alone.")] = None,
    as_json: Json = False,
    cache: Where = None,
) -> None:
    """Show what the semantic cache would serve at other promises, by what is known of your own traffic."""
    from llmsaver.reporting.cache_shadow import shadow_as_text

    found = caches_at(cache).shadow(feature)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        shadow_as_text(found)


def caches_at(cache: str | None) -> Caches:
    """Return the stored answers at a place, by default the one that the settings name."""
    from llmsaver import settings
    from llmsaver.cache.caches import Caches

    loaded = settings.load({"cache": cache})
    return Caches(loaded.cache, loaded.ledger, max_bytes=loaded.cache_mib << 20)
