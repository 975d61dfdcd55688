"""The supervisor program, with a stand-in for xllamacpp: what it says, whom it lets in, and all its ways to end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.local import folder, launch, status, supervisor
from llmsaver.local.launch import Plan
from llmsaver.local.lease import Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Model = Callable[[str], Path]
    Gone = Callable[[int, float], bool]
    Until = Callable[[Callable[[], object]], None]
    Begin = Callable[..., Lease]

PLAN = Plan("tiny", "", context=64, parallel=2, threads=1, prompt_cache_mib=1, sleep_idle_seconds=-1)
STATUS = frozenset({"status"})
READY_SECONDS = 60


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Return a function that starts a supervisor and returns the first lease; given up at the end of the test."""
    leases: list[Lease] = []

    def run(path: Path, where: Path | None = None, **changes: Any) -> Lease:
        plan = replace(PLAN, path=str(path), **changes)
        place, key = where or folder.runtime_folder(), plan.key()
        lock = folder.try_lock(place / f"{key}.lock")
        assert lock is not None
        leases.append(launch.start(plan, key, place, lock))
        return leases[-1]

    yield run
    for lease in leases:
        lease.let_go()
        assert lease.gone(60)
    for state in status.running():
        status.stop(state.key)


def another(lease: Lease, op: str = "lease", token: str | None = None) -> Lease:
    """Join as another program would."""
    sock = folder.connect(lease.facts)
    assert sock is not None
    joined = Lease(sock)
    joined.send(op=op, token=lease.facts["token"] if token is None else token)
    return joined


def test_its_facts_are_private_and_gone_with_it(model: Model, begin: Begin, gone: Gone, until: Until) -> None:
    lease = begin(model("ok"))
    assert lease.ready(READY_SECONDS)
    place = folder.runtime_folder()
    (path,) = place.glob("*.json")
    assert path.stat().st_mode & 0o777 == 0o600
    assert {"event": "ready", **json.loads(path.read_text(encoding="utf-8"))} == lease.facts
    assert folder.held(path.with_suffix(".lock"))
    assert os.getsid(lease.facts["pid"]) not in {os.getsid(0), lease.facts["pid"]}
    lease.let_go()
    assert lease.gone(60)
    assert not list(place.glob("*.json")) + list(place.glob("*.sock"))
    until(lambda: not folder.held(path.with_suffix(".lock")))
    assert gone(lease.facts["child"], 0.1)
    assert not Path(lease.facts["log"]).exists()


def test_only_who_knows_the_token_is_let_in(model: Model, begin: Begin) -> None:
    lease = begin(model("ok"))
    assert lease.ready(READY_SECONDS)
    stranger = another(lease, token="wrong")
    assert not stranger.hello(60)
    assert not stranger.alive()
    look = another(lease, "look")
    assert look.hello(60)
    found = look.ask("status", STATUS)
    assert (found["leases"], found["kept"], found["calls"], found["base_url"]) == (1, False, 0, lease.ready(0))
    second = another(lease)
    assert second.hello(60)
    assert look.ask("status", STATUS)["leases"] == 2
    second.close()
    look.close()
    stranger.close()


def test_nonsense_does_no_harm(model: Model, begin: Begin, until: Until) -> None:
    lease = begin(model("ok"))
    assert lease.ready(READY_SECONDS)
    for message in ({"op": "begin", "call": "x"}, {"op": "end", "call": []}, {"op": "what"}, {}):
        lease.send(**message)
    assert lease.ask("end", frozenset({"share"}), call=99)["seconds"] == 0.0
    strangers = [folder.connect(lease.facts) for _ in range(70)]
    look = another(lease, "look")
    assert not look.hello(5)  # there are too many who say nothing
    for each in strangers:
        assert each is not None
        each.close()
    look.close()

    def let_in() -> bool:
        look = another(lease, "look")
        try:
            return look.hello(60)
        finally:
            look.close()

    until(let_in)


def test_who_comes_while_it_loads_waits_with_the_others(model: Model, begin: Begin) -> None:
    lease = begin(model("takes a second"))
    assert lease.hello(READY_SECONDS)
    other = another(lease)
    assert other.hello(60)
    assert other.facts["base_url"] is None
    assert other.ready(READY_SECONDS) == lease.ready(READY_SECONDS)
    other.close()


def test_a_user_that_dies_ends_its_calls(model: Model, begin: Begin, until: Until) -> None:
    lease = begin(model("ok"))
    assert lease.ready(READY_SECONDS)
    other = another(lease)
    other.begin()
    until(lambda: lease.ask("status", STATUS)["calls"] == 1)
    other.close()
    until(lambda: lease.ask("status", STATUS)["calls"] == 0)


