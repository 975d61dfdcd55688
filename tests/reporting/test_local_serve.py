"""Serving a local model for a person."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import llmsaver.local
from llmsaver.errors import LocalModelError
from llmsaver.local import Endpoint
from llmsaver.reporting import local_serve
from llmsaver.reporting.local_serve import Served, served_name, serving, started

SETTINGS = """
[local_models]
tgi = { kind = "attach", base_url = "http://gpu:8080/v1" }
big = { kind = "vllm", model = "a/B" }
own = { path = "/own.gguf", lora = { triage = "/t.gguf" } }
"""


class Servers:
    """Stands where ``LocalServers`` does, and remembers what it was asked."""

    def __init__(self, **_: Any) -> None:
        self.asked: list[str] = []
        self.times = 0
        self.runner = "llama.cpp"

    def endpoint(self, name: str) -> Endpoint:
        self.asked.append(f"endpoint {name}")
        self.times += 1
        return Endpoint(f"http://127.0.0.1:{self.times}", "key", name, runner=self.runner)

    def hold(self, name: str) -> Endpoint:
        self.asked.append(f"hold {name}")
        return Endpoint(f"http://127.0.0.1:{self.times}", "key", name)

    def keep(self, name: str) -> Endpoint:
        self.asked.append(f"keep {name}")
        return Endpoint("http://127.0.0.1:9", "key", name)

    def failed(self, endpoint: Endpoint) -> None:
        self.asked.append(f"failed {endpoint.base_url}")

    def usage(self) -> list[object]:
        return []

    def close(self) -> None:
        self.asked.append("close")


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Servers:
    made = Servers()
    monkeypatch.setattr(llmsaver.local, "LocalServers", lambda **_: made)
    monkeypatch.setattr(local_serve, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(local_serve, "answers", lambda _: True)
    monkeypatch.setenv("LLMSAVER_LEDGER", str(tmp_path / "ledger.db"))
    (tmp_path / "llmsaver.toml").write_text(SETTINGS)
    return made


@pytest.mark.parametrize(
    ("name", "served"),
    [("smollm2-135m", "smollm2-135m"), ("local/own:triage", "own"), ("big", "big"), ("/x.gguf", "/x.gguf")],
)
def test_what_is_served(servers: Servers, name: str, served: str) -> None:
    assert served_name(name) == served
    assert servers.asked == []


def test_a_relative_path_becomes_a_whole_one(servers: Servers, tmp_path: Path) -> None:
    assert served_name("./x.gguf") == str(tmp_path / "x.gguf")
    assert servers.asked == []


def test_what_runs_elsewhere_is_not_ours_to_serve(servers: Servers) -> None:
    with pytest.raises(LocalModelError, match="runs elsewhere, at http://gpu:8080/v1"):
        started("tgi")
    assert servers.asked == []


def test_left_running(servers: Servers) -> None:
    assert started("own") == Served("own", "http://127.0.0.1:9")
    assert servers.asked == ["keep own", "close"]


def after(count: int, stop: Callable[[], object], told: list[Served]) -> Callable[[Served], None]:
    """Return what hears of servers, and stops when it has heard of ``count``."""

    def hear(served: Served) -> None:
        told.append(served)
        if len(told) == count:
            stop()

    return hear


def test_until_it_is_stopped(servers: Servers) -> None:
    told: list[Served] = []
    over = threading.Event()
    serving("own", after(1, over.set, told), over)
    assert told == [Served("own", "http://127.0.0.1:1")]
    assert servers.asked == ["endpoint own", "hold own", "close"]


def test_a_server_of_another_kind_is_only_used(servers: Servers) -> None:
    servers.runner = "vllm"
    over = threading.Event()
    serving("big", after(1, over.set, []), over)
    assert servers.asked == ["endpoint big", "close"]


def test_one_that_died_is_started_again(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Served] = []
    over = threading.Event()
    looks = [True, False]
    monkeypatch.setattr(local_serve, "answers", lambda _: looks.pop(0))
    serving("own", after(2, over.set, told), over)
    assert [served.address for served in told] == ["http://127.0.0.1:1", "http://127.0.0.1:2"]
    assert servers.asked == [
        *("endpoint own", "hold own", "failed http://127.0.0.1:1"),
        *("endpoint own", "hold own", "close"),
    ]


def test_sigterm_ends_it_in_order(servers: Servers) -> None:
    before = signal.getsignal(signal.SIGTERM)
    serving("own", after(1, lambda: os.kill(os.getpid(), signal.SIGTERM), []))
    assert servers.asked[-1] == "close"
    assert signal.getsignal(signal.SIGTERM) is before


def test_in_another_thread_signals_are_left_alone(servers: Servers) -> None:
    over = threading.Event()
    thread = threading.Thread(target=serving, args=("own", after(1, over.set, []), over))
    thread.start()
    thread.join(60)
    assert servers.asked[-1] == "close"


def test_a_port_is_asked_for_and_what_runs_elsewhere_is_told(servers: Servers) -> None:
    assert started("own", 9).address == "http://127.0.0.1:9"
    with pytest.raises(
        LocalModelError, match=r"runs already, at http://127\.0\.0\.1:9\. To move it: llmsaver local stop own"
    ):
        started("own", 10)
    over = threading.Event()
    with pytest.raises(LocalModelError, match="runs already"):
        serving("own", after(1, over.set, []), over, port=8)
    with pytest.raises(LocalModelError, match="local/big takes no --port"):
        started("big", 9)
    assert servers.asked.count("keep own") == 2
