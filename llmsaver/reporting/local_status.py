"""The servers that run: their state, and the last lines of their logs."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from llmsaver.errors import LocalModelError
from llmsaver.local import status
from llmsaver.local.catalogue import did_you_mean
from llmsaver.local.diagnosis import tail
from llmsaver.reporting.layout import Column, columns
from llmsaver.reporting.local_view import gigabytes
from llmsaver.reporting.words import lasting, percent, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from llmsaver.local.status import ServerState

__all__ = ["as_json", "as_text", "lines_of", "log_of", "stopped"]

_NONE = (
    "No local model is running. The first call to one starts it;\nllmsaver local serve MODEL --daemon keeps it running."
)
_MIB, _NAME = 1024 * 1024, 24
_POLL_SECONDS = 0.5


def as_json(states: Sequence[ServerState], attached: Sequence[dict[str, Any]] = ()) -> str:
    """Return the servers as JSON, an object each, and those that are attached; no key is in it."""
    told = [{**asdict(state), "log": str(state.log), "state": _state(state)} for state in states]
    return json.dumps({"servers": told, "attached": list(attached)}, indent=2)


def as_text(states: Sequence[ServerState], console: Console | None = None) -> None:
    """Write a line per server."""
    out = console or Console(highlight=False)
    if not states:
        out.print(Text(_NONE), soft_wrap=True)
        return
    names = [shown(state.model) for state in states]
    table = [
        Column("model", names, left=True, least=min(_NAME, max(map(len, names)))),
        Column("state", [_state(state) for state in states], left=True),
        Column("up", [lasting(state.up_s) for state in states]),
        Column("busy", [percent(state.busy_s / state.up_s if state.up_s > 0 else 0.0) for state in states], rank=3),
        Column("programs", [str(state.leases) for state in states], rank=2),
        Column("slots", [f"{state.slots} x {state.context:,}" for state in states], rank=4),
        Column("memory", [gigabytes(None if state.rss_mib is None else state.rss_mib * _MIB) for state in states]),
        Column("pid", [str(state.child) for state in states], rank=1),
    ]
    head, *lines = columns(table, out.width, ascii_only=out.options.ascii_only)
    out.print(Text(head, style="bold"), soft_wrap=True)
    for line in lines:
        out.print(Text(line), soft_wrap=True)


def stopped(names: Sequence[str], *, every: bool = False) -> list[str]:
    """Stop the servers of these names, or every one, and return the names of those that were stopped.

    Raises LocalModelError for a name of which nothing runs.
    """
    states = status.running()
    there = {state.model for state in states} | {state.key for state in states}
    asked = [state.key for state in states] if every else [name.removeprefix("local/") for name in names]
    for name in asked:
        if name not in there:
            models = sorted({state.model for state in states})
            raise LocalModelError(
                f"local/{name} is not running (running: {', '.join(models) or 'none'}){did_you_mean(name, models)}"
            )
    by_key = {state.key: state.model for state in states}
    return [by_key.get(name, name) for name in asked if status.stop(name)]


def log_of(name: str) -> Path:
    """Return the log of a model's server, or of its last one that failed; LocalModelError where there is none."""
    path = status.log_path(name.removeprefix("local/"))
    if path is None:
        raise LocalModelError(f"there is no log of local/{name}: it does not run, and an orderly end leaves none")
    return path


def lines_of(
    path: Path, count: int, *, follow: bool = False, sleep: Callable[[float], object] = time.sleep
) -> Iterator[str]:
    """Yield the log's last lines, then, where asked to ``follow``, each new one until the log is gone."""
    at = path.stat().st_size
    yield from tail(path)[-count:] if count else ()
    while follow:
        sleep(_POLL_SECONDS)
        try:
            with path.open("rb") as file:
                at = at if file.seek(0, 2) >= at else 0  # a log that grew too long is emptied
                file.seek(at)
                whole, line_end, _ = file.read().rpartition(b"\n")
        except OSError:
            return
        at += len(whole) + len(line_end)
        yield from whole.decode("utf-8", "replace").splitlines()


def _state(state: ServerState) -> str:
    if state.address is None:
        return "loading"
    if state.calls:
        return "busy"
    return "asleep" if state.sleeping else "ready"
