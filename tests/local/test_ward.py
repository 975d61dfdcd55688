"""The child that a supervisor looks after."""

from __future__ import annotations

import os
import textwrap
from typing import TYPE_CHECKING

import pytest

from llmsaver.local import ward as ward_module
from llmsaver.local.ward import Ward

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Start = Callable[[str], Ward]

SAY = "print('{}', flush=True)\n"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts a child whose program is a few lines; stopped at the end of the test."""
    started: list[Ward] = []

    def run(source: str) -> Ward:
        path = tmp_path / "script.py"
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        started.append(Ward(str(path), {"name": "x"}))
        return started[-1]

    yield run
    for ward in started:
        if ward.returncode is None:
            ward.stop()


def heard(ward: Ward) -> str:
    while (said := ward.hear()) is None:
        pass
    return said


def test_it_is_told_the_plan_and_says_where_it_listens(start: Start) -> None:
    ward = start("""
        import json, os, sys
        plan = json.loads(sys.stdin.readline())
        answer = json.dumps({"event": "listening", "address": f"{plan['name']} {plan['parent'] == os.getppid()}"})
        print(answer[:9], end="", flush=True)
        print(answer[9:], flush=True)
        sys.stdin.read()
    """)
    assert heard(ward) == "x True"
    assert not ward.reap()
    ward.stop()
    assert ward.returncode in {0, -15}


def test_one_that_failed_or_ended_says_nothing_of_an_address(start: Start) -> None:
    assert heard(start(SAY.format('{"event": "failed", "error": "e"}'))) == ""
    ward = start("raise SystemExit(7)")
    assert heard(ward) == ""
    assert ward.reap(0)
    assert ward.reap()
    assert ward.returncode == 7
    ward.stop()


@pytest.mark.parametrize("line", ["rubbish", "[]", "{}", '{"event": "listening"}'])
def test_what_makes_no_sense_is_told(start: Start, line: str) -> None:
    ward = start(SAY.format(line) + "import time\ntime.sleep(60)")
    with pytest.raises(ValueError, match=r"b'|Expecting"):
        heard(ward)


def test_one_that_does_not_end_is_killed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ward_module, "_STOP_SECONDS", 0.1)
    said = SAY.format('{"event": "listening", "address": "a"}')
    ward = start(f"import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{said}time.sleep(60)")
    assert heard(ward) == "a"
    ward.stop()
    assert ward.returncode == -9


def test_the_plan_of_one_that_is_gone_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_descriptor: int, _line: bytes) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(os, "write", broken)
    ward = Ward("/does/not/exist.py", {})
    assert ward.reap(0)
    ward.stop()


def test_processor_time_is_counted_where_the_system_tells(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    burning = "import time\nwhile time.process_time() < 0.1: pass\n"
    ward = start(burning + SAY.format('{"event": "listening", "address": "a"}') + "time.sleep(60)")
    heard(ward)
    assert ward.ticks() >= 5
    monkeypatch.setattr(ward, "pid", -1)
    assert ward.ticks() == 0
    monkeypatch.undo()
