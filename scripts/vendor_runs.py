"""One run of a vendor's suite: pytest under our plugin, its outcomes as a mapping, progress on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree, ignore_patterns
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from vendor_home import CHECKOUT, HOME, VendorSuiteError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vendor_home import Suite

# What CI runs: the client, streams, chat, responses and messages. A release without one of these files does without.
SHORT = {
    "openai": (
        "tests/test_client.py",
        "tests/test_data_residency_contract.py",
        "tests/test_httpx2_base.py",
        "tests/test_httpx_compat.py",
        "tests/test_legacy_response.py",
        "tests/test_module_client.py",
        "tests/test_response.py",
        "tests/test_sse_framing.py",
        "tests/test_stream_mode.py",
        "tests/test_streaming.py",
        "tests/test_x509_workload_identity_regressions.py",
        "tests/lib/chat",
        "tests/lib/responses",
        "tests/lib/test_azure.py",
    ),
    "anthropic": (
        "tests/test_client.py",
        "tests/test_exceptions.py",
        "tests/test_header_case_sensitivity.py",
        "tests/test_middleware.py",
        "tests/test_response.py",
        "tests/test_streaming.py",
        "tests/lib/_parse",
        "tests/lib/streaming",
        "tests/lib/test_client_copy.py",
        "tests/lib/test_credentials.py",
    ),
}
_SETTLED_BY_US = ("LLMSAVER_", "OPENAI_", "ANTHROPIC_", "AZURE_OPENAI_", "AWS_", "PYTEST_", "PYTHON")
# A suite that reports nothing for this long hangs; faulthandler has then written where.
STALLED_AFTER_S = 240
_SHOW_EVERY_S = 20
# More failures than this mean that the checkout is broken, which nobody wants to wait for; bare runs have under 100.
_GIVE_UP_AFTER = 500


@dataclass(frozen=True)
class Outcome:
    """How one test ended: ``outcome`` is pytest's word, ``why`` the failure's text."""

    outcome: str
    why: str = ""

    @property
    def passed(self) -> bool:
        """Whether it passed; skipped or missing is not passed."""
        return self.outcome == "passed"


Outcomes = dict[str, Outcome]
MISSING = Outcome("missing", "never reported")


@dataclass(frozen=True)
class Run:
    """What to run: ``classes`` is vanilla, bare or llmsaver; ``part`` is all or short; ``workers`` pytest-xdist's."""

    suite: Suite
    python: Path
    classes: str
    part: str
    annotate: bool = False
    workers: int = 2

    @property
    def title(self) -> str:
        """Name the run in one phrase."""
        return f"{self.suite.name} {self.suite.version}, {self.classes}{' annotated' if self.annotate else ''}"


def targets(suite: Suite, part: str) -> list[str]:
    """Return pytest's arguments for a part; tests/api_resources needs a mock server and is always left out."""
    chosen = [path for path in SHORT[suite.name] if (suite.folder / path).exists()] if part == "short" else ["tests"]
    return [*chosen, "--ignore=tests/api_resources"]


