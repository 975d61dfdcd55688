"""Whether a tier is worth asking: after failures it is left alone for a while, and as long as it says so itself."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Breaker"]

# A provider that asks to be left alone for longer is asked again after an hour all the same.
LONGEST_REST = 3600.0


class Breaker:
    """A circuit breaker for one tier, safe to share between threads.

    Closed until ``failures`` failures lie within ``window`` seconds; then open for ``pause`` seconds; then half-open:
    one call is let through, and what becomes of it closes or opens it again. ``clock`` is monotonic, in seconds.
    """

    __slots__ = ("_clock", "_failed_at", "_failures", "_lock", "_opened_at", "_pause", "_probe_at", "_rest", "_window")

    def __init__(
        self,
        failures: int = 5,
        window: float = 60.0,
        pause: float = 30.0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures = failures
        self._window = window
        self._pause = pause
        self._clock = clock
        self._lock = threading.Lock()
        self._failed_at: deque[float] = deque(maxlen=failures)
        self._opened_at: float | None = None
        self._probe_at: float | None = None
        self._rest = float("-inf")

    def standing(self) -> str | None:
        """Return why no call should go there now; None where one may. Nothing is changed by asking."""
        with self._lock:
            return self._why(self._clock())

    def admit(self) -> str | None:
        """Return why a call must not go there now; None admits it, and its end must be told by one of the below."""
        with self._lock:
            now = self._clock()
            why = self._why(now)
            if why is None and self._opened_at is not None:
                self._probe_at = now
            return why

    def succeeded(self) -> None:
        """Note that the tier answered: it is asked as usual again."""
        with self._lock:
            self._failed_at.clear()
            self._opened_at = self._probe_at = None

    def failed(self) -> None:
        """Note that the tier did not answer as it should."""
        with self._lock:
            now = self._clock()
            self._failed_at.append(now)
            full = len(self._failed_at) == self._failures
            if self._opened_at is not None or (full and now - self._failed_at[0] <= self._window):
                self._opened_at, self._probe_at = now, None

    def left(self) -> None:
        """Note that a call that was admitted ended without saying anything about the tier."""
        with self._lock:
            self._probe_at = None

    def rest(self, seconds: float) -> None:
        """Leave the tier alone for as long as it asks to be, at most ``LONGEST_REST`` seconds."""
        with self._lock:
            self._rest = max(self._rest, self._clock() + min(max(0.0, seconds), LONGEST_REST))
            self._probe_at = None

    def _why(self, now: float) -> str | None:
        if now < self._rest:
            return f"it asked to be left alone for another {self._rest - now:.1f} s"
        if self._opened_at is None:
            return None
        left = self._opened_at + self._pause - now
        if left > 0:
            return f"it failed {len(self._failed_at)} times lately and is asked again in {left:.1f} s"
        # A probe that never ended has no one to say so: after another pause the next one goes.
        if self._probe_at is not None and now - self._probe_at < self._pause:
            return "it failed lately, and one call is finding out whether it is back"
        return None
