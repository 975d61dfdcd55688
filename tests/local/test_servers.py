"""The servers of a program, with a stand-in for xllamacpp."""

from __future__ import annotations

import http.client
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.errors import ConfigurationError, LocalModelError, MissingExtra
from llmsaver.local import Endpoint, LocalServers
from llmsaver.local import servers as servers_module

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[..., LocalServers]
    Model = Callable[[str], Path]


def starts(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.with_name(path.name + ".starts").read_text(encoding="utf-8"))
    return found


def status(endpoint: Endpoint, key: str | None) -> int:
    connection = http.client.HTTPConnection(endpoint.base_url.removeprefix("http://"), timeout=20)
    connection.request("GET", "/v1/models", headers={"authorization": f"Bearer {key}"} if key else {})
    found = connection.getresponse().status
    connection.close()
    return found


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers_module, "_FIRST_PAUSE", 0.001)


def test_concurrent_first_calls_start_one_server(model: Model, servers: Make) -> None:
    path = model("takes a second")
    local = servers(models={"tiny": path}, context=100, parallel=2, threads=1)
    with ThreadPoolExecutor(8) as pool:
        endpoints = set(pool.map(local.endpoint, ["tiny"] * 8))
    (endpoint,) = endpoints
    (start,) = starts(path)
    assert start["params"]["n_ctx"] == "200"
    assert endpoint.model == "tiny"
    assert endpoint.api_key not in repr(endpoint)
    assert (status(endpoint, endpoint.api_key), status(endpoint, None)) == (200, 401)
    assert local.endpoint("tiny") is endpoint


def test_a_path_is_a_name_and_is_called_by_its_stem(model: Model, servers: Make) -> None:
    assert servers().endpoint(str(model("ok"))).model == "model"


def test_close_ends_the_server_and_further_calls(
    model: Model, servers: Make, gone: Callable[[int, float], bool]
) -> None:
    path = model("ok")
    local = servers(models={"tiny": path})
    local.endpoint("tiny")
    local.close()
    local.close()
    assert gone(starts(path)[0]["pid"], 0.1)
    with pytest.raises(LocalModelError, match="were closed"):
        local.endpoint("tiny")


def test_a_killed_server_is_started_again_with_another_key(model: Model, servers: Make) -> None:
    path = model("ok")
    local = servers(models={"tiny": path})
    first = local.endpoint("tiny")
    os.kill(starts(path)[0]["pid"], signal.SIGKILL)
    while local._slots["tiny"].child is not None and local._slots["tiny"].child.alive():
        time.sleep(0.01)
    second = local.endpoint("tiny")
    assert len(starts(path)) == 2
    assert second.api_key != first.api_key
    assert status(second, second.api_key) == 200


def test_one_that_dies_at_its_first_start_is_tried_again(model: Model, servers: Make) -> None:
    path = model("killed once")
    assert servers(models={"tiny": path}).endpoint("tiny").model == "tiny"
    assert len(starts(path)) == 2


def test_one_that_always_dies_is_given_up(model: Model, servers: Make) -> None:
    path = model("killed")
    local = servers(models={"tiny": path}, restarts=2)
    with pytest.raises(LocalModelError, match="it was killed, by hand or because the system ran out of memory"):
        local.endpoint("tiny")
    assert len(starts(path)) == 3
    with pytest.raises(LocalModelError, match="was killed"):
        local.endpoint("tiny")
    assert len(starts(path)) == 4


def test_old_crashes_are_forgotten() -> None:
    slot = servers_module._Slot()
    slot.crashes.extend([time.monotonic() - 601, time.monotonic()])
    assert slot.recent_crashes() == 1


def test_a_file_that_is_no_model_is_tried_once_and_everybody_is_told(model: Model, servers: Make) -> None:
    path = model("not a model")
    local = servers(models={"tiny": path})
    with pytest.raises(LocalModelError, match="not a GGUF model"):
        local.endpoint("tiny")
    assert len(starts(path)) == 1


def test_without_the_server_the_extra_is_named(model: Model, servers: Make, stand_in: Path) -> None:
    (stand_in / "xllamacpp.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'xllamacpp'\")", encoding="utf-8"
    )
    with pytest.raises(MissingExtra, match=r"local/tiny needs.*llmsaver\[local\]"):
        servers(models={"tiny": model("ok")}).endpoint("tiny")


def test_one_that_listens_but_is_sick_is_a_failure(
    model: Model, servers: Make, gone: Callable[[int, float], bool]
) -> None:
    path = model("sick")
    with pytest.raises(LocalModelError, match="no usable answer"):
        servers(models={"tiny": path}, restarts=0).endpoint("tiny")
    assert gone(starts(path)[0]["pid"], 1)


def test_close_during_a_start_ends_both(model: Model, servers: Make, gone: Callable[[int, float], bool]) -> None:
    path = model("slow")
    local = servers(models={"tiny": path})
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(local.endpoint, "tiny") for _ in range(2)]
        while not path.with_name(path.name + ".starts").exists():
            time.sleep(0.01)
        time.sleep(0.1)
        pid = starts(path)[0]["pid"]
        local.close()
        for each in waiting:
            with pytest.raises(LocalModelError, match="were closed"):
                each.result(5)
    assert gone(pid, 1)


def test_a_start_after_close_has_begun_is_refused(model: Model, servers: Make) -> None:
    local = servers(models={"tiny": model("ok")})
    slot = servers_module._Slot()
    local._closed.set()
    with pytest.raises(LocalModelError, match="were closed"):
        local._child("tiny", slot)
    assert slot.child is None


