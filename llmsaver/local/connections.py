"""Who is connected to a supervisor, and the time that their calls share; part of ``supervisor.py``'s program."""

from __future__ import annotations

import contextlib
import json
import socket

TYPE_CHECKING = False  # typing's own would cost half a megabyte
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Busy", "Connection", "Mark", "first_line", "same"]

LINE_BYTES = 65_536
Mark = tuple[float, float]


class Busy:
    """Divides each second among the calls under way in it, whoever makes them; times are monotonic seconds.

    It is ``busy.Meter``'s way of counting, across programs.
    """

    def __init__(self, now: float) -> None:
        self.calls = 0
        self.mean: float | None = None
        self._ended = 0
        self._seconds = 0.0
        self._each = 0.0
        self._at = now

    def total(self, now: float) -> float:
        """Return the seconds with at least one call."""
        if self.calls:
            self._seconds += now - self._at
            self._each += (now - self._at) / self.calls
        self._at = now
        return self._seconds

    def begin(self, now: float) -> Mark:
        """Begin a call; return the mark to end it with."""
        self.total(now)
        self.calls += 1
        return self._each, now

    def end(self, mark: Mark, now: float) -> float:
        """End it; return its share of the busy seconds."""
        self.total(now)
        self.calls -= 1
        self._ended += 1
        self.mean = (self.mean or 0.0) + (now - mark[1] - (self.mean or 0.0)) / self._ended
        return self._each - mark[0]


class Connection:
    """One program's connection: a stranger until it has shown the token, then a lease or a look.

    ``hold``: the server shall neither leave for idleness nor make room for others. ``calls`` are those under way.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.known = self.lease = self.hold = False
        self.calls: dict[int, Mark] = {}
        self._rest = b""

    def lines(self) -> list[dict[str, Any]] | None:
        """Return the whole lines that have come; None at the connection's end or where it talks rubbish."""
        try:
            more = self.sock.recv(LINE_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            return None
        *whole, self._rest = (self._rest + more).split(b"\n")
        if not more or len(self._rest) > LINE_BYTES:
            return None
        try:
            said = [json.loads(line) for line in whole]
        except (ValueError, RecursionError):
            return None
        return said if all(isinstance(each, dict) for each in said) else None

    def tell(self, event: str, **fields: Any) -> None:
        """Send one line; a program that does not read is cut off, one that is gone is noticed when we listen."""
        line = json.dumps({"event": event, **fields}).encode() + b"\n"
        with contextlib.suppress(OSError):
            try:
                whole = self.sock.send(line) == len(line)
            except BlockingIOError:
                whole = False
            if not whole:
                self.sock.shutdown(socket.SHUT_RDWR)


def same(one: object, other: str) -> bool:
    """Compare without telling by the time taken where they differ; ``hmac`` would cost three megabytes."""
    left, right = str(one).encode("utf-8", "replace"), other.encode()
    return len(left) == len(right) and not sum(a ^ b for a, b in zip(left, right, strict=True))


def first_line(sock: socket.socket) -> dict[str, Any] | None:
    """Read one line and not a byte more; None where the other end is gone."""
    line = bytearray()
    while not line.endswith(b"\n"):
        waiting = sock.recv(LINE_BYTES, socket.MSG_PEEK)
        if not waiting:
            return None
        line += sock.recv(waiting.find(b"\n") + 1 or len(waiting))
    found: dict[str, Any] = json.loads(line)
    return found
