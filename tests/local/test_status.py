"""What runs on this machine, for people."""

from __future__ import annotations

import http.server
import os
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.local import Endpoint, LocalServers, folder, log_path, running, status, stop
from llmsaver.local.launch import log_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Make = Callable[..., LocalServers]
    Model = Callable[[str], Path]


def test_what_runs_is_shown_and_stopped_by_name(
    model: Model, servers: Make, gone: Callable[[int, float], bool]
) -> None:
    assert running() == []
    assert not stop("tiny")
    assert log_path("tiny") is None
    path = model("ok")
    local, other = servers(models={"tiny": path}, context=100, parallel=3), servers(models={"big": path})
    endpoint = local.endpoint("tiny")
    other.endpoint("big")
    call = local.use(endpoint)
    (tiny,) = [state for state in running() if state.model == "tiny"]
    assert (tiny.address, tiny.context, tiny.slots) == (endpoint.base_url, 100, 3)
    assert (tiny.calls, tiny.leases, tiny.kept, tiny.path) == (1, 1, False, str(path))
    assert tiny.rss_mib
    assert tiny.sleeping is None  # the stand-in does not say
    assert log_path("tiny") == tiny.log
    assert stop(tiny.key)
    assert gone(tiny.child, 0.1)
    assert [state.model for state in running()] == ["big"]
    call.end()


def test_a_kept_server_needs_no_program(model: Model, servers: Make) -> None:
    local = servers(models={"tiny": model("ok")})
    assert local.keep("tiny") == local.endpoint("tiny")
    local.close()
    (state,) = running()
    assert (state.kept, state.leases) == (True, 0)
    again = servers(models={"tiny": model("ok")})
    assert again.endpoint("tiny").base_url != ""
    assert stop("tiny")


def test_the_log_of_one_that_failed_is_found(tmp_path: Path) -> None:
    logs = log_folder()
    logs.mkdir(parents=True)
    for age, name in enumerate(("local-a_b-1-x.log", "local-a_b-2-x.log", "local-other-1-x.log")):
        (logs / name).touch()
        os.utime(logs / name, (age, age))
    assert log_path("a/b") == logs / "local-a_b-2-x.log"
    assert logs.is_relative_to(tmp_path)


def test_stale_facts_are_removed_but_not_those_of_a_supervisor_that_is_there() -> None:
    place = folder.runtime_folder()
    facts = place / "k.json"
    facts.write_text('{"control": "/does/not/exist", "token": "t", "name": "tiny"}', encoding="utf-8")
    lock = folder.try_lock(place / "k.lock")
    assert lock is not None
    assert running() == []
    assert facts.exists()
    assert not stop("tiny")
    lock.release()
    assert running() == []
    assert not facts.exists()


def test_who_is_used_does_not_make_way(model: Model, servers: Make) -> None:
    local = servers(models={"tiny": model("ok")})
    local.hold("tiny")
    (state,) = running()
    assert not status.evict(folder.runtime_folder(), state.key)
    assert stop("tiny")


def test_a_supervisor_that_says_nothing_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import socket

    monkeypatch.setattr(status, "_HELLO_SECONDS", 0.05)
    place = folder.runtime_folder()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        (place / "k.json").write_text(f'{{"control": {port}, "token": "t", "name": "tiny"}}', encoding="utf-8")
        assert running() == []
        assert not stop("tiny")
    assert tmp_path.exists()


@pytest.fixture
def answering() -> Iterator[Callable[[int, bytes], str]]:
    """Return a function that starts a server which answers everything alike."""
    made: list[http.server.HTTPServer] = []

    def serve(code: int, body: bytes) -> str:
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(code)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                return

        made.append(http.server.HTTPServer(("127.0.0.1", 0), Answer))
        threading.Thread(target=made[-1].serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{made[-1].server_port}"

    yield serve
    for server in made:
        server.shutdown()
        server.server_close()


def test_health_is_a_200(answering: Callable[[int, bytes], str]) -> None:
    assert status.answers(Endpoint(answering(200, b""), "k", "m"))
    assert not status.answers(Endpoint(answering(503, b""), "k", "m"))
    assert not status.answers(Endpoint("http://127.0.0.1:9", "k", "m"))


@pytest.mark.parametrize(
    ("body", "sleeping"), [(b'{"is_sleeping": true}', True), (b"{}", None), (b"x", None), (b"[]", None)]
)
def test_whether_it_sleeps_is_what_it_says(
    answering: Callable[[int, bytes], str], body: bytes, sleeping: bool | None
) -> None:
    assert status._sleeping(answering(200, body), "k") is sleeping
    assert status._sleeping(None, "k") is None


def test_memory_is_asked_of_ps_where_there_is_no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    assert status._rss_mib(os.getpid())
    assert status._rss_mib(-1) is None
    said = subprocess.CompletedProcess[str]([], 0, stdout="2048\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: said)
    assert status._rss_mib(-1) == 2
