"""What a process makes once, however many threads want it first."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Once"]

Made = TypeVar("Made")


class Once(Generic[Made]):
    """A thing that ``make`` makes when it is first asked for, and tries again to make where that failed."""

    def __init__(self, make: Callable[[], Made]) -> None:
        self._make = make
        self._made: Made | None = None
        self._lock = threading.Lock()
        _all.add(self)

    def get(self) -> Made:
        """Return it."""
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def forget(self) -> None:
        """Have it made anew."""
        self._made = None

    def after_fork(self) -> None:
        """Take a new lock: a thread that holds the parent's is not in this child, which would wait for ever."""
        self._lock = threading.Lock()


_all: weakref.WeakSet[Once[Any]] = weakref.WeakSet()


def _after_fork() -> None:
    for each in list(_all):
        each.after_fork()


os.register_at_fork(after_in_child=_after_fork)
