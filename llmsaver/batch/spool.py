"""The answers of a run until they are merged: appended to a file as they come, which survives the program.

The file holds answers, so it lies beside the ledger with mode 0600, goes when the run is finished or forgotten, and
after 30 days at the latest. It is also the lock that keeps two programs from driving the same run.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from llmsaver.ledger import Ledger

__all__ = ["Kept", "Spool", "folder_of"]

KEPT_SECONDS: Final = 30 * 86_400
_SUFFIX: Final = ".rows"


class Kept(NamedTuple):
    """What is known of one request: whether it was answered, else whether to try ``again``; and what that cost."""

    part: int
    ok: bool
    again: bool
    nano: int
    why: str
    at: int
    size: int


def folder_of(ledger: Ledger) -> Path:
    """Return where the answers of unfinished runs lie: beside the ledger, in the user's folder where it is a server."""
    from llmsaver.ledger.store import default_path

    file = ledger.store.file
    return (default_path() if file is None else file).parent / "batches"


class Spool:
    """The file of one run; safe to add to from many threads. Raises ``ConfigurationError`` where another has it.

    ``answered`` and ``failed`` (for good) count requests; ``spent_nano`` is what all their answers cost.
    """

    def __init__(self, folder: Path, run: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        self.path = folder / (run + _SUFFIX)
        self.rows: dict[int, Kept] = {}
        self.spent_nano = self.answered = self.failed = 0
        self._seen: set[tuple[int, int]] = set()
        self._lock = threading.Lock()
        # As long as this is open the lock is ours; it goes with the program, however that ends.
        self._file: BinaryIO = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise ConfigurationError(f"another program is running batch {run} now; wait for it, or end it") from None
        self._end = self._load()

    def add(
        self, part: int, row: int, line: bytes, *, ok: bool, again: bool = False, nano: int = 0, why: str = ""
    ) -> None:
        """Keep what came of request ``row`` in job ``part``; a second time for the same job changes nothing."""
        head = json.dumps({"p": part, "r": row, "ok": ok, "again": again, "nano": nano, "why": why})
        written = head.encode() + b"\t" + line.replace(b"\n", b" ") + b"\n"
        with self._lock:
            if (part, row) in self._seen:
                return
            self._file.seek(self._end)
            self._file.write(written)
            self._file.flush()
            at = self._end + len(head) + 1
            self._end += len(written)
            self._note(Kept(part, ok, again, nano, why, at, len(written) - len(head) - 2), row)

    def sync(self) -> None:
        """Have all that was added on the disk."""
        with self._lock:
            os.fsync(self._file.fileno())

    def line(self, row: int) -> bytes | None:
        """Return the answer, or the failure, of a request as it came; None where there is none yet."""
        kept = self.rows.get(row)
        if kept is None:
            return None
        with self._lock:
            self._file.seek(kept.at)
            return self._file.read(kept.size)

    def has(self, part: int, row: int) -> bool:
        """Whether what came of a request in that job is here."""
        return (part, row) in self._seen

    def close(self, *, remove: bool = False) -> None:
        """Let go of the file; ``remove`` deletes it."""
        if remove:
            self.path.unlink(missing_ok=True)
        self._file.close()

    def clear(self) -> None:
        """Forget everything, to begin anew."""
        self._file.truncate(0)
        self._end = self.spent_nano = self.answered = self.failed = 0
        self.rows.clear()
        self._seen.clear()

    def _load(self) -> int:
        """Read what an earlier program left, and cut off a line that it did not finish."""
        end = 0
        for raw in self._file:
            head, _, line = raw.partition(b"\t")
            try:
                told = json.loads(head) if raw.endswith(b"\n") else None
            except ValueError:
                told = None
            if told is None:
                break
            why = str(told["why"])
            kept = Kept(told["p"], told["ok"], told["again"], told["nano"], why, end + len(head) + 1, len(line) - 1)
            self._note(kept, told["r"])
            end += len(raw)
        self._file.truncate(end)
        return end

    def _note(self, kept: Kept, row: int) -> None:
        self._seen.add((kept.part, row))
        self.spent_nano += kept.nano
        known = self.rows.get(row)
        if known is None or not known.ok:
            self.rows[row] = kept
            self.answered += kept.ok
            self.failed += _final(kept) - (known is not None and _final(known))


def _final(kept: Kept) -> bool:
    return not kept.ok and not kept.again


def _sweep(folder: Path) -> None:
    """Delete what nobody came back for, unless a program has it open now."""
    for path in folder.glob("*" + _SUFFIX):
        try:
            if time.time() - path.stat().st_mtime > KEPT_SECONDS:
                with path.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
        except OSError:
            continue
