"""The servers that a program uses, with a stand-in for xllamacpp: found, started, shared, restarted, given up."""

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
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.errors import ConfigurationError, LocalModelError, MissingExtra
from llmsaver.local import Endpoint, LocalModel, LocalServers, slots
from llmsaver.local import servers as servers_module
from llmsaver.local.runners import Leased
from llmsaver.local.status import running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[..., LocalServers]
    Model = Callable[[str], Path]
    Gone = Callable[[int, float], bool]
    Until = Callable[[Callable[[], object]], None]


def starts(path: Path) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = json.loads(path.with_name(path.name + ".starts").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # not there yet, or being written
        return []
    return found


def status(endpoint: Endpoint, key: str | None) -> int:
    connection = http.client.HTTPConnection(endpoint.base_url.removeprefix("http://"), timeout=20)
    connection.request("GET", "/v1/models", headers={"authorization": f"Bearer {key}"} if key else {})
    found = connection.getresponse().status
    connection.close()
    return found


def lease_of(local: LocalServers, name: str = "tiny") -> Any:
    runner = local._slots[name].latest()
    assert isinstance(runner, Leased)
    return runner.lease


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "_FIRST_PAUSE", 0.001)


def test_concurrent_first_calls_start_one_server(model: Model, servers: Make) -> None:
    path = model("takes a second")
    local = servers(models={"tiny": path}, context=100, parallel=2, threads=1)
    with ThreadPoolExecutor(8) as pool:
        endpoints = list(pool.map(local.endpoint, ["tiny"] * 8))
    endpoint = endpoints[0]
    assert all(each is endpoint for each in endpoints)
    (start,) = starts(path)
    assert start["params"]["n_ctx"] == "200"
    assert endpoint.model == "tiny"
    assert endpoint.api_key not in repr(endpoint)
    assert (status(endpoint, endpoint.api_key), status(endpoint, None)) == (200, 401)
    assert local.endpoint("tiny") is endpoint


def test_two_that_ask_for_the_same_share_one_server(model: Model, servers: Make, gone: Gone) -> None:
    path = model("ok")
    one, other = servers(models={"tiny": path}), servers(models={"tiny": path})
    assert one.endpoint("tiny") == other.endpoint("tiny")
    (start,) = starts(path)
    one.close()
    assert status(other.endpoint("tiny"), None) == 401
    other.close()
    assert gone(start["pid"], 0.1)
    third = servers(models={"tiny": path}, context=77)
    third.endpoint("tiny")
    assert len(starts(path)) == 2


def test_those_that_start_at_once_share_one_server(model: Model, servers: Make) -> None:
    path = model("takes a second")
    each = [servers(models={"tiny": path}) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda local: local.endpoint("tiny").base_url, each))
    assert len(set(found)) == len(starts(path)) == 1


def test_a_path_is_a_name_and_is_called_by_its_stem(model: Model, servers: Make) -> None:
    local = servers()
    name = str(model("ok"))
    assert local.endpoint(name).model == "model"
    assert local.load(name) is not None


def test_close_ends_the_server_and_further_calls(model: Model, servers: Make, gone: Gone) -> None:
    path = model("ok")
    local = servers(models={"tiny": path})
    local.endpoint("tiny")
    local.close()
    local.close()
    assert gone(starts(path)[0]["pid"], 0.1)
    with pytest.raises(LocalModelError, match="were closed"):
        local.endpoint("tiny")
    assert running() == []


def test_a_killed_server_is_started_again_with_another_key(model: Model, servers: Make, until: Until) -> None:
    path = model("ok")
    local = servers(models={"tiny": path})
    first = local.endpoint("tiny")
    os.kill(starts(path)[0]["pid"], signal.SIGKILL)
    until(lambda: not lease_of(local).alive())
    second = local.endpoint("tiny")
    assert len(starts(path)) == 2
    assert second.api_key != first.api_key
    assert status(second, second.api_key) == 200
    assert list(local._slots["tiny"].crashes) != []


def test_a_killed_supervisor_takes_the_server_with_it_and_all_users_go_on_with_one(
    model: Model, servers: Make, gone: Gone
) -> None:
    path = model("ok")
    one, other = servers(models={"tiny": path}), servers(models={"tiny": path})
    first = one.endpoint("tiny")
    other.endpoint("tiny")
    os.kill(lease_of(one).facts["pid"], signal.SIGKILL)
    assert gone(starts(path)[0]["pid"], 60)
    second = one.endpoint("tiny")
    assert second != first
    assert other.endpoint("tiny") == second
    assert len(starts(path)) == 2


