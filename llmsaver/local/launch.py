"""How a server comes to be: its plan, its supervisor's start, its environment, its log, and why it failed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llmsaver.errors import LocalModelError
from llmsaver.local.diagnosis import Diagnosis, diagnose, relevant, tail
from llmsaver.local.lease import Lease

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.local.folder import Locked

__all__ = ["Plan", "ServerFailed", "child_environment", "failure", "log_folder", "log_stem", "start", "too_slow"]

_HERE = Path(__file__).parent
_CHILD = _HERE / "child.py"
_PROTOCOL = 2  # of supervisors; programs of other versions of this library start their own
# -P: a file of the user's that is called like a standard module must not be imported instead of it. -S, -E: nothing
# of the user's environment that Python would load at its start.
_FLAGS: tuple[str, ...] = ("-P", "-S", "-E")
_LOG_DAYS = 7
_SECRET = re.compile(r"(?:^|_)(?:KEY|APIKEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|DSN)(?:_|$)", re.IGNORECASE)
# Without these, idle OpenMP threads spin: on busy cores a first answer took 95 s instead of 1 s.
_OPENMP = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a server is started with; ``context`` is in tokens per slot, ``parallel`` the number of slots.

    ``gpu_layers`` -1 means as many as fit; ``sleep_idle_seconds`` and ``exit_idle_seconds`` -1 never. ``lora`` are
    adapter files, loaded at scale 0. ``embeddings``: it gives vectors only, pooled as its weights say ("own") or as the
    "mean" of its tokens. ``memory_mib`` is what it may come to need; ``port`` 0 is any free one.
    """

    name: str
    path: str
    context: int
    parallel: int
    threads: int
    prompt_cache_mib: int
    sleep_idle_seconds: int
    exit_idle_seconds: int = -1
    gpu_layers: int = -1
    lora: tuple[str, ...] = ()
    speculative: str | None = None
    embeddings: Literal["own", "mean"] | None = None
    memory_mib: int = 0
    port: int = 0

    def key(self) -> str:
        """Return what programs find this server by: its weights, as they are now, and what changes its answers.

        Times, caches and the port are not part of it: whoever comes first decides about those. Raises LocalModelError
        where a file is not there.
        """
        files = [_identity(self.name, Path(each)) for each in (self.path, *self.lora)]
        options = (self.name, self.context, self.parallel, self.threads, self.gpu_layers, self.speculative)
        whole = json.dumps([_PROTOCOL, os.getuid(), files, (*options, self.embeddings)])
        return hashlib.blake2s(whole.encode(), digest_size=8).hexdigest()


def _identity(name: str, path: Path) -> list[str | int]:
    try:
        real = path.resolve(strict=True)
        found = real.stat()
    except OSError as error:
        raise LocalModelError(f"local/{name}: {path} cannot be read ({error.strerror})") from error
    return [str(real), found.st_size, found.st_mtime_ns]


class ServerFailed(LocalModelError):  # noqa: N818 - reads as what it says
    """A server did not start, or ended; ``diagnosis`` says whether another start may help."""

    def __init__(self, message: str, diagnosis: Diagnosis) -> None:
        super().__init__(message)
        self.diagnosis = diagnosis


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without whatever is named like a key, token or password, and with OpenMP kept quiet."""
    kept = {name: value for name, value in environment.items() if not _SECRET.search(name)}
    return kept | _OPENMP


def log_folder() -> Path:
    """Return where servers' logs are."""
    import platformdirs

    return platformdirs.user_log_path("llmsaver")


def log_stem(name: str) -> str:
    """Return how the names of a model's log files begin."""
    return "local-" + re.sub(r"[^\w.-]", "_", name) + "-"


def _log_file(name: str) -> Path:
    """Return a new log's path in the user's log directory; logs of a week ago are removed."""
    folder = log_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in folder.glob("local-*.log"):
            if old.stat().st_mtime < time.time() - _LOG_DAYS * 86_400:
                old.unlink(missing_ok=True)
    except OSError as error:
        raise LocalModelError(f"local/{name}: the log folder {folder} cannot be used ({error})") from error
    return folder / f"{log_stem(name)}{os.getpid()}-{secrets.token_hex(3)}.log"


def start(plan: Plan, key: str, folder: Path, lock: Locked) -> Lease:
    """Start a supervisor, which keeps ``lock`` from now on, and return the first lease on it.

    Its key is random and reaches it through the connection: ``ps`` would show an argument. Ctrl-C in the terminal does
    not reach it.
    """
    if not sys.executable:
        raise LocalModelError("local models need a Python program to run: sys.executable is empty")
    path = _log_file(plan.name)
    ours, theirs = socket.socketpair()
    lease = Lease(ours)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    spec: dict[str, Any] = {
        **asdict(plan),
        "key": key,
        "token": secrets.token_urlsafe(32),
        "folder": str(folder),
        "log": str(path),
        "script": str(_CHILD),
        "keep": False,
    }
    try:
        command = [sys.executable, *_FLAGS, str(_HERE / "supervisor.py")]
        subprocess.run(  # noqa: S603 - our own interpreter and file
            [*command, str(theirs.fileno()), str(lock.descriptor), "detach"],
            check=False,  # whatever happened: nobody answers then
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=child_environment(os.environ),
            cwd="/",
            start_new_session=True,
            pass_fds=(theirs.fileno(), lock.descriptor),
        )
    except BaseException:
        lease.close()
        raise
    finally:
        os.close(log)
        theirs.close()
        lock.release()
    lease.facts = {"log": str(path)}
    lease.send(**spec)
    return lease


def failure(plan: Plan, ended: Mapping[str, Any]) -> ServerFailed:
    """Return why a server ended, as an error with its log's last words."""
    log = Path(ended["log"]) if ended.get("log") else None
    lines = tail(log) if log else []
    if ended["reason"] == "lost":
        return _failed(plan, Diagnosis("lost", "its supervisor was killed, and it with it", retry=True), log)
    return _failed(plan, diagnose(lines, ended.get("returncode")), log)


def too_slow(plan: Plan, timeout: float, log: str | None) -> ServerFailed:
    """Return the error for a server that was not ready in time; starting it again would not help."""
    text = f"it was not ready after {timeout:g} s; allow more (start_timeout) or choose smaller weights"
    return _failed(plan, Diagnosis("timeout", text, retry=False), Path(log) if log else None)


def _failed(plan: Plan, diagnosis: Diagnosis, log: Path | None) -> ServerFailed:
    shown = "".join(f"\n  {line}" for line in relevant(tail(log))) if log else ""
    message = f"local/{plan.name} ({plan.path}) is not running: {diagnosis.text}."
    return ServerFailed(message + (f" {log} ends:{shown}" if shown else ""), diagnosis)
