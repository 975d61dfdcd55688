"""How long a report takes and how much memory, over a ledger of a million calls.

    python benchmarks/report.py --json            # 1,000,000 rows
    python benchmarks/report.py --json --quick    # 50,000 rows

The rows are made up (``llmsaver.testing.rows``: 30 days, five features, four models, 2,000 users, 40 tenants), written
straight into the table and folded into the sums by the ledger itself, as programs that write do by and by. Each report
is read three times by processes of their own, whose peak memory is told beside the median time of ``report()``; the
command's own start and the day of the price table (a fifth of a second, told apart) come on top.

Prediction, written before the first run: a report reads sums, not rows, some 1,500 daily lines for this many features
and models, whatever the number of calls; at 50 to 80 us for a line and its two histograms that is 0.1 s for each of
the three cuts of a report by feature (its own, models, days), 0.3 s in all against 0.5 s wanted. By user there are
2,000 x 30 lines, so 2 to 3 s. Memory: under 100 MB, nearly all of it Python and SQLAlchemy.

Found (Python 3.11, two shared cores, 1,000,000 rows, 352 MB): by feature 56 ms, its last 7 days 53 ms, by tenant 97 ms,
by user 799 ms; peak memory 60 MB, by user 129 MB, of which 57 MB are Python with SQLAlchemy. Faster than predicted: the
ledger now keeps sums by feature, model and tier apart, and reads a line's histograms in one go. Since only as many
lines as are shown are read in full, and the other names ranked by the database, a report by user takes 120 ms of a core
(its last 7 days 125 ms) and one by 159,000 tasks 260 ms: 262 and 509 ms on the clock while eight other programs shared
the two cores.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from llmsaver.ledger import Ledger, Salt
from llmsaver.ledger.rows import CALL_COLUMNS, call_values
from llmsaver.testing.rows import call_rows, task_rows

NOW = 1_795_000_000.0
CUTS = ("feature", "model", "day", "tenant", "user", "task")
WANTED_MS = 500.0
RUNS = 3


def build(path: Path, count: int) -> tuple[float, float]:
    """Make the ledger; return the seconds that the rows and their folding took."""
    began = time.perf_counter()
    names = ", ".join(f'"{name}"' for name in CALL_COLUMNS)
    with Ledger(path, salt=Salt(path.with_name("salt"))) as ledger:
        connection = sqlite3.connect(path)
        with connection:
            connection.executemany(
                f"INSERT INTO calls ({names}) VALUES ({', '.join('?' * len(CALL_COLUMNS))})",  # noqa: S608 - our names
                (call_values(row) for row in call_rows(count, ends_at=NOW)),
            )
        connection.close()
        for task in task_rows(count // 100, ends_at=NOW):
            ledger.write_task(task)
        written = time.perf_counter()
        ledger.fold()
    return written - began, time.perf_counter() - written


def measure(path: Path, by: str, since: float | None) -> dict[str, Any]:
    """Read one report in this process; return its milliseconds, and the process's peak memory in MB."""
    from llmsaver.reporting.report import list_prices_as_of, report
    from llmsaver.reporting.report_view import described

    bare = _peak_mb()
    began = time.perf_counter()
    made = report(Ledger(path), by, since=since, now=NOW, top=20)
    read = time.perf_counter()
    lines = list(described(made))
    drawn, peak = time.perf_counter(), _peak_mb()
    list_prices_as_of()
    dated = time.perf_counter()
    return {
        "calls": made.total.calls,
        "lines": len(made.lines),
        "shown": len(lines),
        "report_ms": 1e3 * (read - began),
        "draw_ms": 1e3 * (drawn - read),
        "prices_date_ms": 1e3 * (dated - drawn),
        "peak_mb_before": bare,
        "peak_mb": peak,
    }


def _peak_mb() -> float:
    """Return this process's peak memory; what getrusage says on Linux counts the process it was forked from too."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1e3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def apart(path: Path, by: str, since: float | None) -> dict[str, Any]:
    """Measure in processes of their own and return the medians."""
    command = [sys.executable, __file__, "--one", str(path), "--by", by]
    command += [] if since is None else ["--since", str(since)]
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603 - ourselves
        for _ in range(RUNS)
    ]
    return {name: round(statistics.median(run[name] for run in runs), 1) for name in runs[0]}


def main() -> None:
    """Build, measure, print; ends with 1 where a report takes longer than is wanted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--one", type=Path)
    parser.add_argument("--by", default="feature")
    parser.add_argument("--since", type=float)
    options = parser.parse_args()
    if options.one is not None:
        sys.stdout.write(json.dumps(measure(options.one, options.by, options.since)))
        return
    count = 50_000 if options.quick else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        insert_s, fold_s = build(path, count)
        cuts = {by: apart(path, by, None) for by in CUTS}
        cuts["feature, last 7 days"] = apart(path, "feature", NOW - 7 * 86_400)
        size = path.stat().st_size
    told = {
        "python": platform.python_version(),
        "rows": count,
        "ledger_mb": round(size / 1e6, 1),
        "insert_s": round(insert_s, 1),
        "fold_s": round(fold_s, 1),
        "wanted_ms": WANTED_MS,
        "reports": cuts,
    }
    if options.json:
        print(json.dumps(told, indent=2))
    else:
        print(f"{count:,} rows, {told['ledger_mb']} MB; written in {insert_s:.1f} s, folded in {fold_s:.1f} s")
        for by, found in cuts.items():
            print(f"by {by:<22}{found['report_ms']:>9.1f} ms {found['peak_mb']:>8.1f} MB {found['lines']:>8} lines")
    # A short run is for seeing that it works: how long it takes says little on a machine that does other things too.
    if not options.quick and max(found["report_ms"] for found in cuts.values()) > WANTED_MS:
        sys.exit(1)


if __name__ == "__main__":
    main()
