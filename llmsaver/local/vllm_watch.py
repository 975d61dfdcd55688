"""The program between us and a vLLM that we started: no vLLM and none of its workers outlives whoever asked for it.

It is run by its path and needs the standard library only. The first line of stdin is a JSON object: ``command``,
``environment`` (the API key is in it: ``ps`` would show an argument), ``parent`` and ``grace`` in seconds. stdin then
stays open, and its end means that the parent died; vLLM's log is stderr. SIGTERM asks for an orderly end, with
``grace`` seconds for running requests. The exit status is vLLM's, 128 more than the signal's number where one ended it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import RawIOBase
    from types import FrameType

_LOG_BYTES = 8 << 20
_POLL_SECONDS = 0.2
_ORPHAN_SECONDS = 1.0
_STDERR = 2
_SIGNALLED = 128


def bound_log(descriptor: int, limit: int = _LOG_BYTES) -> None:
    """Empty the log file when it is over ``limit`` bytes; the parent opened it for appending, so writing goes on."""
    try:
        if os.fstat(descriptor).st_size > limit:
            os.ftruncate(descriptor, 0)
    except OSError:  # a pipe or a terminal: nothing to bound
        return


def watch(stdin: RawIOBase, orphaned: threading.Event) -> None:
    """Wait for the end of stdin."""
    with contextlib.suppress(OSError):
        while stdin.read(4096):
            pass
    orphaned.set()


def group_of(pid: int) -> list[int]:
    """Return who is left in a process group, from ``/proc``; empty where there is none or it cannot be seen."""
    found = []
    for entry in os.listdir("/proc") if os.path.isdir("/proc/self") else ():  # noqa: PTH112,PTH208 - small and quick
        if entry.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                    state, _, group = file.read().rpartition(")")[2].split()[:3]
                if int(group) == pid and state != "Z":
                    found.append(int(entry))
    return found


def end(server: subprocess.Popen[bytes], grace: float) -> int:
    """End vLLM and its workers: SIGTERM to the one, ``grace`` seconds, SIGKILL to all; return its exit status."""
    if server.poll() is None:
        server.terminate()  # it tells its workers itself; they would drop running requests if we did
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(grace)
    deadline = time.monotonic() + _ORPHAN_SECONDS
    while server.poll() is not None and group_of(server.pid) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS / 4)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(server.pid, signal.SIGKILL)
    return server.wait()


def start(command: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start vLLM as the leader of a group of its own, its output in our log."""
    return subprocess.Popen(  # noqa: S603 - what the parent built and checked
        command,
        stdin=subprocess.DEVNULL,
        stdout=_STDERR,
        stderr=_STDERR,
        env={**os.environ, **environment},
        start_new_session=True,
    )


def guard(group: int, watcher: int) -> int:
    """Start a second watcher, in case that we are killed first: vLLM's workers would outlive its server then."""
    pid = os.fork()  # there is one thread yet
    if pid == 0:
        outlive(group, watcher)
    return pid


def outlive(group: int, watcher: int) -> NoReturn:
    """Wait until the first watcher is gone, and end what it watched."""
    while os.getppid() == watcher:
        time.sleep(_POLL_SECONDS)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    os._exit(1)


def run(stdin: RawIOBase) -> int:
    """Read what to start, start it and stay until it ends, until asked to stop, or until the parent is gone."""
    spec = json.loads(stdin.readline())
    stop, orphaned = threading.Event(), threading.Event()

    def asked_to_stop(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, asked_to_stop)
    if os.getppid() != spec["parent"]:
        return 1
    server = start(spec["command"], spec["environment"])
    second = guard(server.pid, os.getpid())
    threading.Thread(target=watch, args=(stdin, orphaned), daemon=True).start()
    # The parent's number is watched too: a fork of the parent may hold stdin's other end open long after its death.
    while server.poll() is None and not stop.is_set() and not orphaned.is_set() and os.getppid() == spec["parent"]:
        stop.wait(_POLL_SECONDS)
        bound_log(_STDERR)
    status = end(server, spec["grace"] if stop.is_set() else _ORPHAN_SECONDS)
    os.kill(second, signal.SIGKILL)
    return status if status >= 0 else _SIGNALLED - status


if __name__ == "__main__":
    # Unbuffered: at the end the interpreter would wait for the lock that the watcher holds on a buffered stdin.
    sys.exit(run(open(0, "rb", buffering=0, closefd=False)))  # noqa: SIM115 - a descriptor