def test_a_call_that_failed_has_the_server_looked_at(model: Model, servers: Make, gone: Gone) -> None:
    path = model("ok")
    local = servers(models={"tiny": path})
    first = local.endpoint("tiny")
    local.failed(first)
    local.failed(Endpoint("http://127.0.0.1:9", "k", "m"))
    assert local.endpoint("tiny") is first
    (start,) = starts(path)
    os.kill(start["pid"], signal.SIGSTOP)
    local.failed(first)
    patched = pytest.MonkeyPatch()
    patched.setattr("llmsaver.local.status._HEALTH_SECONDS", 0.3)
    second = local.endpoint("tiny")
    patched.undo()
    assert second != first
    assert gone(start["pid"], 60)


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


def test_a_file_that_is_no_model_is_tried_once(model: Model, servers: Make) -> None:
    path = model("not a model")
    local = servers(models={"tiny": path})
    with pytest.raises(LocalModelError, match=r"(?s)not a GGUF model.*invalid magic"):
        local.endpoint("tiny")
    assert len(starts(path)) == 1


def test_without_the_server_the_extra_is_named(model: Model, servers: Make, stand_in: Path) -> None:
    (stand_in / "xllamacpp.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'xllamacpp'\")", encoding="utf-8"
    )
    with pytest.raises(MissingExtra, match=r"local/tiny needs.*llmsaver\[local\]"):
        servers(models={"tiny": model("ok")}).endpoint("tiny")


def test_one_that_listens_but_is_sick_is_a_failure(model: Model, servers: Make, gone: Gone) -> None:
    path = model("sick")
    with pytest.raises(LocalModelError, match="no usable answer"):
        servers(models={"tiny": path}, restarts=0).endpoint("tiny")
    assert gone(starts(path)[0]["pid"], 60)


def test_close_during_a_start_ends_both(model: Model, servers: Make, gone: Gone, until: Until) -> None:
    path = model("slow")
    local = servers(models={"tiny": path})
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(local.endpoint, "tiny") for _ in range(2)]
        until(lambda: starts(path))
        local.close()
        for each in waiting:
            with pytest.raises(LocalModelError, match="were closed"):
                each.result(60)
    assert gone(starts(path)[0]["pid"], 60)


