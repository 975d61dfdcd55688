"""What calls on local tiers take beside money: their energy, and the time that servers are up for them, idle or not."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from llmsaver.pricing.hourly import nano_per_hour

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver.core.background import Background
    from llmsaver.core.entry import Attempt, Entry
    from llmsaver.ledger import Ledger
    from llmsaver.local.busy import ServerTime
    from llmsaver.local.energy import Energy

__all__ = ["LocalTime"]

log = logging.getLogger("llmsaver")

# A program that is killed loses at most so much of its servers' time.
WRITE_EVERY_SECONDS = 60.0


class LocalTime:
    """Has energy noted on entries, and servers' time written to the ledger while there are calls and at the end.

    ``usage`` tells how long each server that this program used has been up and busy. It is written by the background
    thread, at most each ``every`` seconds: never on an event loop.
    """

    def __init__(
        self,
        ledger: Ledger | None,
        background: Background,
        usage: Callable[[], list[ServerTime]],
        *,
        every: float = WRITE_EVERY_SECONDS,
    ) -> None:
        self._ledger = ledger
        self._background = background
        self._usage = usage
        self._every = every
        self._written_at = time.monotonic()
        self._energy: Energy | None = None
        self._lock = threading.Lock()

    def after_fork(self) -> None:
        """Make good in a forked child."""
        self._lock = threading.Lock()

    def begins(self) -> None:
        """Say that a call on a local tier is about to be sent."""
        energy = self._energy or self._first()
        energy.watch()

    def _first(self) -> Energy:
        from llmsaver.local.energy import Energy

        with self._lock:
            if self._energy is None:
                self._energy = Energy()
            return self._energy

    def ended(self, entry: Entry, attempt: Attempt, output_tokens: int | None) -> None:
        """Note on its entry what an attempt took; its share of the tier's time is known by now."""
        if self._energy is not None:
            self._energy(entry, attempt, output_tokens)
        if self._ledger is None:
            return
        with self._lock:
            now = time.monotonic()
            due = now - self._written_at > self._every
            if due:
                self._written_at = now
        if due:
            self._background.submit(self.write)

    def write(self) -> None:
        """Write how long each server has been up and busy by now; blocks, and never raises."""
        if self._ledger is None:
            return
        try:
            from llmsaver.ledger import ServerRow

            for server in self._usage():
                hourly = None if server.hourly_usd is None else nano_per_hour(server.hourly_usd)
                self._ledger.write_server(
                    ServerRow(
                        id=server.id,
                        name=server.name,
                        started_at=server.started_at,
                        updated_at=time.time(),
                        up_s=server.up_s,
                        busy_s=server.busy_s,
                        hourly_nano=hourly,
                    )
                )
        except Exception:
            log.warning("llmsaver: the time of local servers could not be written", exc_info=True)
