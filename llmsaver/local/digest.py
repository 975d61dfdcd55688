"""Whether a file is the one that was pinned, hashed once: 98 MB take about a quarter of a second."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING

from llmsaver.errors import LocalModelError

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger("llmsaver.local")


def sha256(path: Path) -> str:
    """Return the file's sha256 in hexadecimal; OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _marker(path: Path, expected: str, directory: Path) -> Path:
    """Return the empty file whose presence says that this very file was checked: its name holds size and time."""
    stat = path.stat()
    identity = f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}\0{expected}"
    return directory / hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()


def check(path: Path, expected: str, directory: Path | None = None) -> None:
    """Raise LocalModelError unless the file's sha256 is ``expected``; ``directory`` remembers what was checked.

    The memory defaults to the user's cache directory. A changed size or modification time forgets the check.
    """
    if directory is None:
        import platformdirs

        directory = platformdirs.user_cache_path("llmsaver") / "verified"
    marker = _marker(path, expected, directory)
    if marker.exists():
        return
    actual = sha256(path)
    if actual != expected:
        raise LocalModelError(
            f"{path} is not the file that was pinned: its sha256 is {actual}, not {expected}. Delete it and fetch it "
            "again, or name your own file as local//path/to/model.gguf"
        )
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        marker.touch(mode=0o600)
    except OSError as error:  # a read-only home costs a second hash, not the call
        _log.debug("cannot remember the check of %s: %s", path, error)
