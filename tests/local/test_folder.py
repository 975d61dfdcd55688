"""The runtime folder: whose it must be, its locks, and facts that may be stale."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmsaver.errors import LocalModelError
from llmsaver.local import folder

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_made_and_kept_private(tmp_path: Path) -> None:
    found = folder.runtime_folder()
    assert found.is_relative_to(tmp_path)
    assert found.stat().st_mode & 0o777 == 0o700
    found.chmod(0o755)
    assert folder.runtime_folder().stat().st_mode & 0o777 == 0o700


def test_without_a_variable_there_is_one_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert folder.runtime_folder().stat().st_uid == os.getuid()


def test_a_folder_of_somebody_elses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = os.getuid()
    folder.runtime_folder()
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)
    with pytest.raises(LocalModelError, match=r"runtime folder .*cannot be used.*XDG_RUNTIME_DIR"):
        folder.runtime_folder()


def test_a_lock_is_one_programs_and_passes_to_who_inherits_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = folder.try_lock(path)
    assert lock is not None
    assert folder.try_lock(path) is None
    assert folder.held(path)
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock.descriptor,)
    ) as heir:
        lock.release()
        lock.release()
        assert folder.held(path)
        heir.kill()
    assert not folder.held(path)


def test_a_fork_gives_its_copies_up(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = folder.try_lock(path)
    assert lock is not None
    folder._after_fork()
    assert not folder.held(path)
    lock.release()


def test_only_one_looks_for_room_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    with folder.machine_wide(tmp_path, stop):
        monkeypatch.setattr(folder, "_LOCK_SECONDS", 0.05)
        with pytest.raises(LocalModelError, match=r"room\.lock"), folder.machine_wide(tmp_path, stop):
            pass
        stop.set()
        with pytest.raises(LocalModelError, match=r"room\.lock"), folder.machine_wide(tmp_path, stop):
            pass
    with folder.machine_wide(tmp_path, stop):
        pass


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.binary() | st.sampled_from([b"[]", b"{}", b'{"control": 1, "token": ""}']))
def test_facts_that_make_no_sense_are_none(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "k.json").write_bytes(text)
    assert folder.facts(tmp_path, "k") is None
    assert folder.keys(tmp_path) == ["k"]


def test_connecting_to_what_is_gone_is_none(tmp_path: Path) -> None:
    assert folder.facts(tmp_path, "k") is None
    assert folder.connect({"control": str(tmp_path / "none.sock")}) is None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        connected = folder.connect({"control": port})
        assert connected is not None
        connected.close()
    assert folder.connect({"control": port}) is None