def run(job: Run, only: Iterable[str] | None = None) -> Outcomes:
    """Run a suite and return every test's outcome; ``only``: just these tests, one after the other, in full words.

    Raises ``VendorSuiteError`` where pytest itself fails or nothing is reported for ``STALLED_AFTER_S``.
    """
    logs = HOME / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{job.suite.name}-{job.suite.version}-{job.classes}{'-alone' if only is not None else ''}.txt"
    with TemporaryDirectory(prefix="vendor-suites-") as scratch:
        outcomes = Path(scratch) / "outcomes.jsonl"
        outcomes.touch()
        # A copy: someone may edit the checkout during a long run, and its tests/ must not shadow the suite's.
        copytree(CHECKOUT / "llmsaver", Path(scratch) / "ours" / "llmsaver", ignore=ignore_patterns("__pycache__"))
        command = [str(job.python), "-m", "pytest", "-p", "vendor_plugin", "--color=no", f"--maxfail={_GIVE_UP_AFTER}"]
        command += ["-o", "faulthandler_timeout=120", "-o", f"cache_dir={scratch}/cache", f"--basetemp={scratch}/base"]
        if only is None:
            command += ["-q", "-n", str(job.workers), *targets(job.suite, job.part)]
        else:
            listed = Path(scratch) / "only.txt"
            listed.write_text("\n".join(only) + "\n", encoding="utf-8")
            command += ["-n", "0", "-vv", "-o", "verbosity_assertions=3", f"@{listed}"]
        with log.open("w", encoding="utf-8") as written:
            child = subprocess.Popen(  # noqa: S603 - the python of our own environment
                command, cwd=job.suite.folder, env=_environ(job, scratch, outcomes), stdout=written, stderr=written
            )
            _watch(child, job, outcomes, log)
        found = read(outcomes)
    # 0: all passed, 1: some failed. Anything else is pytest's own failure, and no outcome can be trusted.
    if child.returncode not in {0, 1}:
        tail = "\n  ".join(log.read_text(encoding="utf-8").splitlines()[-15:])
        raise VendorSuiteError(f"{job.title}: pytest ended with {child.returncode}; see {log}\n  {tail}")
    return found


def read(path: Path) -> Outcomes:
    """Read the plugin's file; the last word on a test counts, half a line from a killed run does not."""
    found: Outcomes = {}
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            row = json.loads(line)
            found[row["id"]] = Outcome(row["outcome"], row["why"])
    return found


def write(path: Path, outcomes: Outcomes) -> None:
    """Keep outcomes in the plugin's own format; complete or not at all."""
    lines = (json.dumps({"id": name, "outcome": end.outcome, "why": end.why}) for name, end in outcomes.items())
    partial = path.with_suffix(".partial")
    partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    partial.replace(path)


def counts(outcomes: Outcomes) -> str:
    """Return for example "6,044 passed, 57 failed, 31 skipped"."""
    tally = Counter(end.outcome for end in outcomes.values())
    return ", ".join(f"{number:,} {word}" for word, number in tally.most_common()) or "no tests"


def _environ(job: Run, scratch: str, outcomes: Path) -> dict[str, str]:
    """Return an environment without this machine's keys, proxies or settings, in which we write only to ``scratch``."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_SETTLED_BY_US) and not name.upper().endswith("_PROXY")
    }
    for place in ("DATA", "STATE", "CACHE", "CONFIG"):
        kept[f"XDG_{place}_HOME"] = f"{scratch}/{place.lower()}"
    kept |= {
        "VENDOR_SUITE": job.suite.name,
        "VENDOR_CLASSES": job.classes,
        "VENDOR_OUTCOMES": str(outcomes),
        "PYTHONPATH": os.pathsep.join([f"{scratch}/ours", str(CHECKOUT / "scripts")]),
    }
    if job.annotate:
        kept["LLMSAVER_ANNOTATE"] = "1"
    return kept


def _watch(child: subprocess.Popen[bytes], job: Run, outcomes: Path, log: Path) -> None:
    """Show progress until the child ends; stop it where it stalls, and on Ctrl-C wait for it to clean up."""
    started = moved = shown = time.monotonic()
    size = 0
    try:
        while child.poll() is None:
            time.sleep(0.5)
            now = time.monotonic()
            if outcomes.stat().st_size != size:
                size, moved = outcomes.stat().st_size, now
            if now - moved > STALLED_AFTER_S:
                raise VendorSuiteError(f"{job.title}: nothing for {STALLED_AFTER_S} s; see the stacks in {log}")
            if now - shown > (1 if sys.stdout.isatty() else _SHOW_EVERY_S):
                shown = now
                _show(f"{job.title}: {counts(read(outcomes))} after {now - started:.0f} s")
    finally:
        if child.poll() is None:
            _stop(child)
        _show("")


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End a run: pytest gets time to end its workers, since killing it would leave them behind."""
    child.terminate()
    try:
        child.wait(timeout=15)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _show(text: str) -> None:
    """Write one progress line: in place on a terminal, plainly in a log."""
    if sys.stdout.isatty():
        print(f"\r\033[K{text}", end="", flush=True)
    elif text:
        print(text, flush=True)
