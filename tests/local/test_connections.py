"""Connections to a supervisor, and the time that calls share."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.local.connections import Busy, Connection, first_line, same

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmsaver.local.connections import Mark


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    """Return a supervisor's end of a connection, and the program's."""
    ours, theirs = socket.socketpair()
    yield Connection(ours), theirs
    ours.close()
    theirs.close()


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans())))
def test_the_shares_of_all_calls_are_the_busy_seconds(steps: list[tuple[float, bool]]) -> None:
    busy, now, shares = Busy(0.0), 0.0, list[float]()
    under_way: list[Mark] = []
    expected = 0.0
    for passed, begins in steps:
        now += passed
        expected += passed if under_way else 0.0
        if begins:
            under_way.append(busy.begin(now))
        elif under_way:
            shares.append(busy.end(under_way.pop(0), now))
        assert busy.calls == len(under_way)
    shares += [busy.end(mark, now) for mark in under_way]
    assert busy.total(now) == pytest.approx(expected)
    assert sum(shares) == pytest.approx(expected)
    assert min(shares, default=0.0) >= 0.0


def test_each_second_is_divided_among_those_in_it_and_the_mean_is_of_whole_calls() -> None:
    busy = Busy(0.0)
    long = busy.begin(0.0)
    short = busy.begin(2.0)
    assert busy.end(short, 4.0) == 1.0
    assert busy.end(long, 6.0) == 5.0
    assert (busy.total(100.0), busy.mean) == (6.0, 4.0)


def test_whole_lines_are_heard_and_the_rest_is_kept(pair: tuple[Connection, socket.socket]) -> None:
    connection, program = pair
    assert connection.lines() == []
    program.sendall(b'{"op": "a"}\n{"op"')
    assert connection.lines() == [{"op": "a"}]
    program.sendall(b': "b"}\n')
    assert connection.lines() == [{"op": "b"}]
    program.close()
    assert connection.lines() is None


@pytest.mark.parametrize("rubbish", [b"nonsense\n", b"[1]\n", b"\xff\n", b"x" * 65_537, b"[" * 60_000 + b"\n"])
def test_rubbish_ends_a_connection(pair: tuple[Connection, socket.socket], rubbish: bytes) -> None:
    connection, program = pair
    program.sendall(rubbish)
    said: object = []
    while said == []:
        said = connection.lines()
    assert said is None


def test_a_program_that_does_not_read_is_cut_off(pair: tuple[Connection, socket.socket]) -> None:
    connection, program = pair
    for _ in range(1000):
        connection.tell("status", filler="x" * 10_000)
    program.settimeout(60)
    while program.recv(1 << 20):
        pass
    assert connection.lines() is None


def test_one_that_is_gone_is_told_in_vain_and_noticed(pair: tuple[Connection, socket.socket]) -> None:
    connection, program = pair
    program.close()
    connection.tell("ready")
    connection.sock.close()
    assert connection.lines() is None


def test_the_first_line_is_read_and_not_a_byte_more() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            theirs.sendall(b'{"a":')
            theirs.sendall(b' 1}\n{"op"')
            assert first_line(ours) == {"a": 1}
            assert ours.recv(100) == b'{"op"'
        assert first_line(ours) is None


@given(st.text(), st.text())
def test_tokens_are_compared(one: str, other: str) -> None:
    assert same(one, other) is (one == other)
    assert not same(None, other) or other == "None"
