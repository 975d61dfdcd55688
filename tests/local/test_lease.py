"""A lease, with a supervisor that a test plays."""

from __future__ import annotations

import gc
import json
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.local import lease as lease_module
from llmsaver.local.lease import Lease

if TYPE_CHECKING:
    from collections.abc import Iterator

FACTS = {"token": "t", "base_url": None, "log": "/log"}


class Played:
    """The supervisor's end of a lease."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(60)
        self.lines = sock.makefile("rb")

    def tell(self, event: str, **fields: Any) -> None:
        self.sock.sendall(json.dumps({"event": event, **fields}).encode() + b"\n")

    def heard(self) -> Any:
        line = self.lines.readline()
        return json.loads(line) if line else None

    def close(self) -> None:
        self.lines.close()
        self.sock.close()


@pytest.fixture
def pair() -> Iterator[tuple[Lease, Played]]:
    ours, theirs = socket.socketpair()
    lease, played = Lease(ours), Played(theirs)
    yield lease, played
    lease.close()
    played.close()


def test_it_waits_for_a_word_and_for_the_server(pair: tuple[Lease, Played]) -> None:
    lease, played = pair
    assert not lease.hello(0.01)
    played.tell("starting", **FACTS)
    assert lease.hello(60)
    assert lease.ready(0.01) is None
    assert lease.alive()
    threading.Timer(0.05, played.tell, ("ready",), FACTS | {"base_url": "http://x"}).start()
    assert lease.ready(60) == "http://x"
    assert lease.ready(0) == "http://x"


def test_it_learns_why_the_server_ended(pair: tuple[Lease, Played]) -> None:
    lease, played = pair
    played.tell("starting", **FACTS)
    played.tell("ended", reason="idle", returncode=0)
    assert lease.ready(60) is None
    assert not lease.alive()
    assert (lease.ended or {})["reason"] == "idle"
    assert lease.ask("status", frozenset({"status"})) == {}


def test_one_that_is_lost_without_a_word_is_known_as_such(pair: tuple[Lease, Played]) -> None:
    lease, played = pair
    played.tell("starting", **FACTS)
    assert lease.hello(60)
    played.close()
    assert not lease.alive()
    assert lease.ended == {"reason": "lost", "returncode": None, "log": "/log"}
    lease.send(op="status")
    lease.let_go()
    assert lease.gone(0)


def test_a_connection_that_breaks_is_lost(pair: tuple[Lease, Played], monkeypatch: pytest.MonkeyPatch) -> None:
    lease, played = pair
    played.tell("status")

    class Broken:
        def __init__(self, sock: socket.socket) -> None:
            self.fileno = sock.fileno

        def recv(self, _size: int) -> bytes:
            raise ConnectionResetError

        def shutdown(self, _how: int) -> None:
            raise OSError

    monkeypatch.setattr(lease, "_sock", Broken(lease._sock))
    assert not lease.alive()
    lease.let_go()


def test_one_that_another_thread_closed_is_lost(pair: tuple[Lease, Played]) -> None:
    lease, _ = pair
    lease._sock.close()
    assert not lease.alive()


def test_a_call_begins_without_waiting_and_ends_with_its_share(pair: tuple[Lease, Played]) -> None:
    lease, played = pair
    first, second = lease.begin(), lease.begin()
    assert [played.heard() for _ in range(2)] == [{"op": "begin", "call": 1}, {"op": "begin", "call": 2}]
    played.tell("share", call=1, seconds=9.0)  # of a question that was given up
    played.tell("share", call=2, seconds=0.5)
    share = second.end()
    assert (share.seconds, share.exact) == (0.5, True)
    assert played.heard() == {"op": "end", "call": 2}
    assert second.end() is share
    played.close()
    assert not first.end().exact


def test_an_answer_that_does_not_come_is_not_waited_for(
    pair: tuple[Lease, Played], monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, _ = pair
    assert lease.ask("status", frozenset({"status"}), timeout=0.01) == {}
    assert lease.alive()
    monkeypatch.setattr(lease, "_reading", threading.Lock())
    with lease._reading:
        assert lease.alive()  # another thread listens: no waiting


def test_many_calls_at_once_wait_for_the_supervisor_to_read(pair: tuple[Lease, Played]) -> None:
    lease, played = pair
    counted: list[Any] = []

    def late() -> None:
        counted.extend(played.heard() for _ in range(3000))

    timer = threading.Timer(0.2, late)
    timer.start()
    for _ in range(3000):
        lease.begin()
    timer.join()
    assert [each["call"] for each in counted] == list(range(1, 3001))
    assert lease.alive()


def test_one_that_never_reads_is_given_up(pair: tuple[Lease, Played], monkeypatch: pytest.MonkeyPatch) -> None:
    lease, _ = pair
    monkeypatch.setattr(lease_module, "_ASK_SECONDS", 0.01)
    lease._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    lease.send(filler="x" * 50_000)
    assert not lease.alive()


def test_letting_go_waits_for_the_servers_end(pair: tuple[Lease, Played]) -> None:
    lease, played = pair
    lease.let_go()
    assert played.heard() is None
    threading.Timer(0.05, played.sock.shutdown, (socket.SHUT_RDWR,)).start()
    assert lease.gone(60)
    ours, theirs = socket.socketpair()
    with theirs:
        assert not Lease(ours).gone(0.01)


def test_a_lease_that_is_forgotten_ends() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        lease = Lease(ours)
        lease.send(op="x")
        del lease
        gc.collect()
        theirs.settimeout(60)
        assert theirs.recv(100) == b'{"op": "x"}\n'
        assert theirs.recv(100) == b""


def test_a_fork_gives_it_up_and_the_parent_keeps_it(pair: tuple[Lease, Played]) -> None:
    lease, played = pair
    pid = os.fork()
    if not pid:
        os._exit(0 if not lease.alive() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    played.tell("starting", **FACTS)
    assert lease.hello(60)
    lease_module._after_fork()
    assert not lease.alive()
