"""The supervisor program: keeps one llama.cpp server for as long as anybody holds a lease on it, and counts its time.

It is run by its path and needs the standard library only, so that it stays small. Its arguments are two descriptors:
a socket, whose first line is a JSON object with the plan and which is the starter's lease from then on, and the lock
of this server, held for as long as it lives. A *lease* is an open connection: one that is gone, for whatever
reason, has ended. Everything said is a JSON object per line:

- to us, as ``{"op": ...}``: ``lease`` or ``look`` (both with ``token``; the latter is no lease), then ``begin`` and
  ``end`` (``call``), ``status``, ``keep`` or ``hold``, ``stop`` (``reason``, ``if_free``)
- from us, as ``{"event": ...}``: ``starting`` and ``ready`` (with the facts of ``<key>.json``), ``share`` (``call``,
  ``seconds``), ``status``, ``stopping`` or ``busy``, ``ended`` (``reason``, ``returncode`` and the last status)

The main and only thread starts the server: Linux then ends it whenever we end.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time

TYPE_CHECKING = False  # typing's own would cost half a megabyte

if TYPE_CHECKING or __package__:
    from llmsaver.local.connections import Busy, Connection, first_line, same
    from llmsaver.local.ward import Ward
else:  # run by its path: the package would bring what this program does not need
    sys.path.append(os.path.dirname(__file__))  # noqa: PTH120 - pathlib costs a megabyte
    from connections import Busy, Connection, first_line, same
    from ward import Ward

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_STRANGERS = 64
_QUIET_TICKS = 100  # of a hundredth of a second: what a server that nobody calls may burn while we look away
_CRASH_WINDOW = 600.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_CRASHES = 8
_FACTS = ("key", "token", "name", "path", "context", "parallel", "memory_mib", "log")


class Supervisor:
    """One server, its leases and its files; ``spec`` is what ``launch.py`` says of it."""

    def __init__(self, spec: dict[str, Any], first: socket.socket) -> None:
        now = time.monotonic()
        self.spec = spec
        self.reason: str | None = None
        self.kept: bool = spec["keep"]
        self._busy = Busy(now)
        self._started = self._last_used = now
        self._connections: dict[int, Connection] = {}
        self._last: socket.socket | None = None
        self._ward: Ward | None = None
        self._ticks = 0
        self._stem = f"{spec['folder']}/{spec['key']}"
        self._wake, self._waker = socket.socketpair()
        self._poll = select.poll()
        self._facts: dict[str, Any] = {
            **{name: spec[name] for name in _FACTS},
            "id": f"{spec['key']}-{time.time_ns():x}",
            "pid": os.getpid(),
            "started_at": time.time(),
            "base_url": None,
        }
        self._enter(Connection(first), lease=True)

    def run(self) -> None:
        """Start the server and stay until it has ended or nobody needs it; ``reason`` says which."""
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, self._signalled)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for end in (self._wake, self._waker):
            end.setblocking(False)
        self._poll.register(self._wake, select.POLLIN)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        listener = self._listen()
        ward = self._ward = Ward(self.spec["script"], self.spec)
        self._poll.register(ward.stdout, select.POLLIN)
        self._facts["child"] = ward.pid
        self._write()
        self._tell_all("starting")
        while self.reason is None:
            self._wait(listener, ward)
        listener.close()
        self._end(ward)

    def _signalled(self, number: int, _frame: object) -> None:
        if number == signal.SIGTERM:
            self._finish("stopped")

    def _finish(self, reason: str) -> None:
        self.reason = self.reason or reason

    def _listen(self) -> socket.socket:
        """Listen on a Unix socket in the folder, or on loopback where its path is too long."""
        path = f"{self._stem}.sock"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - pathlib costs a megabyte
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(path)
            self._facts["control"] = path
        except OSError:
            listener.close()
            listener = socket.create_server(("127.0.0.1", 0))
            self._facts["control"] = listener.getsockname()[1]
        listener.listen(128)
        listener.setblocking(False)
        self._poll.register(listener, select.POLLIN)
        return listener

    def _write(self) -> None:
        """Let other programs find us."""
        path = f"{self._stem}.json"
        descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(self._facts, file)
        os.replace(path + ".new", path)  # noqa: PTH105 - pathlib costs a megabyte

    def _wait(self, listener: socket.socket, ward: Ward) -> None:
        """Wait for something to happen, and see to it."""
        limit = self.spec["exit_idle_seconds"]
        pause = None if limit < 0 else max(0.0, self._last_used + limit - time.monotonic()) * 1000 + 1
        for descriptor, _ in self._poll.poll(pause):
            if descriptor == self._wake.fileno():
                self._wake.recv(4096)
            elif descriptor == listener.fileno():
                self._accept(listener)
            elif descriptor == ward.stdout:
                self._hear_ward(ward)
            elif descriptor in self._connections:
                self._hear(self._connections[descriptor])
        if ward.reap():
            self._finish("crashed")
        if not self.kept and not self._leases():
            self._finish("unused")
        if limit >= 0 and time.monotonic() >= self._last_used + limit:
            self._look_at_idleness(ward)

    def _leases(self) -> int:
        return sum(each.lease for each in self._connections.values())

    def _held(self) -> bool:
        """Return whether the server must not go while somebody has a lease: it loads, works, or was asked to stay."""
        asked = self.kept or any(each.hold for each in self._connections.values())
        return bool(asked or self._busy.calls or self._facts["base_url"] is None)

    def _look_at_idleness(self, ward: Ward) -> None:
        """End where nobody has called for too long; a server that burns time is called past us."""
        before, self._ticks = self._ticks, ward.ticks()
        if self._held() or self._ticks - before > _QUIET_TICKS:
            self._last_used = time.monotonic()
        else:
            self._finish("idle")

    def _hear_ward(self, ward: Ward) -> None:
        """Take the child's one answer."""
        try:
            address = ward.hear()
        except ValueError:
            self._finish("silent")
            return
        if address is None:
            return
        self._poll.unregister(ward.stdout)
        if address:
            self._facts["base_url"] = address
            self._last_used = time.monotonic()
            self._ticks = ward.ticks()
            self._write()
            self._tell_all("ready")

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it is gone again, or there are no descriptors left
            sock, _ = listener.accept()
            if sum(not each.known for each in self._connections.values()) < _STRANGERS:
                self._enter(Connection(sock))
            else:
                sock.close()

    def _enter(self, connection: Connection, *, lease: bool = False) -> None:
        self._connections[connection.sock.fileno()] = connection
        self._poll.register(connection.sock, select.POLLIN)
        connection.known = connection.lease = lease

    def _hear(self, connection: Connection) -> None:
        said = connection.lines()
        for message in said or ():
            if connection.known:
                self._answer(connection, message)
            elif same(message.get("token"), self.spec["token"]):
                connection.known = True
                connection.lease = message.get("op") == "lease"
                connection.tell("ready" if self._facts["base_url"] else "starting", **self._facts)
            else:
                said = None
                break
        if said is None:
            self._leave(connection)

    def _answer(self, connection: Connection, message: Mapping[str, Any]) -> None:
        """See to one message; one that makes no sense is passed over."""
        op, call, now = message.get("op"), message.get("call"), time.monotonic()
        if op == "begin" and isinstance(call, int):
            connection.calls[call] = self._busy.begin(now)
            self._last_used = now
        elif op == "end" and isinstance(call, int):
            mark = connection.calls.pop(call, None)
            seconds = 0.0 if mark is None else self._busy.end(mark, now)
            connection.tell("share", call=call, seconds=seconds)
            self._last_used = now
        elif op in {"status", "keep", "hold"}:
            self.kept = self.kept or op == "keep"
            connection.hold = connection.hold or op == "hold"
            connection.tell("status", **self._status(now))
        elif op == "stop":
            refused = message.get("if_free") and self._held()
            connection.tell("busy" if refused else "stopping")
            if not refused:
                self._finish(str(message.get("reason") or "stopped"))

    def _status(self, now: float) -> dict[str, Any]:
        """Return what programs of the same user may know about this server; times in seconds."""
        return {
            **self._facts,
            "calls": self._busy.calls,
            "mean_s": self._busy.mean,
            "busy_s": self._busy.total(now),
            "up_s": now - self._started,
            "quiet_s": 0.0 if self._busy.calls else now - self._last_used,
            "leases": self._leases(),
            "kept": self.kept,
        }

    def _leave(self, connection: Connection) -> None:
        """Let a program go: its calls are over, and so is its lease."""
        now = time.monotonic()
        for mark in connection.calls.values():
            self._busy.end(mark, now)
            self._last_used = now
        self._poll.unregister(connection.sock)
        del self._connections[connection.sock.fileno()]
        if connection.lease and not self.kept and not self._leases():
            self._last = connection.sock  # open until the server is gone, for whoever waits for that
        else:
            connection.sock.close()

    def _tell_all(self, event: str) -> None:
        for each in self._connections.values():
            if each.known:
                each.tell(event, **self._facts)

    def _end(self, ward: Ward) -> None:
        """Take the files away, end the child and tell everybody; the log of a failure stays."""
        for suffix in ("json", "sock"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self._stem}.{suffix}")  # noqa: PTH108 - pathlib costs a megabyte
        status = self._status(time.monotonic())
        ward.stop()
        for each in self._connections.values():
            if each.known:
                code = None if self.reason == "silent" else ward.returncode
                each.tell("ended", **status, reason=self.reason, returncode=code)
            each.sock.close()
        if self.reason not in {"crashed", "silent"}:
            with contextlib.suppress(OSError):
                os.unlink(self.spec["log"])  # noqa: PTH108 - pathlib costs a megabyte


