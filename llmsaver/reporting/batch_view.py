"""Batches on a terminal: a bar while one runs, a summary when it ends, and what runs there are."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from llmsaver.reporting.words import count, lasting, many, minute, money, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmsaver.ledger.batches import BatchPart, BatchRun

__all__ = ["Bar", "list_as_text", "run_as_json", "runs_as_json", "status_as_text", "summary"]

_LISTED = 20


class Bar:
    """A progress bar on standard error, with the cost so far and the cost expected; silent where nobody looks."""

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        parts = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[cost]}"))
        self._bars = Bars(*parts, TimeElapsedColumn(), console=console, disable=not console.is_terminal)
        self._task = self._bars.add_task("reading", total=None, cost="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def __call__(self, told: Any) -> None:
        """Show a step of a run (``batch.Progress``)."""
        doing = f"{told.batch}: {told.doing}"
        self._bars.update(self._task, description=doing, total=told.total, completed=told.answered, cost=cost_of(told))


def cost_of(told: Any) -> str:
    """Say what a run has cost, and what it will, or at most may."""
    spent = f"{money(told.spent_nano)} so far"
    if told.expected_nano is not None:
        return f"{spent}, {money(told.expected_nano)} expected"
    return spent if told.bound_nano is None else f"{spent}, at most {money(told.bound_nano)}"


def summary(result: Any) -> list[str]:
    """Return the lines that say what came of a run (``batch.BatchResult``)."""
    head = f"batch {result.batch}: {count(result.answered)} of {many(result.total, 'request')} answered"
    lines = [f"{head} via {result.via} for {money(result.spent_nano)}"]
    if result.why:
        lines.append(f"stopped: {result.why}")
    lines += [
        f"  no answer to request {failure.number} ({shown(failure.custom_id)}): {shown(failure.reason)}"
        for failure in result.failures[:_LISTED]
    ]
    more = len(result.failures) - _LISTED
    if more > 0:
        lines.append(f"  and {many(more, 'more request')}")
    if result.out is not None:
        lines.append(f"answers in {result.out}")
    if result.failures:
        lines.append("run the same command again to go on with those that failed for now")
    return lines


def list_as_text(runs: Sequence[BatchRun], now: float) -> list[str]:
    """Return one line for each run, newest first."""
    if not runs:
        return ["no batch has been run yet: llmsaver batch run requests.jsonl --out answers.jsonl"]
    return [
        f"{run.id}  {run.state:<10}  {run.via:<9}  {run.answered:>7,} of {run.total:,}"
        f"  {money(run.spent_nano)}  {lasting(now - run.created_at)} ago" + (f"  {run.out}" if run.out else "")
        for run in runs
    ]


def status_as_text(run: BatchRun, parts: Sequence[BatchPart], now: float) -> list[str]:
    """Return what is known of a run and of each of its jobs."""
    done = f"{count(run.answered)} of {many(run.total, 'request')} answered, {count(run.failed)} failed"
    when = f"begun {minute(run.created_at)} UTC, last step {lasting(now - run.updated_at)} ago"
    lines = [
        f"batch {run.id} is {run.state}: {done}, {money(run.spent_nano)} spent",
        f"via {run.via} at {run.host}, {when}",
    ]
    if run.limit_nano is not None:
        lines.append(f"limit {money(run.limit_nano)}")
    for part in parts:
        told = f"  job {part.n + 1}: {many(part.count, 'request')}, {part.state}"
        lines.append(told + (f", {part.job}" if part.job else "") + (f" ({shown(part.error)})" if part.error else ""))
    if run.source and run.state != "finished":
        lines.append(f"to go on: llmsaver batch run {run.source}" + (f" --out {run.out}" if run.out else ""))
    return lines


def run_as_json(run: BatchRun, parts: Sequence[BatchPart]) -> str:
    """Return a run and its jobs for a machine."""
    return json.dumps({**asdict(run), "parts": [asdict(part) for part in parts]})


def runs_as_json(runs: Sequence[BatchRun]) -> str:
    """Return runs for a machine."""
    return json.dumps([asdict(run) for run in runs])
