"""The servers that run, and their logs."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from llmsaver.errors import LocalModelError
from llmsaver.local import status
from llmsaver.local.status import ServerState
from llmsaver.reporting.local_status import as_json, as_text, lines_of, log_of, stopped

if TYPE_CHECKING:
    from collections.abc import Callable

STATE = ServerState(
    key="k1",
    model="smollm2-135m",
    path="/w.gguf",
    pid=10,
    child=11,
    address="http://127.0.0.1:1",
    context=4096,
    slots=4,
    started_at=0.0,
    up_s=3700.0,
    busy_s=370.0,
    quiet_s=3.0,
    calls=0,
    leases=2,
    kept=False,
    sleeping=False,
    rss_mib=244,
    memory_mib=600,
    log=Path("/l.log"),
)


def written(*states: ServerState) -> str:
    file = io.StringIO()
    as_text(states, Console(file=file, width=80, highlight=False))
    return file.getvalue()


def test_a_line_for_each() -> None:
    loading = replace(STATE, key="k2", model="x" * 60, address=None, up_s=0.0, busy_s=0.0, rss_mib=None)
    said = written(STATE, loading, replace(STATE, calls=1), replace(STATE, sleeping=True)).splitlines()
    assert max(map(len, said)) <= 80
    assert said[0].split() == ["model", "state", "up", "busy", "programs", "memory", "pid"]
    assert said[1].split() == ["smollm2-135m", "ready", "1", "h", "1", "min", "10", "%", "2", "256", "MB", "11"]
    assert [line.split()[1] for line in said[1:]] == ["ready", "loading", "busy", "asleep"]
    assert "4 x 4,096" in written(STATE)


def test_none_says_how_to_start_one() -> None:
    assert "--daemon" in written()
    assert max(map(len, written().splitlines())) <= 80


def test_json_has_states_and_no_keys() -> None:
    (told,) = json.loads(as_json([STATE]))["servers"]
    assert (told["state"], told["log"], told["memory_mib"]) == ("ready", "/l.log", 600)
    assert "token" not in told


class TestStopping:
    @pytest.fixture(autouse=True)
    def running(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        asked: list[str] = []
        monkeypatch.setattr(status, "running", lambda: [STATE, replace(STATE, key="k2", model="qwen3-4b")])

        def stop(name: str) -> bool:
            asked.append(name)
            return name != "k2"

        monkeypatch.setattr(status, "stop", stop)
        return asked

    def test_by_name_with_or_without_local(self, running: list[str]) -> None:
        assert stopped(["local/smollm2-135m"]) == ["smollm2-135m"]
        assert running == ["smollm2-135m"]

    def test_every_one_that_is_still_there(self, running: list[str]) -> None:
        assert stopped([], every=True) == ["smollm2-135m"]
        assert running == ["k1", "k2"]

    def test_what_does_not_run_is_an_error_and_nothing_is_stopped(self, running: list[str]) -> None:
        with pytest.raises(
            LocalModelError, match=r"not running \(running: qwen3-4b, smollm2-135m\). Did you mean smol"
        ):
            stopped(["qwen3-4b", "smollm2"])
        assert running == []

    def test_nothing_runs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(status, "running", list)
        with pytest.raises(LocalModelError, match=r"\(running: none\)"):
            stopped(["smollm2"])


class TestLogs:
    def test_where_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(status, "log_path", {"smollm2-135m": Path("/l.log")}.get)
        assert log_of("local/smollm2-135m") == Path("/l.log")
        with pytest.raises(LocalModelError, match="there is no log of local/qwen3-4b"):
            log_of("qwen3-4b")

    def test_the_last_lines(self, tmp_path: Path) -> None:
        log = tmp_path / "l.log"
        log.write_text("one\ntwo\nthree\n")
        assert list(lines_of(log, 2)) == ["two", "three"]
        assert list(lines_of(log, 0)) == []

    def test_following_until_the_log_is_gone(self, tmp_path: Path) -> None:
        log = tmp_path / "l.log"
        log.write_text("one\n")
        steps: list[Callable[[], object]] = [
            lambda: log.write_text("one\ntwo\nthr"),
            lambda: log.write_text("one\ntwo\nthree\n"),
            lambda: None,
            lambda: log.write_text("new\n"),
            log.unlink,
        ]
        found = list(lines_of(log, 5, follow=True, sleep=lambda _: steps.pop(0)()))
        assert found == ["one", "two", "three", "new"]
