"""The commands that measure a local tier: how fast it is, and how well it answers."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it
from typing import Annotated

import typer

from llmsaver.cli.first import INTERRUPTED

__all__ = ["bench_command", "check_command"]

Json = Annotated[bool, typer.Option("--json", help="Write JSON for a machine.")]


def bench_command(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="A name of llmsaver local list, or a GGUF file's path.")],
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Half a minute, and rougher.")] = False,
    hourly: Annotated[
        float | None, typer.Option("--hourly", min=0.0, metavar="USD", help="What an hour of the machine costs.")
    ] = None,
    longest: Annotated[float, typer.Option("--longest", min=1.0, help="Seconds after which nothing is begun.")] = 300.0,
    as_json: Json = False,
) -> None:
    """Measure tokens per second at 1 to 8 calls at once, the time to a first token, and what a million tokens cost."""
    from decimal import Decimal

    from llmsaver.reporting import local_bench, local_bench_view

    rate = None if hourly is None else Decimal(str(hourly))
    try:
        with local_bench_view.watched(name) as told:
            made = local_bench.bench(name, hourly_usd=rate, quick=quick, longest_s=longest, told=told)
    except KeyboardInterrupt:  # before there was anything to show
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        typer.echo(local_bench.as_json(made))
    else:
        local_bench_view.as_text(made)
    if made.stopped:
        raise typer.Exit(INTERRUPTED)


def check_command(  # noqa: PLR0913 - a command's options
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model to look at: a local or a paid one's name.")],
    *,
    against: Annotated[str, typer.Option("--against", metavar="REF", help="The model whose answers are right.")],
    rows: Annotated[
        Path, typer.Option("--data", metavar="FILE", help="Prompts: JSON lines, CSV (column prompt) or a line each.")
    ],
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many of its rows.")] = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Of an answer, where a row says none.")] = 256,
    worst: Annotated[int, typer.Option("--worst", min=0, help="How many of the worst rows to show.")] = 5,
    min_same: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Least share that says the same.")] = None,
    min_exact: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Least share of equal answers.")] = None,
    min_json: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Least share of equal JSON.")] = None,
    min_f1: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Least mean token F1.")] = None,
    min_embedding: Annotated[float | None, typer.Option(min=-1.0, max=1.0, help="Least mean cosine.")] = None,
    max_logprob_drop: Annotated[
        float | None, typer.Option(min=0.0, help="By how much the log-probability may fall.")
    ] = None,
    max_errors: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Which share of rows may fail under a tolerance.")
    ] = 0.05,
    as_json: Json = False,
) -> None:
    """Put the prompts of a file to two models and say how far their answers agree.

    Exits with 1 where a --min or --max is not kept to, or no row was answered by both.
    """
    from llmsaver.reporting import local_check, local_check_view
    from llmsaver.reporting.local_prompts import prompts_of

    least = (min_same, min_exact, min_json, min_f1, min_embedding, max_logprob_drop)
    tolerance = local_check.Tolerance(*least, errors=1.0 if set(least) == {None} else max_errors)
    prompts = prompts_of(rows, limit)
    embedder = local_check.embedder_here()
    with local_check_view.watched(model, len(prompts)) as told:
        made = local_check.check(model, against, prompts, embedder=embedder, max_tokens=max_tokens, told=told)
    broken = tolerance.broken(made)
    if as_json:
        typer.echo(local_check.as_json(made, broken))
    else:
        local_check_view.as_text(made, broken, worst=worst)
    if made.stopped:
        raise typer.Exit(INTERRUPTED)
    if broken:
        raise typer.Exit(1)
