"""The child program: one llama.cpp server for one model, until its supervisor says stop or is gone.

It is run by its path, not imported, and needs nothing but ``xllamacpp``. The first line of stdin is a JSON object (the
API key is in it: ``ps`` would show an argument); stdin then stays open, and its end means that the supervisor died. One
JSON line on stdout answers: ``{"event": "listening", "address": "http://127.0.0.1:PORT"}`` or
``{"event": "failed", "error": "..."}``. llama.cpp's log is stderr.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from io import RawIOBase
    from types import FrameType

_LOG_BYTES = 1_048_576
_POLL_SECONDS = 5.0
_GRACE_SECONDS = 1.0
_WARNINGS = 2  # llama.cpp's verbosity: 1 errors, 2 warnings, 3 information
_STDOUT, _STDERR = 1, 2
_PR_SET_PDEATHSIG = 1


def server_params(xllamacpp: Any, spec: Mapping[str, Any]) -> Any:
    """Return xllamacpp's ``CommonParams``, filled from the supervisor's spec.

    ``context`` is per slot, as the user thinks of it; llama.cpp divides ``n_ctx`` among its slots.
    """
    params = xllamacpp.CommonParams()
    params.model.path = spec["path"]
    params.model_alias = {spec["name"]}
    params.hostnames = ["127.0.0.1"]
    params.port = spec["port"]
    params.api_keys = [spec["token"]]
    params.cors_origins = ""  # the default lets every web page in the user's browser call it
    params.cors_origins_explicit = True
    params.cors_credentials = False
    params.ui = False
    params.offline = True
    params.n_ctx = spec["context"] * spec["parallel"]
    params.n_parallel = spec["parallel"]
    params.n_gpu_layers = spec["gpu_layers"]
    params.cpuparams.n_threads = spec["threads"]
    params.cache_ram_mib = spec["prompt_cache_mib"]
    params.sleep_idle_seconds = spec["sleep_idle_seconds"]
    if spec["lora"]:
        adapters = [xllamacpp.CommonAdapterLoraInfo() for _ in spec["lora"]]
        for adapter, path in zip(adapters, spec["lora"], strict=True):
            adapter.path, adapter.scale = path, 0.0  # each request says which it wants
        params.lora_adapters = adapters
        params.lora_init_without_apply = True
    if spec["speculative"] == "ngram":
        params.speculative.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_NGRAM_MAP_K]
    if spec.get("embeddings"):
        params.embedding = True
        params.n_batch = params.n_ubatch = spec["context"]  # a text is read in one go, or refused
        if spec["embeddings"] == "mean":
            params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.endpoint_metrics = True
    params.use_jinja = True
    params.verbosity = _WARNINGS
    return params


def start_server(spec: Mapping[str, Any]) -> Any:
    """Load the model and listen; returns when requests are answered, raises RuntimeError for every failure."""
    import xllamacpp

    return xllamacpp.Server(server_params(xllamacpp, spec))


def die_with_parent(signal_number: int) -> None:
    """Ask Linux to send a signal when the thread that started us, the supervisor's only one, ends; 0 takes it back.

    Elsewhere an orphan leaves when its stdin ends, or, while it loads, once it has loaded: xllamacpp holds the
    interpreter's lock meanwhile, and no thread of ours can watch.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


def watch(
    stdin: RawIOBase, stop: threading.Event, leave: Callable[[int], object], grace: float = _GRACE_SECONDS
) -> None:
    """Wait for the end of stdin, ask for an orderly end, and leave without one after ``grace`` seconds."""
    while stdin.read(4096):
        pass
    stop.set()
    time.sleep(grace)
    leave(1)


def bound_log(descriptor: int, limit: int = _LOG_BYTES) -> None:
    """Empty the log file when it is over ``limit`` bytes; the parent opened it for appending, so writing goes on."""
    try:
        if os.fstat(descriptor).st_size > limit:
            os.ftruncate(descriptor, 0)
    except OSError:  # a pipe or a terminal: nothing to bound
        return


def serve(stop: threading.Event, parent: int, descriptor: int = _STDERR, poll: float = _POLL_SECONDS) -> None:
    """Stay until asked to stop, or until the parent is another one, whoever holds stdin's other end open."""
    while not stop.wait(poll) and os.getppid() == parent:
        bound_log(descriptor)


def private_stdout() -> BinaryIO:
    """Return the parent's pipe as a file of our own; what C++ prints to stdout goes to the log from now on."""
    pipe = os.fdopen(os.dup(_STDOUT), "wb")
    os.dup2(_STDERR, _STDOUT)
    return pipe


def report(pipe: BinaryIO, **fields: str) -> None:
    """Send one JSON line to the parent and close the pipe; a parent that is gone is the watcher's business."""
    try:
        with pipe:
            pipe.write(json.dumps(fields).encode() + b"\n")
    except BrokenPipeError:
        return


def run(stdin: RawIOBase, pipe: BinaryIO, start: Callable[[Mapping[str, Any]], Any] = start_server) -> int:
    """Read the spec, start, report and serve; return the exit status."""
    stop = threading.Event()
    spec = json.loads(stdin.readline())
    threading.Thread(target=watch, args=(stdin, stop, os._exit), daemon=True).start()
    die_with_parent(signal.SIGKILL)
    if os.getppid() != spec["parent"]:
        return 1
    try:
        server = start(spec)
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent shall know
        traceback.print_exc()
        report(pipe, event="failed", error=f"{type(error).__name__}: {error}")
        return 1

    def asked_to_stop(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    # Installed now: while a model loads no handler of Python's would run, and the default ends us at once.
    signal.signal(signal.SIGTERM, asked_to_stop)
    report(pipe, event="listening", address=server.listening_address)
    serve(stop, spec["parent"])
    return 0


if __name__ == "__main__":
    # Unbuffered: at the end the interpreter would wait for the lock that the watcher holds on a buffered stdin.
    sys.exit(run(open(0, "rb", buffering=0, closefd=False), private_stdout()))  # noqa: SIM115 - a descriptor
