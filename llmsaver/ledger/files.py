"""What a SQLite file of ours needs around it, for the ledger and for the cache."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["create", "identity", "rename", "sound"]


def create(path: Path) -> None:
    """Make the file, readable by its owner alone; SQLite gives its companions the same mode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def identity(path: str) -> tuple[int, int] | None:
    """Return which file is at a path: one that was replaced is another."""
    try:
        found = os.stat(path)  # noqa: PTH116 - several times faster than Path.stat, and here for every call
    except OSError:
        return None
    return found.st_dev, found.st_ino


def rename(path: Path, to: Path) -> None:
    """Rename a database with its companions, the database last; raises ``OSError``."""
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).replace(to.with_name(to.name + suffix))


def sound(path: Path, timeout: float = 0.0) -> bool:
    """Return whether there is a database that SQLite finds no fault with, within ``timeout`` seconds of waiting."""
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=timeout, isolation_level=None)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.Error:
        return False
