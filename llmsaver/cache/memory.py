"""The answers used most recently, in front of the store."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmsaver.cache.stored import Stored

__all__ = ["Memory"]


class Memory:
    """An LRU of answers bounded by the bytes they take; thread-safe. An answer larger than an eighth is not kept."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.after_fork()

    def after_fork(self) -> None:
        """Start empty in a forked child: the parent may have been in the middle of a change."""
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[Stored, int]] = OrderedDict()
        self.bytes = 0

    def get(self, key: str) -> Stored | None:
        """Return an answer, the most recent from now on."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def put(self, stored: Stored) -> None:
        """Keep an answer, dropping those used longest ago."""
        size = 2 * stored.size  # as it was given and as it is served
        with self._lock:
            self._drop(stored.key)
            if size > self._max_bytes // 8:
                return
            self._kept[stored.key] = (stored, size)
            self.bytes += size
            while self.bytes > self._max_bytes:
                _, (_, freed) = self._kept.popitem(last=False)
                self.bytes -= freed

    def remove(self, key: str) -> None:
        """Forget an answer."""
        with self._lock:
            self._drop(key)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def _drop(self, key: str) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self.bytes -= found[1]
