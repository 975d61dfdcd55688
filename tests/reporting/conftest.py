"""A local model's server played by the fake provider, over a real socket."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llmsaver.local
from llmsaver.ledger import CallRow, Ledger, Salt, TaskRow
from llmsaver.local import Endpoint
from llmsaver.local.busy import Meter, ServerTime
from llmsaver.local.endpoint import Use
from llmsaver.testing import Answer, FakeProvider, Received


class FakeLocal:
    """Stands where ``LocalServers`` does; ``error`` is raised in place of an endpoint."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.error: BaseException | None = None
        self.closed = False
        self.meter = Meter()

    def endpoint(self, name: str) -> Endpoint:
        if self.error is not None:
            raise self.error
        # Any server but llama.cpp gets what the caller wrote.
        return Endpoint(self.url, "key", name, runner="attach")

    def use(self, endpoint: Endpoint) -> Use:
        assert endpoint.base_url == self.url
        return self.meter.begin()

    def failed(self, endpoint: Endpoint) -> None:
        assert endpoint.base_url == self.url

    def load(self, _name: str) -> None:
        return None

    def usage(self) -> list[ServerTime]:
        return []

    def close(self) -> None:
        self.closed = True


def say(received: Received) -> Answer:
    """Say the JSON that is asked for, else something long enough for a cap on tokens to cut."""
    if isinstance(received.json, dict) and "response_format" in received.json:
        return Answer('{"city": "Paris", "country": "France"}')
    return Answer("A word and a word " * 12)


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider(say)


@pytest.fixture
def local(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLocal]:
    with provider.serve() as url:
        fake = FakeLocal(url)
        monkeypatch.setattr(llmsaver.local, "LocalServers", lambda **_: fake)
        yield fake


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Take the machine's own keys and settings away."""
    for name in list(os.environ):
        if name.startswith(("LLMSAVER_", "OPENAI_", "ANTHROPIC_")) or name.upper() == "HTTPS_PROXY":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


NOW = 1_795_000_000.0  # 2026-11-18T11:06:40Z


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the person's own ledger and salt out of every test."""
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Ledger]:
    """Open an empty ledger in a file."""
    with Ledger(tmp_path / "books" / "ledger.db", salt=Salt(tmp_path / "salt")) as ledger:
        yield ledger


@pytest.fixture
def small(books: Ledger) -> Ledger:
    """Write eight calls whose sums can be done in the head: two days, two features, three models."""
    day = 86_400.0

    def row(number: int, **more: Any) -> CallRow:
        values: dict[str, Any] = {
            "started_at": NOW - day,
            "feature": "search",
            "model_answered": "gpt-5-mini",
            "user": "u1",
            "tags": {"env": "prod"},
            "status": 200,
            "complete": True,
            "input_tokens": 1_000,
            "output_tokens": 100,
            "latency_ms": 500.0,
            "first_byte_ms": 200.0,
        }
        return CallRow(f"c{number}", **{**values, **more})

    rows = (
        row(1, cost_nano=450_000, baseline_nano=900_000, task="t1"),
        row(2, cost_nano=450_000, baseline_nano=900_000, task="t1", user="u2"),
        row(3, cost_nano=0, baseline_nano=450_000, hit=True, tier="cache", latency_ms=1.0, first_byte_ms=1.0),
        row(4, cost_nano=0, status=429, error="provider said 429", input_tokens=None, output_tokens=None),
        row(5, started_at=NOW, feature="bot", model_answered="gpt-5", cost_nano=2_000_000_000, user=None, tags={}),
        row(6, started_at=NOW, feature="bot", model_answered="gpt-5", cost_nano=1_000_000_000, escalated=True),
        row(
            7,
            started_at=NOW,
            feature="bot",
            model_answered="gpt-5",
            cost_nano=500_000_000,
            cost_low=400_000_000,
            cost_high=600_000_000,
            estimated=True,
            task="t2",
        ),
        row(8, started_at=NOW, feature="bot", model_answered="mine", unpriced=True, estimated=True, truncated=True),
    )
    for one in rows:
        assert books.write(one).ok
    for task, outcome in (("t1", "resolved"), ("t2", "failed")):
        assert books.write_task(TaskRow(task, NOW - day, NOW, outcome, "search"))
    return books
