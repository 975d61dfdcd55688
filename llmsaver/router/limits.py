"""What a provider allows this program per minute, kept here so that calls queue or go elsewhere before it refuses."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Limits"]

_MINUTE = 60.0


class _Bucket:
    """Holds one minute's allowance and fills continuously; below 0 it owes what was promised already."""

    __slots__ = ("level", "per_minute", "seen")

    def __init__(self, per_minute: float, now: float) -> None:
        self.per_minute = per_minute
        self.level = max(per_minute, 1.0)
        self.seen = now

    def wait(self, amount: float, now: float) -> float:
        """Return how many seconds from now ``amount`` would be there; more than a whole bucket waits for a full one."""
        full = max(self.per_minute, 1.0)
        self.level = min(full, self.level + max(0.0, now - self.seen) * self.per_minute / _MINUTE)
        self.seen = max(self.seen, now)
        short = min(amount, full) - self.level
        return max(0.0, short * _MINUTE / self.per_minute)


class Limits:
    """Token buckets of requests and of tokens per minute (None: no limit), safe to share between threads.

    ``clock`` is monotonic, in seconds.
    """

    __slots__ = ("_clock", "_lock", "_requests", "_tokens")

    def __init__(
        self, requests: float | None = None, tokens: float | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        now = clock()
        self._requests = None if requests is None else _Bucket(requests, now)
        self._tokens = None if tokens is None else _Bucket(tokens, now)

    def take(self, tokens: float, most: float = 0.0) -> float | None:
        """Take one request of ``tokens`` tokens and return the seconds to wait before it may leave.

        None, and nothing is taken, where that would be more than ``most`` seconds. What is taken is the caller's place
        in the queue: who comes later waits longer.
        """
        with self._lock:
            now = self._clock()
            asked = [
                (bucket, amount)
                for bucket, amount in ((self._requests, 1.0), (self._tokens, tokens))
                if bucket is not None
            ]
            wait = max((bucket.wait(amount, now) for bucket, amount in asked), default=0.0)
            if wait > most:
                return None
            for bucket, amount in asked:
                bucket.level -= amount
            return wait

    def give_back(self, tokens: float) -> None:
        """Correct what was taken by the tokens that were not used; below 0, by those that were used beyond."""
        with self._lock:
            if self._tokens is not None:
                self._tokens.level += tokens
