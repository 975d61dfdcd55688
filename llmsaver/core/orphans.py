"""Answers that the garbage collector finds: it strikes anywhere, also where this thread holds a lock of ours."""

from __future__ import annotations

import atexit
import os
import queue
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["Orphans", "locked_here", "orphans"]

DRAIN_SECONDS = 2.0
# What settling goes through and takes locks in: with one of these on the stack it must not begin.
_LOCKING = (
    "llmsaver.ledger",
    "llmsaver.middleware",
    "llmsaver.pricing",
    "llmsaver.core.background",
    "queue",
    "logging",
)


def locked_here() -> bool:
    """Whether the code that the calling finaliser interrupted in this thread may hold what settling needs."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - nothing public walks the stack as cheaply
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).startswith(_LOCKING):
            return True
        frame = frame.f_back
    return False


class Orphans:
    """Work that finalisers leave behind, and the daemon thread that does it.

    ``leave`` takes no lock. The thread is started by ``ready``, which no finaliser calls: starting one takes locks too.
    """

    def __init__(self) -> None:
        self.after_fork()

    def after_fork(self) -> None:
        """Forget the parent's thread and work."""
        self._starting = threading.Lock()
        self._work: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def ready(self) -> None:
        """Start the thread where there is none yet."""
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    thread = threading.Thread(target=self._run, args=(self._work,), name="llmsaver-settle", daemon=True)
                    thread.start()
                    self._thread = thread  # only now: one that is not started cannot be waited for

    def leave(self, fn: Callable[[], object]) -> None:
        """Have ``fn`` called in the thread; it must not raise."""
        self._work.put(fn)

    def drain(self, seconds: float = DRAIN_SECONDS) -> None:
        """Let what was left be done, and end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._work.put(None)
            thread.join(seconds)

    @staticmethod
    def _run(work: queue.SimpleQueue[Callable[[], object] | None]) -> None:
        while (fn := work.get()) is not None:
            fn()
            del fn  # what it settles can go


orphans = Orphans()
atexit.register(orphans.drain)
os.register_at_fork(after_in_child=orphans.after_fork)
