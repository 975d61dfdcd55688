"""Keeps the holds of calls under way alive, so that only those of dead programs lapse."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmsaver.ledger import Hold, Ledger

__all__ = ["Leases"]

log = logging.getLogger("llmsaver")

RENEW_EVERY_SECONDS = 20.0


class Leases:
    """The holds of one process on one ledger; renewed in a daemon thread that runs only while there are any."""

    def __init__(self, ledger: Ledger, every: float = RENEW_EVERY_SECONDS) -> None:
        self._ledger = ledger
        self._every = every
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[int, Hold] = {}
        self._thread: threading.Thread | None = None

    def after_fork(self) -> None:
        """Forget the parent's holds in a forked child: the parent renews them."""
        self._reset()

    def add(self, hold: Hold) -> None:
        """Keep a hold alive from now on."""
        with self._lock:
            self._held[hold.id] = hold
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="llmsaver-leases", daemon=True)
                self._thread.start()

    def remove(self, hold: Hold) -> None:
        """Let a hold go: its call has ended."""
        with self._lock:
            self._held.pop(hold.id, None)

    def _work(self) -> None:
        while True:
            time.sleep(self._every)
            with self._lock:
                held = list(self._held.values())
                if not held:
                    self._thread = None
                    return
            try:
                self._ledger.renew(*held)
            except Exception:
                log.warning("llmsaver: the holds of calls under way could not be renewed", exc_info=True)


_all: weakref.WeakSet[Leases] = weakref.WeakSet()


def _after_fork() -> None:
    for leases in list(_all):
        leases.after_fork()


os.register_at_fork(after_in_child=_after_fork)
