"""Work nobody waits for: one daemon thread, a bounded queue, a short drain at exit."""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
import time
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Background"]

log = logging.getLogger("llmsaver")

DRAIN_SECONDS = 2.0
CAPACITY = 1000


class Background:
    """A queue of functions and the thread that runs them, started at first use.

    A full queue drops the new work and counts it in ``dropped``; a function that raises is logged and counted in
    ``failed``. At interpreter exit what is queued gets ``DRAIN_SECONDS``. A forked child starts with an empty queue.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.dropped = 0
        self.failed = 0
        self._capacity = capacity
        self._lock = threading.Lock()
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self._queue: queue.Queue[Callable[[], object]] = queue.Queue(self._capacity)
        self._thread: threading.Thread | None = None

    def after_fork(self) -> None:
        """Forget the parent's thread and queue: neither exists in a forked child."""
        self._lock = threading.Lock()
        self._reset()

    def submit(self, fn: Callable[[], object]) -> bool:
        """Queue ``fn``; return False, and count it, where the queue is full."""
        with self._lock:
            try:
                self._queue.put_nowait(fn)
            except queue.Full:
                self.dropped += 1
                return False
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, args=(self._queue,), name="llmsaver-background", daemon=True
                )
                self._thread.start()
        return True

    def drain(self, timeout: float = DRAIN_SECONDS) -> bool:
        """Wait until everything queued has run, at most ``timeout`` seconds; return whether it has."""
        until = time.monotonic() + timeout
        while self._queue.unfinished_tasks:
            if time.monotonic() > until:
                return False
            time.sleep(0.005)
        return True

    def _work(self, tasks: queue.Queue[Callable[[], object]]) -> None:
        while True:
            fn = tasks.get()
            try:
                fn()
            except BaseException:  # SystemExit too: this thread has no successor
                self.failed += 1
                log.warning("llmsaver: background work failed", exc_info=True)
            finally:
                tasks.task_done()


_all: weakref.WeakSet[Background] = weakref.WeakSet()


def _drain_all() -> None:
    until = time.monotonic() + DRAIN_SECONDS
    for background in list(_all):
        background.drain(max(0.0, until - time.monotonic()))


def _after_fork() -> None:
    for background in list(_all):
        background.after_fork()


atexit.register(_drain_all)
os.register_at_fork(after_in_child=_after_fork)
