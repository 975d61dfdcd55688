"""Who a process is, and whether it still runs."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from llmsaver.cache import owner

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_this_process_is_alive_and_no_other_owner() -> None:
    one = owner.this_process()
    assert owner.is_alive(one)
    assert one != owner.this_process()
    machine, pid, start, number = one.rsplit("|", 3)
    assert owner.is_alive(f"{machine}|{pid}|{int(start) + 1}|{number}") is False  # its id was given to another
    assert owner.is_alive(f"elsewhere|{pid}|{start}|{number}") is None


def test_a_process_that_nobody_has_buried_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert owner._start_of(child.pid) == ""
    child.stdout.close()
    child.wait()
    assert owner._start_of(child.pid) == ""


def test_without_proc_it_is_known_by_its_id(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert owner._start_of(os.getpid()).isdigit()
    monkeypatch.setattr(owner, "Path", lambda name: tmp_path / name.lstrip("/"))
    assert owner._start_of(os.getpid()) == "?"

    def forbidden(pid: int, signal: int) -> None:
        raise PermissionError(pid, signal)

    def gone(pid: int, signal: int) -> None:
        raise ProcessLookupError(pid, signal)

    with monkeypatch.context() as patch:
        patch.setattr(os, "kill", forbidden)
        assert owner._start_of(1) == "?"  # somebody else's
        patch.setattr(os, "kill", gone)
        assert owner._start_of(1) == ""
    machine = owner._machine.__wrapped__()
    assert machine.endswith("  ")
    monkeypatch.setattr(owner, "_machine", lambda: machine)
    assert owner.is_alive(owner.this_process()) is None
