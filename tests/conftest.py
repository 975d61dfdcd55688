"""What all tests share."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# The books of the tests, and of every program they start, are their own.
os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp(prefix="llmsaver-tests-")

VENDOR_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's keys and our settings out of every test."""
    for name in os.environ:
        if name in VENDOR_KEYS or name.startswith("LLMSAVER_"):
            monkeypatch.delenv(name)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Iterator[None]:
    """Where every extra is installed (NO_SKIPS=1), a skipped test is a failure of the run."""
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if reporter is not None and os.environ.get("NO_SKIPS") and skipped and exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"NO_SKIPS: {len(skipped)} tests were skipped", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
