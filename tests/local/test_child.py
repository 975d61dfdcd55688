"""The child program, alone: its parameters, its answers and its ways to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.local import child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SPEC: dict[str, Any] = {
    "name": "tiny",
    "path": "",
    "context": 512,
    "parallel": 3,
    "threads": 2,
    "prompt_cache_mib": 64,
    "sleep_idle_seconds": 9,
    "gpu_layers": -1,
    "port": 0,
    "lora": [],
    "speculative": None,
    "token": "k",
    "parent": os.getpid(),
}


@pytest.fixture
def start() -> Iterator[Callable[[dict[str, Any]], subprocess.Popen[bytes]]]:
    """Return a function that runs the child's file with a spec, and ends it at the end of the test."""
    started: list[subprocess.Popen[bytes]] = []

    def run(spec: dict[str, Any]) -> subprocess.Popen[bytes]:
        program = subprocess.Popen(  # noqa: S603 - our own interpreter and file
            [sys.executable, "-P", child.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        started.append(program)
        assert program.stdin is not None
        program.stdin.write(json.dumps(spec).encode() + b"\n")
        return program

    yield run
    for program in started:
        program.kill()
        program.wait()
        for pipe in (program.stdin, program.stdout):
            assert pipe is not None
            pipe.close()


def answer(program: subprocess.Popen[bytes]) -> Any:
    assert program.stdout is not None
    return json.loads(program.stdout.readline())


LIBRARY = SimpleNamespace(
    CommonParams=lambda: SimpleNamespace(
        model=SimpleNamespace(), cpuparams=SimpleNamespace(), speculative=SimpleNamespace()
    ),
    CommonAdapterLoraInfo=SimpleNamespace,
    common_speculative_type=SimpleNamespace(COMMON_SPECULATIVE_TYPE_NGRAM_MAP_K="ngram"),
)


def test_the_context_is_per_slot_and_only_this_machine_may_call() -> None:
    params = child.server_params(LIBRARY, SPEC)
    assert (params.n_ctx, params.n_parallel) == (1536, 3)
    assert params.hostnames == ["127.0.0.1"]
    assert (params.api_keys, params.cors_origins, params.ui) == (["k"], "", False)
    assert params.endpoint_metrics
    assert params.use_jinja
    assert not hasattr(params, "lora_adapters")


def test_adapters_are_loaded_but_not_applied_and_tokens_guessed_where_asked() -> None:
    params = child.server_params(LIBRARY, SPEC | {"lora": ["/a", "/b"], "speculative": "ngram"})
    assert [(each.path, each.scale) for each in params.lora_adapters] == [("/a", 0.0), ("/b", 0.0)]
    assert params.lora_init_without_apply
    assert not hasattr(params, "embedding")
    assert params.speculative.types == ["ngram"]


@pytest.mark.parametrize("pooling", ["own", "mean"])
def test_an_embedder_is_told_to_give_vectors(pooling: str) -> None:
    library: Any = SimpleNamespace(
        **vars(LIBRARY), llama_pooling_type=SimpleNamespace(LLAMA_POOLING_TYPE_MEAN="the mean")
    )
    params = child.server_params(library, SPEC | {"embeddings": pooling})
    assert params.embedding
    assert params.n_batch == params.n_ubatch == SPEC["context"]
    assert getattr(params, "pooling_type", None) == ("the mean" if pooling == "mean" else None)


def test_the_real_parameters_have_all_these_names() -> None:
    xllamacpp = pytest.importorskip("xllamacpp")
    more = {"path": "/x.gguf", "lora": ["/a"], "speculative": "ngram", "embeddings": "mean"}
    params = child.server_params(xllamacpp, SPEC | more)
    assert params.embedding
    assert params.model.path == "/x.gguf"
    assert params.model_alias == {"tiny"}
    assert params.cpuparams.n_threads == 2
    assert [each.path for each in params.lora_adapters] == ["/a"]
    assert len(params.speculative.types) == 1


def test_it_listens_and_ends_in_order_on_sigterm(
    start: Callable[[dict[str, Any]], subprocess.Popen[bytes]], model: Callable[[str], Path]
) -> None:
    program = start(SPEC | {"path": str(model("ok"))})
    said = answer(program)
    assert said["event"] == "listening"
    assert said["address"].startswith("http://127.0.0.1:")
    program.terminate()
    assert program.wait(60) == 0


def test_it_ends_when_stdin_does(
    start: Callable[[dict[str, Any]], subprocess.Popen[bytes]],
    model: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A busy machine may need more than the second that it has.
    patient = tmp_path / "patient.py"
    source = Path(child.__file__).read_text(encoding="utf-8")
    patient.write_text(source.replace("\n_GRACE_SECONDS = 1.0\n", "\n_GRACE_SECONDS = 60.0\n"), encoding="utf-8")
    monkeypatch.setattr(child, "__file__", str(patient))
    program = start(SPEC | {"path": str(model("ok"))})
    answer(program)
    assert program.stdin is not None
    program.stdin.close()
    assert program.wait(60) == 0


def test_an_end_that_hangs_is_cut_short(
    start: Callable[[dict[str, Any]], subprocess.Popen[bytes]], model: Callable[[str], Path]
) -> None:
    program = start(SPEC | {"path": str(model("stubborn"))})
    answer(program)
    assert program.stdin is not None
    program.stdin.close()
    assert program.wait(60) == 1


def test_a_parent_that_is_another_one_already_is_not_waited_for(
    start: Callable[[dict[str, Any]], subprocess.Popen[bytes]], model: Callable[[str], Path]
) -> None:
    assert start(SPEC | {"path": str(model("ok")), "parent": 1}).wait(60) == 1


def test_a_failure_is_reported(
    start: Callable[[dict[str, Any]], subprocess.Popen[bytes]], model: Callable[[str], Path]
) -> None:
    program = start(SPEC | {"path": str(model("not a model"))})
    assert answer(program) == {
        "event": "failed",
        "error": "RuntimeError: Failed to init server, please check the input params.",
    }
    assert program.wait(60) == 1


def test_the_watcher_asks_first_and_leaves_then() -> None:
    stop, left = threading.Event(), list[int]()
    with tempfile.TemporaryFile(buffering=0) as stdin:
        stdin.write(b"more")
        stdin.seek(0)
        child.watch(stdin, stop, left.append, grace=0)
    assert stop.is_set()
    assert left == [1]


def test_serving_ends_with_the_parent_or_the_wish() -> None:
    stop = threading.Event()
    child.serve(stop, parent=os.getppid() + 1, poll=0.01)
    assert not stop.is_set()
    threading.Timer(0.05, stop.set).start()
    before = time.monotonic()
    child.serve(stop, parent=os.getppid(), poll=0.01)
    assert time.monotonic() - before >= 0.04


def test_a_log_over_its_bound_is_emptied_and_written_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, b"x" * 11)
    child.bound_log(descriptor, limit=11)
    assert log.stat().st_size == 11
    child.bound_log(descriptor, limit=10)
    os.write(descriptor, b"y")
    assert log.read_bytes() == b"y"
    os.close(descriptor)
    child.bound_log(descriptor)


def test_a_report_to_nobody_is_survived() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    child.report(os.fdopen(writing, "wb"), event="listening")


def test_die_with_parent_can_be_taken_back() -> None:
    child.die_with_parent(signal.SIGTERM)
    child.die_with_parent(0)


def test_other_systems_have_no_such_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    child.die_with_parent(signal.SIGKILL)
