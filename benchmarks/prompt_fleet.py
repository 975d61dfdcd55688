"""Whether processes that share a ledger plan provider caches better than each does alone.

    python benchmarks/prompt_fleet.py [--json] [--quick] [--data FOLDER]

The workloads and simulated providers of ``prompt.py``. "fleet": requests go round-robin to eight workers, each with a
``PromptCache`` of its own, on one real SQLite ledger; a call's row is written five seconds after it began, and a worker
reads the others' when the real layer does. "jobs": one process after another makes eight requests and ends. "alone":
the same without the ledger; "one": a single process that makes every request. "net" is what is saved of the input's
price, write fees paid.

Written before the first run: a fleet that shares gets within 1 % of one process, and one that does not loses 5 % of the
saving where a worker sees a prefix seldom.
Learned (--quick): sharing saves 96.9 % of what one process saves, each alone 81.9 %; jobs 94.7 % and 90.1 %, since a
job's first request is planned before anything is read. An opening counted as failed before the others' rows were read
cost 2.5 points on agents, whose calls hop between workers; nothing is given up now before it is known.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from prompt import dice
from prompt_replays import PROVIDERS, READ, WORKLOADS, oracle, requests_of, trajectories

from llmsaver.core.entry import Entry
from llmsaver.core.request import Request
from llmsaver.core.response import Response
from llmsaver.core.runtime import SyncRuntime, drive
from llmsaver.ledger import CallRow, Ledger, Salt
from llmsaver.middleware.prompt_cache import PromptCache
from llmsaver.pricing import PriceBook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

WORKERS, JOB = 8, 8
ANSWER_S = 5.0
BEGAN = 1e9
Sent = list[tuple[float, dict[str, Any]]]
BOOK = PriceBook()


class Later(SyncRuntime):
    """Runs background work after the call that asked for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Callable[[], object]] = []

    def detach(self, fn: Callable[[], object]) -> bool:
        """Keep it until ``work``."""
        self.waiting.append(fn)
        return True

    def work(self) -> None:
        """Do what is waiting."""
        while self.waiting:
            self.waiting.pop(0)()


class Worker:
    """A process with a stack of one layer; ids of its calls are its own."""

    def __init__(self, number: int, ledger: Ledger | None) -> None:
        self.layer = PromptCache()
        self.layer.use_books(BOOK, ledger)
        self.runtime = Later()
        self.series = f"e{number:020x}"
        self.calls = 0

    def entry(self, dialect: str, model: str) -> Entry:
        """Return the record of its next call."""
        self.calls += 1
        return Entry(dialect, model, feature="replay", id=f"{self.series}{self.calls:06x}")


def replay(sent: Sent, dialect: str, url: str, simulation: Any, *, worker_of: Callable[[int], int], ledger: Any) -> Any:
    """Return the price of the input without a cache, and with the workers' marks."""
    workers: dict[int, Worker] = {}
    rows: list[tuple[float, CallRow]] = []
    plain = billed = 0.0
    now = BEGAN

    async def below(request: Request) -> Response:
        nonlocal plain, billed
        bill = simulation.bill(request.body, now)
        billed += bill.cost(READ)
        plain += bill.read + bill.plain + sum(bill.written.values())
        row = CallRow.of(request.entry, cache_read_tokens=bill.read, cache_write_tokens=sum(bill.written.values()))
        row.started_at, row.status = now, 200
        rows.append((now + ANSWER_S, row))
        return Response(200, {}, content=b"{}")

    with (
        mock.patch.object(time, "time", side_effect=lambda: now),
        mock.patch.object(time, "monotonic", side_effect=lambda: now),
    ):
        for number, (at, body) in enumerate(sent):
            now = BEGAN + at
            while ledger is not None and rows and rows[0][0] <= now:
                ledger.write(rows.pop(0)[1])
            which = worker_of(number)
            if which not in workers:
                workers[which] = Worker(which, ledger)
            worker = workers[which]
            entry = worker.entry(dialect, body["model"])
            drive(worker.layer(Request(dialect, body, url, entry, worker.runtime), below))
            worker.runtime.work()
    return plain, billed


def compared(sent: Sent, provider: str, worker_of: Callable[[int], int]) -> dict[str, float]:
    """Return the input's price in plain tokens: as sent, by workers together, each alone, and in one process."""
    dialect, _, url, simulation, write = PROVIDERS[provider]
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "l.db", salt=Salt(f"{folder}/salt")) as ledger:
        plain, together = replay(sent, dialect, url, simulation(), worker_of=worker_of, ledger=ledger)
    _, alone = replay(sent, dialect, url, simulation(), worker_of=worker_of, ledger=None)
    _, one = replay(sent, dialect, url, simulation(), worker_of=lambda _: 0, ledger=None)
    return {
        "plain": plain,
        "together": together,
        "alone": alone,
        "one": one,
        "oracle": oracle(dialect, sent, write),
    }


def told(sums: Mapping[str, float]) -> dict[str, float]:
    """Return the shares of the plain price that are saved."""
    return {name: round(1 - price / sums["plain"], 4) for name, price in sums.items() if name != "plain"}


def measured(folder: Path, *, quick: bool) -> dict[str, Any]:
    """Return the savings by kind of fleet, workload and provider, and over all of them."""
    talks = trajectories(folder)
    shapes: Mapping[str, Callable[[int], int]] = {"fleet": lambda n: n % WORKERS, "jobs": lambda n: n // JOB}
    result: dict[str, Any] = {}
    for shape, worker_of in shapes.items():
        total = dict.fromkeys(("plain", "together", "alone", "one", "oracle"), 0.0)
        rows: dict[str, Any] = {}
        for name, make in WORKLOADS.items():
            events = make(talks, dice(), 120 if quick else 600)
            for provider in ("anthropic", "openai"):
                dialect, model, *_ = PROVIDERS[provider]
                sums = compared(list(requests_of(events, dialect, model)), provider, worker_of)
                rows[f"{name}; {provider}"] = told(sums)
                total = {key: total[key] + sums[key] for key in total}
        result[shape] = {"workloads": rows, "all": told(total)} | _gains(total, rows.values())
    return result


def _gains(total: Mapping[str, float], rows: Sequence[Mapping[str, float]] | Any) -> dict[str, float]:
    """Return the shares of one process's saving, and what the worst workload loses by sharing."""
    whole = total["plain"] - total["one"]
    return {
        "together_of_one": round((total["plain"] - total["together"]) / whole, 4),
        "alone_of_one": round((total["plain"] - total["alone"]) / whole, 4),
        "worst_against_alone": round(min(row["together"] - row["alone"] for row in rows), 4),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", type=Path, default=os.environ.get("LLMSAVER_DATA"))
    asked = parser.parse_args()
    if asked.data is None:
        raise SystemExit("name a folder with agent_trajectory_*.json.gz: --data, or LLMSAVER_DATA")
    result = measured(Path(asked.data), quick=asked.quick)
    if asked.json:
        json.dump(result, sys.stdout)
        return
    for shape, found in result.items():
        for name, row in found["workloads"].items():
            sys.stdout.write(f"{shape:6} {name:52} " + "  ".join(f"{k} {v:6.1%}" for k, v in row.items()) + "\n")
        sys.stdout.write(f"{shape:6} {'all':52} " + "  ".join(f"{k} {v:6.1%}" for k, v in found["all"].items()))
        shares = {key: value for key, value in found.items() if key not in {"workloads", "all"}}
        sys.stdout.write("  " + "  ".join(f"{key} {value:.1%}" for key, value in shares.items()) + "\n\n")


if __name__ == "__main__":
    main()
