"""One child: start, environment, log, failures and end."""

from __future__ import annotations

import json
import os
import stat
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.errors import LocalModelError
from llmsaver.local import launch
from llmsaver.local.launch import Child, Plan, ServerFailed, child_environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def plan(path: Path | str) -> Plan:
    return Plan("a/b", str(path), context=64, parallel=1, threads=1, prompt_cache_mib=1, sleep_idle_seconds=-1)


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that replaces the child's program by a few lines."""

    def replace(source: str) -> None:
        path = tmp_path / "script.py"
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        monkeypatch.setattr(launch, "_CHILD", path)

    return replace


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


def test_the_key_reaches_the_child_by_stdin_only(model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    path = model("ok")
    child = Child(plan(path))
    try:
        assert child.ready(10).startswith("http://127.0.0.1:")
        (start,) = json.loads(path.with_name("model.gguf.starts").read_text(encoding="utf-8"))
        assert child.api_key in start["params"]["api_keys"]
        assert child.api_key not in " ".join([*start["argv"], *start["environment"].values()])
        assert "OPENAI_API_KEY" not in start["environment"]
        assert os.getpgid(child.pid) == child.pid
        assert stat.S_IMODE(child.log.stat().st_mode) == 0o600
        assert "this goes to the log" in child.log.read_text(encoding="utf-8")
    finally:
        child.stop()
    assert not child.alive()
    assert not child.log.exists()
    child.stop()


def test_a_failure_names_the_cause_and_shows_the_log(model: Callable[[str], Path]) -> None:
    child = Child(plan(model("not a model")))
    with pytest.raises(ServerFailed, match=r"(?s)not a GGUF model.*invalid magic") as caught:
        child.ready(10)
    assert caught.value.diagnosis.kind == "format"
    assert child.log.exists()


def test_a_start_that_takes_too_long_is_ended(model: Callable[[str], Path], gone: Callable[[int, float], bool]) -> None:
    child = Child(plan(model("slow")))
    with pytest.raises(ServerFailed, match=r"not ready after 0\.5 s.*start_timeout"):
        child.ready(0.5)
    assert gone(child.pid, 1)


@pytest.mark.parametrize("line", ["rubbish", "[]", "{}", '{"event": "failed"}', '{"event": "listening"}'])
def test_an_answer_that_makes_no_sense_is_a_failure(script: Callable[[str], None], line: str) -> None:
    script(f"input(); print({line!r})")
    child = Child(plan("/x"))
    with pytest.raises(ServerFailed, match="ended with status 0"):
        child.ready(10)


def test_a_child_that_never_reads_is_a_failure(script: Callable[[str], None]) -> None:
    script("raise SystemExit(7)")
    child = Child(plan("/x"))
    child._popen.wait()
    with pytest.raises(ServerFailed, match="ended with status 7"):
        child.ready(10)


def test_a_child_that_says_nothing_useful_and_stays_is_ended(
    script: Callable[[str], None], gone: Callable[[int, float], bool]
) -> None:
    script("import time; input(); print('hello', flush=True); time.sleep(30)")
    child = Child(plan("/x"))
    with pytest.raises(ServerFailed, match="gives no usable answer"):
        child.ready(10)
    assert gone(child.pid, 1)


def test_one_that_does_not_end_is_killed_and_its_log_kept(script: Callable[[str], None]) -> None:
    script("""
        import json, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print(json.dumps({"event": "listening", "address": "http://127.0.0.1:1"}), flush=True)
        time.sleep(30)
    """)
    child = Child(plan("/x"))
    child.ready(10)
    launch._stop(child._popen, os.getpid(), child.log, grace=0.2)
    assert not child.alive()
    assert child.log.exists()


def test_another_programs_child_is_left_alone(model: Callable[[str], Path]) -> None:
    child = Child(plan(model("ok")))
    child.ready(10)
    launch._stop(child._popen, os.getpid() + 1, child.log)
    assert child.alive()
    child.stop()


def test_a_child_ends_with_the_object(model: Callable[[str], Path], gone: Callable[[int, float], bool]) -> None:
    child = Child(plan(model("ok")))
    child.ready(10)
    pid = child.pid
    del child
    assert gone(pid, 0.1)


def test_old_logs_go_and_a_bad_folder_is_named(
    model: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = Child(plan(model("ok")))
    child.ready(10)
    old, young = child.log.with_name("local-old.log"), child.log.with_name("local-young.log")
    old.touch()
    young.touch()
    os.utime(old, (0, 0))
    Child(plan(model("ok"))).stop()
    child.stop()
    assert not old.exists()
    assert young.exists()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(LocalModelError, match="log folder"):
        Child(plan("/x"))


def test_a_frozen_program_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(LocalModelError, match=r"sys\.executable"):
        Child(plan("/x"))


def test_without_pipes_there_is_an_error_not_a_crash(script: Callable[[str], None]) -> None:
    script("input()")
    child = Child(plan("/x"))
    popen: Any = child._popen
    stdin, popen.stdin = popen.stdin, None
    with pytest.raises(LocalModelError, match="no pipes"):
        child.ready(1)
    popen.stdin = stdin
    child.stop()
