"""A stand-in for xllamacpp that a child program imports: what it does is written in the model's file."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import llmsaver
from llmsaver.local import LocalServers, launch
from llmsaver.local import weights as weights_module
from llmsaver.local.lease import Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STAND_IN = """
import http.server, json, os, pathlib, sys, threading, time
from types import SimpleNamespace

def CommonParams():
    return SimpleNamespace(model=SimpleNamespace(), cpuparams=SimpleNamespace(), speculative=SimpleNamespace())

CommonAdapterLoraInfo = SimpleNamespace
common_speculative_type = SimpleNamespace(COMMON_SPECULATIVE_TYPE_NGRAM_MAP_K="ngram")

class Server:
    def __init__(self, params):
        path = pathlib.Path(params.model.path)
        starts = pathlib.Path(str(path) + ".starts")
        seen = json.loads(starts.read_text()) if starts.exists() else []
        facts = {name: repr(value) for name, value in vars(params).items()}
        seen.append({"pid": os.getpid(), "argv": sys.argv, "environment": dict(os.environ), "params": facts})
        starts.with_suffix(".new").write_text(json.dumps(seen))
        starts.with_suffix(".new").replace(starts)
        print("this goes to the log", flush=True)
        self.mode = path.read_text()
        if self.mode == "slow":
            time.sleep(300)
        if self.mode == "killed" or (self.mode == "killed once" and len(seen) == 1):
            os.kill(os.getpid(), 9)
        if self.mode == "not a model":
            print("0.00.003 E gguf_init_from_reader: invalid magic characters: 'junk'", file=sys.stderr, flush=True)
            raise RuntimeError("Failed to init server, please check the input params.")
        if self.mode == "takes a second":
            time.sleep(1.5)
        status = 503 if self.mode == "sick" else 200
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                known = self.path == "/health" or params.api_keys[0] in str(self.headers)
                self.send_response(status if known else 401)
                self.end_headers()
            def log_message(self, *_):
                pass
        served = http.server.ThreadingHTTPServer(("127.0.0.1", params.port), Answer)
        threading.Thread(target=served.serve_forever, daemon=True).start()
        self.listening_address = "http://127.0.0.1:%d" % served.server_port

    def __del__(self):
        if getattr(self, "mode", "") == "stubborn":
            time.sleep(30)
"""


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep logs, remembered checks and servers apart from those of whoever runs the tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    (tmp_path / "run").mkdir(mode=0o700)
    # What answers at once may be slow to on a busy machine.
    for limit in (
        "abilities._PROPS_SECONDS",
        "acquire._HELLO_SECONDS",
        "acquire._STOP_SECONDS",
        "attach._CONNECT_SECONDS",
        "attach._LOAD_SECONDS",
        "folder._CONNECT_SECONDS",
        "lease._ASK_SECONDS",
        "lease._SHARE_SECONDS",
        "runners._STOP_SECONDS",
        "status._HEALTH_SECONDS",
        "status._HELLO_SECONDS",
        "status._STOP_SECONDS",
        "vllm_run._ASK_SECONDS",
        "vllm_run._LOAD_SECONDS",
        "ward._STOP_SECONDS",
    ):
        monkeypatch.setattr(f"llmsaver.local.{limit}", 60.0)
    monkeypatch.setattr(Lease.ask, "__defaults__", (60.0,))
    if "COVERAGE_PROCESS_CONFIG" in os.environ:
        monkeypatch.setattr(launch, "_FLAGS", ("-P",))  # else nothing of the user's, coverage included, is loaded


@pytest.fixture
def library() -> str:
    """Return the folder from which llmsaver is imported, for programs that a test starts."""
    return str(Path(str(llmsaver.__file__)).parents[1])


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let children import the stand-in; return the folder for ``PYTHONPATH``."""
    folder = tmp_path / "stand-in"
    folder.mkdir()
    (folder / "xllamacpp.py").write_text(STAND_IN, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@pytest.fixture
def model(tmp_path: Path, stand_in: Path) -> Callable[[str], Path]:
    """Return a function that writes a model's file which makes the stand-in behave in a certain way."""
    assert stand_in.is_dir()

    def write(mode: str) -> Path:
        path = tmp_path / "model.gguf"
        path.write_text(mode, encoding="utf-8")
        return path

    return write


@pytest.fixture
def servers() -> Iterator[Callable[..., LocalServers]]:
    """Return ``LocalServers``, closing every one at the end of the test."""
    made: list[LocalServers] = []

    def make(**settings: object) -> LocalServers:
        made.append(LocalServers(**settings))  # type: ignore[arg-type] # any settings, checked by the class
        return made[-1]

    yield make
    for each in made:
        each.close()


def _running(pid: int) -> bool:
    """Return whether the program runs; one that ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self").exists()  # no /proc there: the signal's answer stands


@pytest.fixture
def gone() -> Callable[[int, float], bool]:
    """Return a function that waits until a program has ended, and says whether it did."""

    def wait(pid: int, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while _running(pid):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    return wait


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Return a function that waits until something holds, for as long as a busy machine may need."""

    def wait(holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < deadline, "it did not come about in 60 s"
            time.sleep(0.01)

    return wait


@pytest.fixture
def smollm2() -> Path:
    """Return the real weights, or skip where they or the server are not installed."""
    pytest.importorskip("xllamacpp")
    path = weights_module.installed("smollm2-135m")
    if path is None:
        pytest.skip("the weights of smollm2-135m are not installed")
    return path
