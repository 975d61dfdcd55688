"""A pytest plugin that swaps client classes into a vendor's own test-suite and records every outcome.

It is loaded with ``-p vendor_plugin`` ahead of the suite's conftest, so ``from openai import OpenAI`` in a test already
means the class under test. It is steered by the environment, because pytest-xdist's workers inherit that:

``VENDOR_SUITE``     ``openai`` or ``anthropic``.
``VENDOR_CLASSES``   ``vanilla`` (no swap), ``bare`` (``class OpenAI(openai.OpenAI): pass``) or ``llmsaver``.
``VENDOR_OUTCOMES``  the file that gets one JSON object a test: ``{"id": ..., "outcome": ..., "why": ...}``.

Only names that users import are swapped. The SDKs' private modules keep their own classes: an SDK that asks
``type(client) is OpenAI`` must get the answer that a subclass would get in production.
"""

from __future__ import annotations

import importlib
import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from types import ModuleType

SWAPPED = {
    "openai": ("OpenAI", "AsyncOpenAI", "AzureOpenAI", "AsyncAzureOpenAI"),
    "anthropic": ("Anthropic", "AsyncAnthropic"),
}
ALIASES = {
    "openai": {"Client": "OpenAI", "AsyncClient": "AsyncOpenAI"},
    "anthropic": {"Client": "Anthropic", "AsyncClient": "AsyncAnthropic"},
}
# Public modules that tests import the same classes from; the SDK's own isinstance() checks look here too, so these
# are swapped only while the test modules are being imported.
ALSO_EXPORTED_BY = {"AzureOpenAI": "openai.lib.azure", "AsyncAzureOpenAI": "openai.lib.azure"}
_WHY_LENGTH = 8000
RANK = ("passed", "skipped", "xfailed", "xpassed", "failed", "error")


def _bare(base: type) -> type:
    """Return the least possible subclass, under the same name because the SDKs put the class name in User-Agent."""
    return type(base.__name__, (base,), {"__module__": "bare", "__qualname__": base.__name__})


def replacements(suite: str, classes: str) -> dict[str, type]:
    """Return the classes under test by their public name; empty for ``vanilla``."""
    sdk = importlib.import_module(suite)
    if classes == "vanilla":
        return {}
    if classes == "bare":
        return {name: _bare(getattr(sdk, name)) for name in SWAPPED[suite]}
    ours = importlib.import_module("llmsaver")
    return {name: getattr(ours, name) for name in SWAPPED[suite]}


def swap(suite: str, new: dict[str, type]) -> None:
    """Put the classes under test on the SDK's public package, under their names and their aliases."""
    sdk = importlib.import_module(suite)
    for name, cls in new.items():
        setattr(sdk, name, cls)
    for alias, name in ALIASES[suite].items():
        if name in new:
            setattr(sdk, alias, new[name])


@contextmanager
def swapped_exports(new: dict[str, type]) -> Iterator[None]:
    """Swap the classes in the other public modules that export them, and put the originals back."""
    kept: list[tuple[ModuleType, str, type]] = []
    for name, module_name in ALSO_EXPORTED_BY.items():
        if name in new:
            module = importlib.import_module(module_name)
            kept.append((module, name, getattr(module, name)))
            setattr(module, name, new[name])
    try:
        yield
    finally:
        for module, name, original in kept:
            setattr(module, name, original)


class Recorder:
    """Folds the setup, call and teardown reports of each test into one outcome and writes it at once."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._outcomes: dict[str, tuple[str, str]] = {}

    def fold(self, report: pytest.TestReport) -> None:
        """Note one phase of one test; the worst phase decides."""
        outcome, why = _outcome(report)
        before, said = self._outcomes.get(report.nodeid, ("passed", ""))
        worst = max(before, outcome, key=RANK.index)
        # All that was said: a teardown's complaint about a snapshot does not repeat what the call saw.
        self._outcomes[report.nodeid] = (worst, "\n".join(filter(None, (said, why))))
        if report.when == "teardown":
            self.write(report.nodeid, *self._outcomes.pop(report.nodeid))

    def write(self, nodeid: str, outcome: str, why: str) -> None:
        """Append one line, so that an interrupted run keeps what it has."""
        self._file.write(json.dumps({"id": nodeid, "outcome": outcome, "why": why}) + "\n")

    def close(self) -> None:
        """Write the tests that never reached their teardown, which a crash of a worker leaves behind."""
        for nodeid in list(self._outcomes):
            self.write(nodeid, "error", "the worker died")
        self._file.close()


def _outcome(report: pytest.TestReport) -> tuple[str, str]:
    if hasattr(report, "wasxfail"):
        return ("xfailed" if report.skipped else "xpassed"), ""
    if report.failed:
        # pytest marks what it has to say about a failure, as against the code around it, with an E.
        said = [line[1:].strip() for line in report.longreprtext.splitlines() if line.startswith("E ")]
        text = "\n".join(said) or report.longreprtext
        return ("failed" if report.when == "call" else "error"), text[:_WHY_LENGTH]
    return report.outcome, ""


# At import, because pytest imports the plugins that -p names before any conftest, and conftests import the classes.
_NEW = replacements(os.environ["VENDOR_SUITE"], os.environ["VENDOR_CLASSES"])
swap(os.environ["VENDOR_SUITE"], _NEW)
_RECORDER = None if "PYTEST_XDIST_WORKER" in os.environ else Recorder(Path(os.environ["VENDOR_OUTCOMES"]))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import the test modules with the swapped exports in place."""
    with swapped_exports(_NEW):
        return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Record on the controller only: it sees the reports of all workers."""
    if _RECORDER is not None:
        _RECORDER.fold(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Record a file that cannot be imported as one failed test."""
    if _RECORDER is not None and report.failed:
        _RECORDER.write(report.nodeid, "error", f"collection: {report.longrepr}"[-600:])


def pytest_unconfigure() -> None:
    """Close the file."""
    if _RECORDER is not None:
        _RECORDER.close()
