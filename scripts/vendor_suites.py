"""Runs the test-suites of openai and anthropic against llmsaver's drop-in classes.

The measure: whatever passes under a bare subclass of the vendor's client passes under ours. ``--compare`` holds us to
it; exit status 0: nothing lost, 1: tests lost, 2: the suites could not be run, 130: interrupted.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import vendor_runs as runs
from vendor_home import HOME, LINES, VendorSuiteError, fingerprint, prepare

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from vendor_home import Suite
    from vendor_runs import Outcomes, Run

# How a failing test shows the key that --annotate adds to a body: as a dict's key or as a pydantic field.
_ADDED_KEY = re.compile(r"""["']llmsaver["']|\bllmsaver=""")


@dataclass(frozen=True)
class Verdict:
    """What a comparison found: ``lost`` pass bare but not with ours; ``key_only`` differ by the added key alone."""

    kept: int
    lost: Outcomes
    key_only: Outcomes
    flaky: list[str]
    gained: int


def options() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/vendor-suites", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--line", choices=sorted(LINES), default="main", help="which generation of SDKs (main)")
    parser.add_argument("--suite", choices=["openai", "anthropic"], help="one vendor only (both)")
    parser.add_argument("--part", choices=["all", "short"], default="all", help="short is what CI runs (all)")
    parser.add_argument("--classes", choices=["vanilla", "bare", "llmsaver"], default="llmsaver", help="whose classes")
    parser.add_argument("--annotate", action="store_true", help="ask llmsaver to add its key to answers")
    parser.add_argument("--compare", action="store_true", help="hold llmsaver's run against a bare subclass's")
    parser.add_argument("--refresh", action="store_true", help="measure the bare subclass again")
    parser.add_argument("--workers", type=int, default=2, help="processes at once (2)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked and return the exit status."""
    asked = options().parse_args(arguments)
    if asked.compare and asked.classes != "llmsaver":
        print("--compare holds llmsaver against bare: leave --classes out", file=sys.stderr)
        return 2
    # A cancelled CI job sends SIGTERM; it must not leave pytest's workers behind any more than Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _main(asked)
    except VendorSuiteError as error:
        print(f"vendor-suites: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nvendor-suites: interrupted", file=sys.stderr)
        return 130


def _main(asked: argparse.Namespace) -> int:
    HOME.mkdir(parents=True, exist_ok=True)
    suites, python = prepare(asked.line)
    chosen: list[Suite] = [suites[asked.suite]] if asked.suite else list(suites.values())
    status, summary = 0, []
    for suite in chosen:
        started = time.monotonic()
        job = runs.Run(suite, python, asked.classes, asked.part, annotate=asked.annotate, workers=asked.workers)
        if asked.compare:
            verdict = compare(job, refresh=asked.refresh)
            status |= bool(verdict.lost)
            line = _told(job, verdict)
        else:
            outcomes = runs.run(job)
            _list("not passed", {name: end for name, end in outcomes.items() if end.outcome in {"failed", "error"}})
            line = f"{job.title}, {job.part}: {runs.counts(outcomes)}"
        summary.append(f"{line} ({time.monotonic() - started:.0f} s)")
    print("\n".join(summary))
    return status


def compare(job: Run, *, refresh: bool) -> Verdict:
    """Run ours, and bare where no baseline is kept; what then fails alone too, where bare does not, is lost."""
    base = baseline(replace(job, classes="bare", annotate=False), refresh=refresh)
    ours = runs.run(job)
    kept = [name for name, end in base.items() if end.passed]
    suspects = [name for name in kept if not ours.get(name, runs.MISSING).passed]
    lost, key_only, flaky = judge(job, suspects) if suspects else ({}, {}, [])
    gained = sum(end.passed and not base.get(name, runs.MISSING).passed for name, end in ours.items())
    return Verdict(len(kept), lost, key_only, flaky, gained)


def baseline(job: Run, *, refresh: bool) -> Outcomes:
    """Return the bare subclass's outcomes, kept per machine and per whatever could change them."""
    name = fingerprint(job.python, job.suite, runs.targets(job.suite, job.part))
    path: Path = HOME / f"bare-{name}-{job.part}.jsonl"
    if refresh or not path.is_file():
        runs.write(path, runs.run(job))
    found = runs.read(path)
    print(f"{job.title}, {job.part}: {runs.counts(found)}", flush=True)
    return found


def judge(job: Run, suspects: list[str]) -> tuple[Outcomes, Outcomes, list[str]]:
    """Run suspects alone under both classes and sort them: lost, different by the added key alone, flaky."""
    print(f"{job.title}: running {len(suspects)} suspects alone", flush=True)
    bare = runs.run(replace(job, classes="bare", annotate=False), suspects)
    ours = runs.run(job, suspects)
    lost: Outcomes = {}
    key_only: Outcomes = {}
    flaky: list[str] = []
    for name in suspects:
        end = ours.get(name, runs.MISSING)
        if end.passed or not bare.get(name, runs.MISSING).passed:
            flaky.append(name)
        elif job.annotate and _ADDED_KEY.search(end.why):
            key_only[name] = end
        else:
            lost[name] = end
    return lost, key_only, flaky


def _told(job: Run, verdict: Verdict) -> str:
    """Print what a comparison found and return its summary line."""
    _list("lost", verdict.lost)
    _list("differs by the added key", verdict.key_only)
    for name in verdict.flaky:
        print(f"flaky: {name}")
    passing = verdict.kept - len(verdict.lost) - len(verdict.key_only)
    return (
        f"{job.title}, {job.part}: {passing:,} of {verdict.kept:,} that pass bare, {len(verdict.lost)} lost, "
        f"{len(verdict.key_only)} differ by the added key, {len(verdict.flaky)} flaky, {verdict.gained} gained"
    )


def _list(word: str, outcomes: Outcomes) -> None:
    for name, end in outcomes.items():
        first = next((line for line in end.why.splitlines() if line.strip()), end.outcome)
        print(f"{word}: {name}\n    {first[:200]}")


if __name__ == "__main__":
    sys.exit(main())
