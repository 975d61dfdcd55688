"""The runtime folder, where the programs of one user find each other's servers: a lock, a socket and facts per server.

``<key>.lock`` is held by the supervisor for as long as it lives, whatever ends it, so that facts can be told from
stale ones; ``<key>.json`` (mode 0600) says where it listens; ``<key>.sock`` is its control socket.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import stat
import threading
import time
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llmsaver.errors import LocalModelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Locked", "connect", "facts", "held", "keys", "machine_wide", "runtime_folder", "try_lock"]

_CONNECT_SECONDS = 2.0
_LOCK_SECONDS = 60.0


def runtime_folder() -> Path:
    """Return the folder, made where there is none; raises LocalModelError where others could write into it."""
    import platformdirs

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where XDG_RUNTIME_DIR is not set, as in every container
        folder = platformdirs.user_runtime_path("llmsaver")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise PermissionError("it is not a folder of your own")
        if stat.S_IMODE(found.st_mode) != stat.S_IRWXU:
            folder.chmod(stat.S_IRWXU)
    except OSError as error:
        raise LocalModelError(
            f"local models: the runtime folder {folder} cannot be used ({error}); XDG_RUNTIME_DIR names another place"
        ) from error
    return folder


class Locked:
    """A lock held by this program until ``release``, or by whoever inherits its ``descriptor``.

    A forked child gives up its copy: it would hold the lock beyond the end of the one that it is meant for.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        with _guard:
            _locks.add(self)

    def release(self) -> None:
        """Give it up here; twice is once."""
        with _guard:
            if self in _locks:
                _locks.remove(self)
                os.close(self.descriptor)


_guard = threading.Lock()
_locks: set[Locked] = set()


def try_lock(path: Path) -> Locked | None:
    """Return the lock of this file, or None while another program (or thread) has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return Locked(descriptor)


def held(path: Path) -> bool:
    """Return whether some program has this lock."""
    lock = try_lock(path)
    if lock is None:
        return True
    lock.release()
    return False


@contextmanager
def machine_wide(folder: Path, stop: threading.Event) -> Iterator[None]:
    """Do something that one program of this user shall do at a time: look for room in memory, and take it."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while (lock := try_lock(folder / "room.lock")) is None:
        if stop.wait(0.02) or time.monotonic() > deadline:
            raise LocalModelError(f"local models: another program keeps {folder / 'room.lock'}; end it, or try again")
    try:
        yield
    finally:
        lock.release()


def facts(folder: Path, key: str) -> dict[str, Any] | None:
    """Return what a server's supervisor wrote about it, which may be stale; None where there is nothing readable."""
    try:
        found = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"control", "token", "name"} <= found.keys() else None


def keys(folder: Path) -> list[str]:
    """Return the keys of all servers that have facts, stale ones too."""
    return sorted(path.stem for path in folder.glob("*.json"))


def connect(found: dict[str, Any]) -> socket.socket | None:
    """Connect to the supervisor that wrote these facts; None where there is none any more."""
    control = found["control"]
    try:
        if isinstance(control, int):
            return socket.create_connection(("127.0.0.1", control), _CONNECT_SECONDS)
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(_CONNECT_SECONDS)
            sock.connect(control)
        except BaseException:
            sock.close()
            raise
    except OSError:
        return None
    return sock


def _after_fork() -> None:
    global _guard  # noqa: PLW0603 - the parent's may be held by a thread that is not here
    _guard = threading.Lock()
    for lock in _locks:
        with contextlib.suppress(OSError):
            os.close(lock.descriptor)
    _locks.clear()


os.register_at_fork(after_in_child=_after_fork)
