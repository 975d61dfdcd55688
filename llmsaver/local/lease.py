"""A lease on a server: a connection to its supervisor, kept open for as long as this program wants the server."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import socket
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from llmsaver.local import folder as places
from llmsaver.local.busy import Meter
from llmsaver.local.endpoint import Share

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from llmsaver.local.endpoint import Use

__all__ = ["Lease", "connected"]

_ASK_SECONDS = 1.0
_SHARE_SECONDS = 0.25  # a call has ended: its caller may be an event loop
# A supervisor that is gone must not end us by SIGPIPE, nor one that does not read hold us up.
_AT_ONCE = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)


class Lease:
    """One program's connection to a supervisor; thread-safe, and given up by a fork of the program.

    ``facts`` is what the supervisor says about the server, empty before ``hello``; ``ended`` why the server is no
    more, None as long as it is (``{"reason": ..., "returncode": ..., "log": ...}``; "lost": no word of farewell).
    """

    def __init__(self, sock: socket.socket) -> None:
        self.facts: dict[str, Any] = {}
        self.ended: dict[str, Any] | None = None
        self._sock = sock
        sock.setblocking(True)
        self._close = weakref.finalize(self, sock.close)
        self._numbers = itertools.count(1)
        self._rest = b""
        self._meter = Meter()
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self._reading = threading.Lock()
        self._poll = select.poll()

    def send(self, **message: Any) -> None:
        """Say something that asks for no answer."""
        self._send(json.dumps(message).encode() + b"\n")

    def hello(self, timeout: float) -> bool:
        """Wait for the supervisor's first word; return whether there is somebody, whose server may still be loading."""
        with self._reading:
            self._receive(lambda said: said["event"] in {"starting", "ready"}, timeout)
        return "token" in self.facts

    def ready(self, timeout: float) -> str | None:
        """Wait until the server answers and return its base URL; None where it ended, or was not ready in time."""
        with self._reading:
            if not self.facts.get("base_url"):
                self._receive(lambda said: said["event"] == "ready", timeout)
        return None if self.ended else self.facts.get("base_url")

    def alive(self) -> bool:
        """Return whether the server and its supervisor run, as far as we were told; takes microseconds."""
        if self.ended is None and self._reading.acquire(blocking=False):  # else another thread listens already
            try:
                self._receive(lambda _: False, 0.0)
            finally:
                self._reading.release()
        return self.ended is None

    def ask(self, op: str, answers: frozenset[str], timeout: float = _ASK_SECONDS, **fields: Any) -> dict[str, Any]:
        """Ask the supervisor; return its answer, one of the events ``answers``, or nothing where none came in time."""
        with self._reading:
            if self.ended is not None:
                return {}
            self.send(op=op, **fields)
            number = fields.get("call")
            return self._receive(lambda said: said["event"] in answers and said.get("call") == number, timeout) or {}

    def begin(self) -> Use:
        """Begin a call; nobody is waited for."""
        number = next(self._numbers)
        call = _Call(self, number, self._meter.begin())
        self._send(b'{"op":"begin","call":%d}\n' % number)
        return call

    def let_go(self) -> None:
        """End the lease, but go on listening: ``gone`` tells when the supervisor has seen to it."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._lost()

    def gone(self, timeout: float) -> bool:
        """Wait, after ``let_go``, until the server is gone, or stays for others; return False where it takes longer."""
        with self._reading:
            self._receive(lambda _: False, timeout)
            over = self.ended is not None
            self.close()
        return over

    def close(self) -> None:
        """End the lease at once."""
        self._lost()
        self._close()

    def after_fork(self) -> None:
        """Give up, in a forked child, what is the parent's."""
        self._reset()
        self.close()

    def _lost(self) -> None:
        self.ended = self.ended or {"reason": "lost", "returncode": None, "log": self.facts.get("log")}

    def _send(self, line: bytes) -> None:
        with contextlib.suppress(OSError):  # whoever listens next is told why
            try:
                whole = self._sock.send(line, _AT_ONCE) == len(line)
            except BlockingIOError:  # it is behind with reading: many calls at once on a busy machine
                room = select.poll()
                room.register(self._sock, select.POLLOUT)
                room.poll(_ASK_SECONDS * 1000)
                whole = self._sock.send(line, _AT_ONCE) == len(line)
            if not whole:
                self._sock.shutdown(socket.SHUT_RDWR)

    def _receive(self, wanted: Callable[[dict[str, Any]], bool], timeout: float) -> dict[str, Any] | None:
        """Take in what comes until what is wanted is among it, the end, or ``timeout`` seconds; needs ``_reading``."""
        deadline = time.monotonic() + timeout
        while self.ended is None:
            try:
                self._poll.register(self._sock, select.POLLIN)
                if not self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                    return None
                more = self._sock.recv(65_536)
            except (OSError, ValueError):  # broken, or closed by another thread
                more = b""
            if not more:
                self._lost()
            *whole, self._rest = (self._rest + more).split(b"\n")
            found: dict[str, Any] | None = None
            for line in whole:
                said: dict[str, Any] = json.loads(line)
                if said["event"] in {"starting", "ready"}:
                    self.facts = said
                elif said["event"] == "ended":
                    self.ended = said
                found = said if wanted(said) else found
            if found is not None:
                return found
        return None

    def share(self, call: _Call) -> Share:
        """Tell the supervisor that a call has ended; where it does not answer, count what this program saw."""
        own = call.own.end()
        answer = self.ask("end", _SHARE, _SHARE_SECONDS, call=call.number)
        return Share(answer["seconds"]) if answer else own


_SHARE = frozenset({"share"})


def connected(folder: Path, key: str, op: str, timeout: float) -> Lease | None:
    """Return a connection to the supervisor that runs already: to "lease" its server, or only to "look" at it.

    None where there is none, or where it was about to end or said nothing within ``timeout`` seconds.
    """
    facts = places.facts(folder, key)
    sock = places.connect(facts) if facts is not None else None
    if facts is None or sock is None:
        return None
    lease = Lease(sock)
    lease.send(op=op, token=facts["token"])
    if lease.hello(timeout):
        return lease
    lease.close()
    return None


class _Call:
    """One call under way; a ``Use``."""

    __slots__ = ("_share", "lease", "number", "own")

    def __init__(self, lease: Lease, number: int, own: Use) -> None:
        self.lease = lease
        self.number = number
        self.own = own
        self._share: Share | None = None

    def end(self) -> Share:
        """End it and return its share; the second time the same."""
        if self._share is None:
            self._share = self.lease.share(self)
        return self._share


_all: weakref.WeakSet[Lease] = weakref.WeakSet()


def _after_fork() -> None:
    for lease in list(_all):
        lease.after_fork()


os.register_at_fork(after_in_child=_after_fork)