def test_ctrl_c_ends_the_start_and_tells_the_others(
    model: Model, servers: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = model("ok")
    local = servers(models={"tiny": path})
    entered, go_on = threading.Event(), threading.Event()

    def interrupted(_endpoint: Endpoint) -> bool:
        entered.set()
        go_on.wait(5)
        raise KeyboardInterrupt

    monkeypatch.setattr(servers_module, "_healthy", interrupted)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(local.endpoint, "tiny")
        entered.wait(5)
        second = pool.submit(local.endpoint, "tiny")
        time.sleep(0.1)
        go_on.set()
        with pytest.raises(KeyboardInterrupt):
            first.result(5)
        with pytest.raises(LocalModelError, match="interrupted"):
            second.result(5)
    assert local._slots["tiny"].child is None


@pytest.mark.parametrize("settings", [{"context": 0}, {"parallel": 0}, {"threads": -1}, {"restarts": -1}])
def test_settings_that_cannot_work_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        LocalServers(**settings)  # type: ignore[arg-type] # one of several settings


def test_a_note_is_said_once(model: Model, servers: Make, caplog: pytest.LogCaptureFixture) -> None:
    local = servers(models={"smollm2-135m": model("killed once")})
    with caplog.at_level(logging.WARNING, "llmsaver.local"):
        local.endpoint("smollm2-135m")
        local.endpoint("smollm2-135m")
    assert caplog.text.count("smoke-test model") == 1


def test_health_of_nobody_is_bad() -> None:
    assert not servers_module._healthy(Endpoint("http://127.0.0.1:9", "k", "m"))


def test_a_fork_is_a_guest(model: Model, servers: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    path = model("ok")
    local = servers(models={"tiny": path})
    endpoint = local.endpoint("tiny")
    local.endpoint("tiny")
    host = local._slots["tiny"].child
    servers_module._after_fork()
    monkeypatch.setattr(servers_module, "_healthy", lambda _endpoint: True)
    assert local.endpoint("tiny") is endpoint
    local.close()
    assert host is not None
    host._popen.returncode = None
    assert host._popen.wait(5) == 0  # the closed pipe ended it here, since this is not a real fork


def program(library: str, stand_in: Path, source: str) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", textwrap.dedent(source)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(stand_in), library])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_forks_use_the_server_and_leave_it_running(model: Model, library: str, stand_in: Path) -> None:
    path = model("ok")
    run = program(
        library,
        stand_in,
        f"""
        import os, sys
        from llmsaver.local import LocalServers
        local = LocalServers(models={{"tiny": {str(path)!r}}})
        mine = local.endpoint("tiny")
        pid = os.fork()
        if not pid:
            assert local.endpoint("tiny") == mine
            local.close()
            sys.exit(3)  # with atexit, unlike multiprocessing's children
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
        assert local.endpoint("tiny") is mine
        print("fine")
        """,
    )
    out, err = run.communicate(timeout=20)
    assert (out, err, run.returncode) == ("fine\n", "", 0)
    assert len(starts(path)) == 1


def test_a_program_that_just_ends_leaves_nothing(
    model: Model, library: str, stand_in: Path, gone: Callable[[int, float], bool]
) -> None:
    path = model("ok")
    run = program(
        library,
        stand_in,
        f"""
        from llmsaver.local import LocalServers
        local = LocalServers(models={{"tiny": {str(path)!r}}})
        local.endpoint("tiny")
        """,
    )
    assert run.communicate(timeout=20) == ("", "")
    assert gone(starts(path)[0]["pid"], 0.1)


def test_ctrl_c_in_the_terminal_is_quiet(
    model: Model, library: str, stand_in: Path, gone: Callable[[int, float], bool]
) -> None:
    path = model("ok")
    run = program(
        library,
        stand_in,
        f"""
        import os, signal, time
        from llmsaver.local import LocalServers
        local = LocalServers(models={{"tiny": {str(path)!r}}})
        local.endpoint("tiny")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setpgid(0, 0)
        try:
            os.killpg(0, signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            assert local.endpoint("tiny")
            local.close()
        """,
    )
    assert run.communicate(timeout=20) == ("", "")
    assert gone(starts(path)[0]["pid"], 0.1)


@pytest.mark.parametrize("mode", ["ok", "slow"])
def test_a_killed_program_leaves_nothing_even_while_a_fork_lives(
    model: Model, library: str, stand_in: Path, gone: Callable[[int, float], bool], mode: str
) -> None:
    path = model(mode)
    run = program(
        library,
        stand_in,
        f"""
        import os, threading, time
        from llmsaver.local import LocalServers
        local = LocalServers(models={{"tiny": {str(path)!r}}})
        thread = threading.Thread(target=local.endpoint, args=("tiny",), daemon=True)
        thread.start()
        while not os.path.exists({str(path) + ".starts"!r}):
            time.sleep(0.01)
        thread.join(0.5)
        fork = os.fork()
        if not fork:
            time.sleep(60)
        print(fork, flush=True)
        time.sleep(60)
        """,
    )
    assert run.stdout is not None
    assert run.stderr is not None
    fork = int(run.stdout.readline())
    run.kill()
    try:
        assert gone(starts(path)[0]["pid"], 2)
    finally:
        os.kill(fork, signal.SIGKILL)
        run.wait()
        run.stdout.close()
        run.stderr.close()
