"""What is said of batches on a terminal."""

from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console

from llmsaver.batch import BatchFailure, BatchResult, Progress
from llmsaver.ledger.batches import BatchPart, BatchRun
from llmsaver.reporting.batch_view import (
    Bar,
    cost_of,
    list_as_text,
    run_as_json,
    runs_as_json,
    status_as_text,
    summary,
)

RUN = BatchRun("b1", 0.0, 60.0, "openai", "https://x/", "open", "f", 10, 4, 1, 250_000_000, source="r", out="/o")


def step(**changes: object) -> Progress:
    fields = {"batch": "b1", "doing": "1 of 2 jobs done", "total": 4, "answered": 2, "failed": 0, "spent_nano": 10**9}
    return Progress(**{**fields, "expected_nano": None, "bound_nano": None, **changes})  # type: ignore[arg-type]  # mixed


def test_the_bar_shows_how_far_it_is_and_what_it_costs() -> None:
    out = io.StringIO()
    with Bar(Console(file=out, force_terminal=True, width=120)) as bar:
        bar(step(expected_nano=2 * 10**9))
    assert "b1: 1 of 2 jobs done" in out.getvalue()
    assert "2/4" in out.getvalue()
    assert "$1.00 so far, $2.00 expected" in out.getvalue()
    assert cost_of(step()) == "$1.00 so far"
    assert cost_of(step(bound_nano=3 * 10**9)) == "$1.00 so far, at most $3.00"
    quiet = io.StringIO()
    with Bar(Console(file=quiet)) as bar:
        bar(step())
    assert quiet.getvalue().strip() == ""


def test_the_summary_lists_what_has_no_answer() -> None:
    good = BatchResult("b1", "openai", "finished", 2, 2, (), 10**9, Path("/o"))
    assert summary(good) == ["batch b1: 2 of 2 requests answered via openai for $1.00", "answers in /o"]
    failures = tuple(BatchFailure(f"c{n}", n, "503: busy\n") for n in range(1, 24))
    lines = summary(BatchResult("b1", "flex", "stopped", 24, 1, failures, 0, why="the limit"))
    assert lines[1] == "stopped: the limit"
    assert lines[2] == "  no answer to request 1 (c1): 503: busy?"
    assert "  and 3 more requests" in lines
    assert lines[-1].startswith("run the same command again")
    assert "more" not in "".join(summary(BatchResult("b", "flex", "incomplete", 1, 0, failures[:1], 0)))


def test_runs_and_jobs() -> None:
    assert list_as_text([], 1.0)[0].startswith("no batch has been run yet")
    (line,) = list_as_text([RUN], 120.0)
    assert line.split() == ["b1", "open", "openai", "4", "of", "10", "$0.25", "2", "min", "ago", "/o"]
    part = BatchPart("b1", 0, "t", "0-9", "/u", "sent", 10, job="batch_1")
    bad = BatchPart("b1", 1, "t", "0-9", "/u", "refused", 10, error="full")
    lines = status_as_text(RUN, [part, bad], 120.0)
    assert lines[0] == "batch b1 is open: 4 of 10 requests answered, 1 failed, $0.25 spent"
    assert lines[2:] == [
        "  job 1: 10 requests, sent, batch_1",
        "  job 2: 10 requests, refused (full)",
        "to go on: llmsaver batch run r --out /o",
    ]
    done = BatchRun("b2", 0.0, 0.0, "local", "local", "finished", "f", 1, limit_nano=10**9)
    assert status_as_text(done, [], 1.0)[-1] == "limit $1.00"
    again = BatchRun("b2", 0.0, 0.0, "local", "local", "stopped", "f", 1, source="r")
    assert status_as_text(again, [], 1.0)[-1] == "to go on: llmsaver batch run r"
    assert json.loads(run_as_json(RUN, [part]))["parts"][0]["job"] == "batch_1"
    assert json.loads(runs_as_json([RUN]))[0]["id"] == "b1"
