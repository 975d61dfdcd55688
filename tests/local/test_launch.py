"""A plan, what a supervisor and its child are started with, and what is said of a failure."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.errors import LocalModelError
from llmsaver.local import folder, launch
from llmsaver.local.launch import Plan, child_environment, failure, log_stem, start, too_slow

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver.local.folder import Locked


def plan(path: Path | str) -> Plan:
    return Plan("a/b", str(path), context=64, parallel=1, threads=1, prompt_cache_mib=1, sleep_idle_seconds=-1)


@pytest.fixture
def lock() -> Locked:
    found = folder.try_lock(folder.runtime_folder() / "k.lock")
    assert found is not None
    return found


def test_secrets_stay_out_of_the_childs_environment() -> None:
    kept = child_environment(
        dict.fromkeys(
            [
                *("PATH", "HOME", "CUDA_VISIBLE_DEVICES", "MONKEY", "TOKENIZERS_PARALLELISM", "OMP_WAIT_POLICY"),
                *("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "HF_TOKEN", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY"),
                *("DB_PASSWORD", "my_api_key", "SENTRY_DSN", "GOOGLE_APPLICATION_CREDENTIALS", "APIKEY"),
            ],
            "x",
        )
    )
    assert set(kept) == {
        *("PATH", "HOME", "CUDA_VISIBLE_DEVICES", "MONKEY", "TOKENIZERS_PARALLELISM"),
        *("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"),
    }
    assert kept["OMP_WAIT_POLICY"] == "passive"


def test_the_key_reaches_the_child_by_pipes_only(
    model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, lock: Locked
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    path = model("ok")
    lease = start(plan(path), "k", folder.runtime_folder(), lock)
    assert lease.ready(30)
    (found,) = json.loads(path.with_name("model.gguf.starts").read_text(encoding="utf-8"))
    token = lease.facts["token"]
    assert token in found["params"]["api_keys"]
    assert token not in " ".join([*found["argv"], *found["environment"].values()])
    assert "OPENAI_API_KEY" not in found["environment"]
    assert token not in Path(f"/proc/{lease.facts['pid']}/cmdline").read_text(encoding="utf-8")
    log = Path(lease.facts["log"])
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert "this goes to the log" in log.read_text(encoding="utf-8")
    assert os.getsid(lease.facts["child"]) != os.getsid(0)
    lease.let_go()
    assert lease.gone(20)


def test_servers_are_told_apart_by_weights_and_by_what_changes_answers(tmp_path: Path) -> None:
    path, other = tmp_path / "w.gguf", tmp_path / "v.gguf"
    path.write_bytes(b"one")
    other.write_bytes(b"two")
    first = plan(path)
    same = replace(first, prompt_cache_mib=9, sleep_idle_seconds=5, exit_idle_seconds=7, memory_mib=3)
    link = tmp_path / "link.gguf"
    link.symlink_to(path)
    assert first.key() == same.key() == replace(first, path=str(link)).key()
    changes: list[dict[str, Any]] = [
        {"path": str(other)},
        {"name": "c"},
        {"context": 65},
        {"parallel": 2},
        {"threads": 2},
        {"gpu_layers": 0},
        {"lora": (str(other),)},
        {"speculative": "ngram"},
    ]
    keys = {first.key(), *(replace(first, **change).key() for change in changes)}
    assert len(keys) == len(changes) + 1
    path.write_bytes(b"three")
    assert first.key() not in keys
    with pytest.raises(LocalModelError, match=r"local/a/b: /does/not/exist cannot be read"):
        plan("/does/not/exist").key()


def test_old_logs_go_and_a_bad_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: Locked) -> None:
    first = launch._log_file("a/b")
    assert first.name.startswith(log_stem("a/b"))
    assert first.name.startswith("local-a_b-")
    old, young = first.with_name("local-old.log"), first.with_name("local-young.log")
    old.touch()
    young.touch()
    os.utime(old, (0, 0))
    launch._log_file("a/b")
    assert not old.exists()
    assert young.exists()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(LocalModelError, match="log folder"):
        start(plan("/x"), "k", folder.runtime_folder(), lock)
    lock.release()


def test_a_frozen_program_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch, lock: Locked) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(LocalModelError, match=r"sys\.executable"):
        start(plan("/x"), "k", folder.runtime_folder(), lock)
    lock.release()


def test_an_interrupted_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch, lock: Locked) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start(plan("/x"), "k", folder.runtime_folder(), lock)
    assert not folder.held(folder.runtime_folder() / "k.lock")


def test_a_supervisor_that_cannot_run_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lock: Locked) -> None:
    monkeypatch.setattr(launch, "_HERE", tmp_path)
    lease = start(plan("/x"), "k", folder.runtime_folder(), lock)
    assert not lease.hello(20)
    assert lease.ended is not None
    assert "lost" in failure(plan("/x"), lease.ended).diagnosis.kind


def test_a_failure_names_the_cause_and_shows_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("0.00.003 E invalid magic characters: 'junk'\n", encoding="utf-8")
    ended = {"reason": "crashed", "returncode": 1, "log": str(log)}
    error = failure(plan("/x"), ended)
    assert error.diagnosis.kind == "format"
    assert str(error).startswith("local/a/b (/x) is not running: the file is not a GGUF model.")
    assert "invalid magic" in str(error)
    assert failure(plan("/x"), ended | {"reason": "lost"}).diagnosis.retry
    assert failure(plan("/x"), {"reason": "silent"}).diagnosis.kind == "silent"
    late = too_slow(plan("/x"), 2.5, None)
    assert "not ready after 2.5 s" in str(late)
    assert not late.diagnosis.retry
    assert "log ends" in str(too_slow(plan("/x"), 2.5, str(log)))