def test_a_server_that_is_ready_only_after_close_is_given_up(
    model: Model, servers: Make, gone: Gone, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = model("ok")
    local = servers(models={"tiny": path})
    slot = local._new_slot("tiny")
    bring_up = slot.runner

    def closing() -> Any:
        runner = bring_up()
        local._closed.set()
        return runner

    monkeypatch.setattr(slot, "runner", closing)
    with pytest.raises(LocalModelError, match="were closed"):
        local.endpoint("tiny")
    assert gone(starts(path)[0]["pid"], 60)


def test_a_start_that_takes_too_long_is_ended(model: Model, servers: Make, gone: Gone, until: Until) -> None:
    path = model("slow")
    with pytest.raises(LocalModelError, match=r"not ready after 10 s.*start_timeout"):
        servers(models={"tiny": path}, start_timeout=10).endpoint("tiny")
    until(lambda: starts(path))
    assert gone(starts(path)[0]["pid"], 60)


def test_ctrl_c_ends_the_start_and_tells_the_others(
    model: Model, servers: Make, gone: Gone, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = model("ok")
    local = servers(models={"tiny": path})
    entered, go_on = threading.Event(), threading.Event()

    def interrupted(_endpoint: Endpoint) -> bool:
        entered.set()
        go_on.wait(60)
        raise KeyboardInterrupt

    monkeypatch.setattr("llmsaver.local.acquire.answers", interrupted)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(local.endpoint, "tiny")
        assert entered.wait(60)
        second = pool.submit(local.endpoint, "tiny")
        flight: Any = local._slots["tiny"]._flight
        until(lambda: flight._condition._waiters)  # the second waits for the first
        go_on.set()
        with pytest.raises(KeyboardInterrupt):
            first.result(60)
        with pytest.raises(LocalModelError, match="interrupted"):
            second.result(60)
    assert gone(starts(path)[0]["pid"], 60)


@pytest.mark.parametrize(
    "settings",
    [
        *({"context": 0}, {"parallel": 0}, {"threads": -1}, {"restarts": -1}, {"memory_mib": 0}),
        *({"sleep_idle_seconds": 0}, {"exit_idle_seconds": -2}),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        LocalServers(**settings)  # type: ignore[arg-type] # one of several settings


def test_a_note_is_said_once(model: Model, servers: Make, caplog: pytest.LogCaptureFixture) -> None:
    local = servers(models={"tiny": LocalModel("tiny", path=model("killed once"), note="it is slow")})
    with caplog.at_level(logging.WARNING, "llmsaver.local"):
        local.endpoint("tiny")
        local.endpoint("tiny")
    assert caplog.text.count("it is slow") == 1


def test_an_unknown_name_says_what_is_known(servers: Make) -> None:
    local = servers(models={"mine": "/x.gguf"})
    assert local.tier("other") is None
    assert local.load("other") is None
    with pytest.raises(LocalModelError, match=r"local/other is not a known model.*local/mine"):
        local.endpoint("other")


def test_what_a_tier_says_of_itself_wins_over_the_settings(model: Model, servers: Make) -> None:
    path = model("ok")
    tier = LocalModel("tiny", path=path, context=50, parallel=3, gpu_layers=7, speculative="ngram", hourly_usd="0.5")
    local = servers(models={"tiny": tier}, context=1000, parallel=9)
    assert local.endpoint("tiny").tier is tier
    (start,) = starts(path)
    params = start["params"]
    assert (params["n_ctx"], params["n_parallel"], params["n_gpu_layers"]) == ("150", "3", "7")
    assert "ngram" in params["speculative"]
    (time_,) = local.usage()
    assert time_.hourly_usd == Decimal("0.5")


def test_the_longest_context_bounds_the_settings_but_not_the_tier(model: Model, servers: Make) -> None:
    path = model("ok")
    servers(models={"tiny": LocalModel("tiny", path=path, max_context=64)}, parallel=1).endpoint("tiny")
    assert starts(path)[0]["params"]["n_ctx"] == "64"


def test_an_adapter_is_asked_for_by_name(model: Model, servers: Make, tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.gguf" for name in ("triage", "polite")}
    for file in files.values():
        file.write_text("adapter", encoding="utf-8")
    tier = LocalModel("base", path=model("ok"), lora=files)
    local = servers(models={"base": tier, "with:colon": replace(tier, name="plain", lora={})})
    plain, polite = local.endpoint("base"), local.endpoint("base:polite")
    assert (plain.lora, plain.loras) == (None, 2)
    assert polite == replace(plain, lora=1)
    assert local.tier("base:polite") is tier
    assert local.load("base:triage") is not None
    assert len(starts(tmp_path / "model.gguf")) == 1
    with pytest.raises(LocalModelError, match=r"local/base has no adapter 'rude'; there are triage, polite"):
        local.endpoint("base:rude")
    with pytest.raises(LocalModelError, match=r"smollm2-135m has no adapter 'x'; it has none"):
        local.endpoint("smollm2-135m:x")
    assert local.endpoint("with:colon").model == "plain"


def test_busy_seconds_are_shared_by_all_programs(model: Model, servers: Make) -> None:
    path = model("ok")
    one, other = servers(models={"tiny": path}), servers(models={"tiny": path})
    endpoint = one.endpoint("tiny")
    other.endpoint("tiny")
    first, second = one.use(endpoint), other.use(endpoint)
    for each in (one, other):
        assert each.load("tiny") is not None  # by then the supervisor has heard of the call
    time.sleep(0.2)
    load = one.load("tiny")
    assert load is not None
    assert (load.running, load.waiting, load.slots) == (2, 0, 4)
    assert one.load("tiny") is not None
    shares = first.end(), second.end()
    assert first.end() is shares[0]
    assert all(share.exact for share in shares)
    (time_,) = one.usage()
    assert sum(share.seconds for share in shares) == pytest.approx(time_.busy_s)
    assert 0.09 < shares[0].seconds < time_.busy_s
    assert time_.up_s > time_.busy_s >= 0.2
    assert [each.id for each in other.usage()] == [time_.id]
    one.close()
    assert one.usage() == [time_] or one.usage()[0].up_s > time_.up_s


def test_calls_that_no_supervisor_counts_are_counted_here(model: Model, servers: Make, until: Until) -> None:
    local = servers(models={"tiny": model("ok")})
    endpoint = local.endpoint("tiny")
    call = local.use(endpoint)
    os.kill(lease_of(local).facts["pid"], signal.SIGKILL)
    until(lambda: not lease_of(local).alive())
    assert not call.end().exact
    assert not local.use(Endpoint("http://127.0.0.1:9", "k", "m")).end().exact
    assert local.load("tiny") is None


def test_idle_servers_leave_although_leased_and_come_back(model: Model, servers: Make, until: Until) -> None:
    path = model("ok")
    local = servers(models={"tiny": path}, exit_idle_seconds=1)
    first = local.endpoint("tiny")
    until(lambda: not lease_of(local).alive())
    assert lease_of(local).ended["reason"] == "idle"
    assert local.endpoint("tiny") != first
    assert not local._slots["tiny"].crashes
    assert len(local.usage()) == 2
    assert len(local._used) == 1


def test_a_server_that_loads_is_not_idle(model: Model, servers: Make) -> None:
    path = model("takes a second")
    assert servers(models={"tiny": path}, exit_idle_seconds=1).endpoint("tiny").model == "tiny"
    assert len(starts(path)) == 1


def test_a_server_that_is_held_or_called_does_not_leave(model: Model, servers: Make, until: Until) -> None:
    path = model("ok")
    local = servers(models={"tiny": path}, exit_idle_seconds=3)
    call = local.use(local.endpoint("tiny"))
    time.sleep(3.5)
    assert lease_of(local).alive()
    local.hold("tiny")
    call.end()
    time.sleep(3.5)
    assert lease_of(local).alive()
    local.close()
    until(lambda: running() == [])


def test_a_fork_gets_a_lease_of_its_own(model: Model, servers: Make) -> None:
    path = model("ok")
    local = servers(models={"tiny": path})
    endpoint = local.endpoint("tiny")
    parents = lease_of(local)
    keeper = servers(models={"tiny": path})
    keeper.endpoint("tiny")
    servers_module._after_fork()  # as in a fork, but for its lease's own reaction
    assert local._slots["tiny"].latest() is None
    assert local.endpoint("tiny") == endpoint
    assert lease_of(local) is not parents
    assert len(starts(path)) == 1
    parents.close()


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
        call = local.use(mine)
        pid = os.fork()
        if not pid:
            assert not call.end().exact
            assert local.endpoint("tiny") == mine
            local.close()
            sys.exit(3)  # with atexit, unlike multiprocessing's children
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
        assert local.endpoint("tiny") is mine
        assert call.end().exact
        print("fine")
        """,
    )
    out, err = run.communicate(timeout=60)
    assert (out, err, run.returncode) == ("fine\n", "", 0)
    assert len(starts(path)) == 1


def test_a_program_that_just_ends_leaves_nothing(model: Model, library: str, stand_in: Path, gone: Gone) -> None:
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
    assert run.communicate(timeout=60) == ("", "")
    assert gone(starts(path)[0]["pid"], 60)


def test_ctrl_c_in_the_terminal_is_quiet(model: Model, library: str, stand_in: Path, gone: Gone) -> None:
    path = model("ok")
    run = program(
        library,
        stand_in,
        f"""
        import os, signal, time
        from llmsaver.local import LocalServers
        local = LocalServers(models={{"tiny": {str(path)!r}}})
        before = local.endpoint("tiny")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setpgid(0, 0)
        try:
            os.killpg(0, signal.SIGINT)
            time.sleep(60)
        except KeyboardInterrupt:
            assert local.endpoint("tiny") is before
            local.close()
        """,
    )
    assert run.communicate(timeout=60) == ("", "")
    assert gone(starts(path)[0]["pid"], 0.1)


@pytest.mark.parametrize("mode", ["ok", "slow"])
def test_a_killed_program_leaves_nothing_even_while_a_fork_lives(
    model: Model, library: str, stand_in: Path, gone: Gone, mode: str
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
        assert gone(starts(path)[0]["pid"], 60)
    finally:
        os.kill(fork, signal.SIGKILL)
        run.wait()
        run.stdout.close()
        run.stderr.close()


def test_a_supervisor_without_an_answer_is_not_waited_for(
    model: Model, servers: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = servers(models={"tiny": model("ok")})
    local.endpoint("tiny")
    monkeypatch.setattr(lease_of(local), "ask", lambda *_, **__: {})
    assert local.load("tiny") is None
    assert local.usage() == []
    with pytest.raises(LocalModelError, match="gave no answer"):
        local.keep("tiny")


def test_who_comes_second_takes_what_the_first_brought(model: Model, servers: Make) -> None:
    local = servers(models={"tiny": model("ok")})
    endpoint = local.endpoint("tiny")
    slot = local._slots["tiny"]
    assert slot.runner().endpoint is endpoint
    slot.crashes.extend([time.monotonic() - 601, time.monotonic()])
    assert slot.recent_crashes() == 1
