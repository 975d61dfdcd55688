"""The commands for somebody new: the demo and the doctor."""

from __future__ import annotations

import json
from typing import Annotated

import typer

__all__ = ["INTERRUPTED", "demo_command", "doctor_command"]

INTERRUPTED = 130  # 128 + SIGINT, as shells report it


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
        raise typer.Exit(INTERRUPTED) from None
    if report.failures:
        raise typer.Exit(1)


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
