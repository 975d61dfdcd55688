"""What all tests share."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# The books of the tests, and of every program they start, are their own.
os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp(prefix="llmsaver-tests-")

# How fast the machine is fails no example, and every run tries the same ones; --hypothesis-profile=search tries others.
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("search"), derandomize=True, database=None)
settings.load_profile("same")

LONG = 60.0  # seconds: what a busy machine needs at most for what takes milliseconds

VENDOR_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's keys and our settings out of every test."""
    for name in os.environ:
        if name in VENDOR_KEYS or name.startswith("LLMSAVER_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session", autouse=True)
def _patience() -> None:
    """Wait as long as a busy machine may need, wherever a test names no limit of its own."""
    from llmsaver.cache import store_file
    from llmsaver.cache.caches import Caches
    from llmsaver.cache.learning import Learning
    from llmsaver.core.background import Background
    from llmsaver.core.orphans import Orphans
    from llmsaver.ledger import Ledger
    from llmsaver.ledger.writer import Writer
    from llmsaver.middleware.routing_view import RouterView

    for drain in (Background.drain, Caches.drain, Learning.drain, Orphans.drain, RouterView.drain, Writer.drain):
        assert drain.__defaults__ is not None
        drain.__defaults__ = (LONG,)
    Ledger.__init__.__kwdefaults__ = {**(Ledger.__init__.__kwdefaults__ or {}), "patience": LONG}
    store_file.PATIENCE_SECONDS = LONG / 2


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Iterator[None]:
    """Where every extra is installed (NO_SKIPS=1), a skipped test is a failure of the run."""
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if reporter is not None and os.environ.get("NO_SKIPS") and skipped and exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"NO_SKIPS: {len(skipped)} tests were skipped", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
