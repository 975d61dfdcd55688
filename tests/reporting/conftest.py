"""A local model's server played by the fake provider, over a real socket."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import llmsaver.local
from llmsaver.local import Endpoint
from llmsaver.testing import Answer, FakeProvider, Received


class FakeLocal:
    """Stands where ``LocalServers`` does; ``error`` is raised in place of an endpoint."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.error: BaseException | None = None
        self.closed = False

    def endpoint(self, name: str) -> Endpoint:
        if self.error is not None:
            raise self.error
        return Endpoint(self.url, "key", name)

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