def again(spec: dict[str, Any], lock: int, now: float) -> None:
    """Start over after a crash of a server that is to be kept, as the same program; return after too many crashes."""
    crashes = [each for each in spec.get("crashes", ()) if each > now - _CRASH_WINDOW] + [now]
    if len(crashes) > _CRASHES:
        return
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** len(crashes)))
    ours, theirs = socket.socketpair()
    theirs.sendall(json.dumps(spec | {"keep": True, "crashes": crashes}).encode() + b"\n")
    theirs.close()
    flags = ["-P", *(["-S", "-E"] if sys.flags.no_site else [])]
    with ours:
        for descriptor in (ours.fileno(), lock):
            os.set_inheritable(descriptor, True)
        arguments = [*flags, __file__, str(ours.fileno()), str(lock)]
        os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - ourselves


def main(control: int, lock: int) -> int:
    """Serve one plan; return 1 where the starter is gone before it has said one."""
    for descriptor in (control, lock):
        os.set_inheritable(descriptor, False)
    first = socket.socket(fileno=control)
    spec = first_line(first)
    if spec is None:
        return 1
    supervisor = Supervisor(spec, first)
    supervisor.run()
    if supervisor.kept and supervisor.reason in {"crashed", "silent"}:
        again(spec, lock, time.monotonic())
    return 0


if __name__ == "__main__":
    # A grandchild: its starter need not wait for it, and whoever waits for any child of its own does not meet it.
    if sys.argv[3:] == ["detach"] and os.fork():
        os._exit(0)
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