def test_where_a_path_is_too_long_it_listens_on_loopback(model: Model, begin: Begin, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    lease = begin(model("ok"), where=deep)
    assert lease.ready(READY_SECONDS)
    assert isinstance(lease.facts["control"], int)
    look = another(lease, "look")
    assert look.hello(60)
    look.close()


def test_sigterm_ends_it_in_order_and_sighup_does_not(model: Model, begin: Begin, gone: Gone) -> None:
    lease = begin(model("ok"))
    assert lease.ready(READY_SECONDS)
    os.kill(lease.facts["pid"], signal.SIGHUP)
    os.kill(lease.facts["pid"], signal.SIGINT)
    assert lease.ask("status", STATUS)
    os.kill(lease.facts["pid"], signal.SIGTERM)
    assert gone(lease.facts["child"], 60)
    while lease.alive():
        pass
    assert lease.ended is not None
    assert lease.ended["reason"] == "stopped"


@pytest.mark.parametrize(
    ("mode", "reason", "code"), [("killed", "crashed", -9), ("not a model", "crashed", 1)], ids=["killed", "refused"]
)
def test_it_says_how_the_server_ended(model: Model, begin: Begin, mode: str, reason: str, code: int) -> None:
    lease = begin(model(mode))
    assert lease.ready(READY_SECONDS) is None
    assert lease.ended is not None
    assert (lease.ended["reason"], lease.ended["returncode"]) == (reason, code)
    assert Path(lease.ended["log"]).exists()


def test_a_server_that_talks_nonsense_is_ended(begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "script.py"
    script.write_text("import time; input(); print('hello', flush=True); time.sleep(60)", encoding="utf-8")
    monkeypatch.setattr(launch, "_CHILD", script)
    lease = begin(script)
    assert lease.ready(READY_SECONDS) is None
    assert lease.ended is not None
    assert (lease.ended["reason"], lease.ended["returncode"]) == ("silent", None)


def test_it_makes_way_only_where_nobody_calls_or_keeps_it(model: Model, begin: Begin) -> None:
    lease = begin(model("ok"))
    assert lease.ready(READY_SECONDS)
    look = another(lease, "look")
    assert look.hello(60)
    call = lease.begin()
    answers = frozenset({"stopping", "busy"})
    assert lease.ask("status", STATUS)["calls"] == 1
    assert look.ask("stop", answers, if_free=True)["event"] == "busy"
    call.end()
    assert lease.ask("hold", STATUS)
    assert look.ask("stop", answers, if_free=True)["event"] == "busy"
    assert look.ask("stop", answers)["event"] == "stopping"
    assert look.gone(60)
    assert lease.gone(60)


def test_one_that_is_kept_outlives_its_users_and_comes_back_after_a_crash(
    model: Model, begin: Begin, gone: Gone, until: Until
) -> None:
    lease = begin(model("ok"), exit_idle_seconds=1)
    assert lease.ready(READY_SECONDS)
    assert lease.ask("keep", STATUS)["kept"]
    lease.let_go()
    assert lease.gone(60)
    (before,) = status.running()
    assert (before.kept, before.leases, before.pid) == (True, 0, lease.facts["pid"])
    os.kill(before.child, signal.SIGKILL)
    until(lambda: [state.address for state in status.running() if state.child != before.child and state.address])
    (after,) = status.running()
    assert (after.pid, after.kept) == (before.pid, True)
    assert folder.held(folder.runtime_folder() / f"{after.key}.lock")
    assert status.stop("tiny")
    assert gone(after.child, 0.1)
    assert gone(after.pid, 60)


def test_after_too_many_crashes_it_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    run: list[Any] = []
    monkeypatch.setattr(os, "execv", lambda *arguments: run.append(arguments))
    monkeypatch.setattr("time.sleep", run.append)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    spec: dict[str, Any] = {"name": "x", "crashes": [1.0, *[1000.0] * 6]}
    ours, theirs = socket.socketpair()
    supervisor.again(spec, ours.fileno(), 1001.0)
    assert run[0] == 5.0
    assert run[1][1][-2:][1] == str(ours.fileno())
    run.clear()
    supervisor.again(spec | {"crashes": [1000.0] * 8}, ours.fileno(), 1001.0)
    assert run == []
    ours.close()
    theirs.close()


def test_a_starter_that_says_nothing_is_left() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-P", supervisor.__file__, str(theirs.fileno()), str(theirs.fileno())]
        with subprocess.Popen(  # noqa: S603 - our own interpreter and file
            command, pass_fds=(theirs.fileno(),)
        ) as program:
            ours.close()
            theirs.close()
            assert program.wait(60) == 1


def test_it_needs_little_memory(model: Model, begin: Begin) -> None:
    lease = begin(model("ok"))
    assert lease.ready(READY_SECONDS)
    size = status._rss_bytes(lease.facts["pid"])
    assert size is not None
    assert size < 15_000_000 or launch._FLAGS == ("-P",)
