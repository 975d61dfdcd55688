"""Rows of calls that a budget refused: one each, until a program that keeps asking would fill the disk with them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmsaver.ledger.rows import CallRow

__all__ = ["Refusals"]

# So many rows alike in so many seconds are written one by one; those beyond are counted in one.
ONE_BY_ONE, SECONDS = 20, 1.0
KINDS = 1_000
Kind = tuple[str, str | None, str | None, str | None, str | None]


@dataclass(slots=True)
class _Recent:
    """What was refused of one kind lately: until when that is, rows written, and the row that stands for the rest."""

    until: float
    written: int = 0
    waiting: CallRow | None = None


class Refusals:
    """Turns many refused calls alike into few rows; nothing is uncounted once ``rest`` was written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kinds: dict[Kind, _Recent] = {}

    def take(self, row: CallRow) -> CallRow | None:
        """Return the row to write, with the calls that it stands for; None where a later one will count this."""
        kind = (row.feature, row.user, row.tenant, row.task, row.model_asked)
        now = time.monotonic()
        with self._lock:
            recent = self._kinds.get(kind)
            if recent is None:
                if len(self._kinds) >= KINDS:
                    self._kinds = {key: value for key, value in self._kinds.items() if value.waiting is not None}
                if len(self._kinds) >= KINDS:
                    return row
                recent = self._kinds[kind] = _Recent(now + SECONDS)
            if now >= recent.until:
                if recent.waiting is not None:
                    row.refused += recent.waiting.refused
                recent.until, recent.written, recent.waiting = now + SECONDS, 0, None
            if recent.written < ONE_BY_ONE:
                recent.written += 1
                return row
            if recent.waiting is not None:
                row.refused += recent.waiting.refused
            recent.waiting = row
            return None

    def rest(self) -> list[CallRow]:
        """Return the rows that wait, once."""
        with self._lock:
            kinds, self._kinds = self._kinds, {}
        return [recent.waiting for recent in kinds.values() if recent.waiting is not None]
