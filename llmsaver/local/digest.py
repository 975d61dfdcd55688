"""Whether a file is the one that was pinned, hashed once: 98 MB take about a quarter of a second."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING

from llmsaver.errors import LocalModelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_log = logging.getLogger("llmsaver.local")
_BLOCK = 1 << 20
_REFETCH = "Delete it and fetch it again, or name your own file as local//path/to/model.gguf"


def sha256(path: Path, seen: Callable[[int], object] | None = None) -> str:
    """Return the file's sha256 in hexadecimal, telling ``seen`` the bytes read so far; OSError where it is unreadable.

    The file is read once, front to back.
    """
    found = hashlib.sha256()
    done = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            found.update(block)
            done += len(block)
            if seen is not None:
                seen(done)
    return found.hexdigest()


def _marker(path: Path, expected: str, directory: Path | None) -> Path:
    """Return the empty file whose presence says that this very file was checked: its name holds size and time."""
    if directory is None:
        import platformdirs

        directory = platformdirs.user_cache_path("llmsaver") / "verified"
    stat = path.stat()
    identity = f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}\0{expected}"
    return directory / hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()


def check(
    path: Path,
    expected: str,
    directory: Path | None = None,
    *,
    fix: str = _REFETCH,
    seen: Callable[[int], object] | None = None,
) -> None:
    """Raise LocalModelError unless the file's sha256 is ``expected``; ``directory`` remembers what was checked.

    The memory defaults to the user's cache directory. A changed size or modification time forgets the check. ``fix``
    is what to tell the user, ``seen`` is told the bytes read.
    """
    if _marker(path, expected, directory).exists():
        return
    actual = sha256(path) if seen is None else sha256(path, seen)
    if actual != expected:
        raise LocalModelError(f"{path} is not the file that was pinned: its sha256 is {actual}, not {expected}. {fix}")
    remember(path, expected, directory)


def remember(path: Path, expected: str, directory: Path | None = None) -> None:
    """Note that this very file was checked, so that ``check`` need not read it."""
    marker = _marker(path, expected, directory)
    try:
        marker.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        marker.touch(mode=0o600)
    except OSError as error:  # a read-only home costs a second hash, not the call
        _log.debug("cannot remember the check of %s: %s", path, error)
