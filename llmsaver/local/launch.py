"""One child program: its start, environment, log and end."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import secrets
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from llmsaver.errors import LocalModelError
from llmsaver.local.diagnosis import Diagnosis, diagnose, relevant, tail

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHILD = Path(__file__).with_name("child.py")
_GRACE_SECONDS = 10.0
_LOG_DAYS = 7
_SECRET = re.compile(r"(?:^|_)(?:KEY|APIKEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|DSN)(?:_|$)", re.IGNORECASE)
# Without these, idle OpenMP threads spin: on busy cores a first answer took 95 s instead of 1 s.
_OPENMP = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a server is started with; ``context`` is in tokens per slot, ``parallel`` the number of slots.

    ``gpu_layers`` -1 means as many as fit; ``sleep_idle_seconds`` -1 never; ``port`` 0 any free one.
    """

    name: str
    path: str
    context: int
    parallel: int
    threads: int
    prompt_cache_mib: int
    sleep_idle_seconds: int
    gpu_layers: int = -1
    port: int = 0


class ServerFailed(LocalModelError):  # noqa: N818 - reads as what it says
    """A server did not start, or ended; ``diagnosis`` says whether another start may help."""

    def __init__(self, message: str, diagnosis: Diagnosis) -> None:
        super().__init__(message)
        self.diagnosis = diagnosis


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without whatever is named like a key, token or password, and with OpenMP kept quiet."""
    kept = {name: value for name, value in environment.items() if not _SECRET.search(name)}
    return kept | _OPENMP


def _log_file(name: str) -> Path:
    """Return a new log's path in the user's log directory; logs of a week ago are removed."""
    import platformdirs

    folder = platformdirs.user_log_path("llmsaver")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in folder.glob("local-*.log"):
            if old.stat().st_mtime < time.time() - _LOG_DAYS * 86_400:
                old.unlink(missing_ok=True)
    except OSError as error:
        raise LocalModelError(f"local/{name}: the log folder {folder} cannot be used ({error})") from error
    stem = re.sub(r"[^\w.-]", "_", name)
    return folder / f"local-{stem}-{os.getpid()}-{secrets.token_hex(3)}.log"


class Child:
    """One running child; made by the thread that then calls ``ready``, ended by ``stop`` or with the program.

    ``api_key`` is random and known to this program and the child only. ``log`` is a file of mode 0600, removed by an
    orderly stop; the child keeps it under 1 MiB.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.api_key = secrets.token_urlsafe(32)
        self.log = _log_file(plan.name)
        if not sys.executable:
            raise LocalModelError("local models need a Python program to run: sys.executable is empty")
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            # -P: a file of the user's that is called like a standard module must not be imported instead of it.
            self._popen = subprocess.Popen(  # noqa: S603 - our own interpreter and file
                [sys.executable, "-P", str(_CHILD)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,  # no locks, so that a fork can close its copies
                env=child_environment(os.environ),
                start_new_session=True,  # Ctrl-C in the terminal is the parent's
            )
        finally:
            os.close(log)
        self.pid = self._popen.pid
        self._stop = weakref.finalize(self, _stop, self._popen, os.getpid(), self.log)

    def ready(self, timeout: float) -> str:
        """Hand over the plan and return ``http://127.0.0.1:PORT`` once the model is loaded, within ``timeout`` seconds.

        Raises ServerFailed, after stopping what is left of the child.
        """
        spec = {**asdict(self.plan), "api_key": self.api_key, "parent": os.getpid()}
        answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        stdin, stdout = self._popen.stdin, self._popen.stdout
        if stdin is None or stdout is None:  # both were asked for as pipes; this is for the type checker
            raise LocalModelError(f"local/{self.plan.name}: its server has no pipes")
        with contextlib.suppress(BrokenPipeError):  # it died already: its log says why
            stdin.write(json.dumps(spec).encode() + b"\n")
            stdin.flush()
        threading.Thread(target=_first_line, args=(stdout, answers), daemon=True).start()
        try:
            line = answers.get(timeout=timeout)
        except queue.Empty:
            text = f"it was not ready after {timeout:g} s; allow more (start_timeout) or choose smaller weights"
            error = self._failed(Diagnosis("timeout", text, retry=False))
            self._stop()
            raise error from None
        try:
            answer = json.loads(line)
            if answer["event"] == "listening":
                return str(answer["address"])
        except (ValueError, TypeError, KeyError):
            pass
        raise self.failure()

    def alive(self) -> bool:
        """Return whether the child runs; to be asked in the program that started it."""
        return self._popen.poll() is None

    def failure(self) -> ServerFailed:
        """Return why the child ended (or gave no usable answer), as an error with the log's last words."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(_GRACE_SECONDS / 10)
        returncode = self._popen.poll()
        diagnosis = diagnose(tail(self.log), returncode)
        error = self._failed(diagnosis)
        self._stop()
        return error

    def stop(self) -> None:
        """End the child: SIGTERM, 10 seconds, SIGKILL. Twice is once; in a fork of the program it does nothing."""
        self._stop()

    def disown(self) -> None:
        """Give the child up in a fork of the program: it stays the parent's, and dies when the parent does."""
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                pipe.close()
        self._stop.detach()
        self._popen.returncode = 0  # not ours to wait for, nor to be warned about when it is collected

    def _failed(self, diagnosis: Diagnosis) -> ServerFailed:
        shown = "".join(f"\n  {line}" for line in relevant(tail(self.log)))
        message = f"local/{self.plan.name} ({self.plan.path}) is not running: {diagnosis.text}."
        return ServerFailed(message + (f" {self.log} ends:{shown}" if shown else ""), diagnosis)


def _first_line(stdout: IO[bytes], answers: queue.SimpleQueue[bytes]) -> None:
    """Read the child's one line, empty where it ended without one."""
    with stdout:
        answers.put(stdout.readline())


def _stop(popen: subprocess.Popen[bytes], owner: int, log: Path, grace: float = _GRACE_SECONDS) -> None:
    """End a child that this very program started; the log of one that failed stays for a week."""
    if os.getpid() != owner:
        return
    orderly = popen.poll() is None
    if orderly:
        popen.terminate()
        try:
            popen.wait(grace)
        except subprocess.TimeoutExpired:
            orderly = False
            popen.kill()
            popen.wait()
    for pipe in (popen.stdin, popen.stdout):
        if pipe is not None:
            pipe.close()
    if orderly:
        log.unlink(missing_ok=True)
