"""No minute holds more than is allowed, and who waits knows how long."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.router.limits import Limits


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_without_limits_nothing_waits() -> None:
    limits = Limits()
    assert [limits.take(10**9) for _ in range(100)] == [0.0] * 100
    limits.give_back(5)


def test_requests_beyond_a_minutes_worth_are_refused(clock: Clock) -> None:
    limits = Limits(requests=6, clock=clock)
    assert [limits.take(0) for _ in range(7)] == [0.0] * 6 + [None]
    clock.now += 10
    assert limits.take(0) == 0.0
    assert limits.take(0) is None


def test_who_may_wait_queues_in_order(clock: Clock) -> None:
    limits = Limits(requests=60, clock=clock)
    for _ in range(60):
        limits.take(0)
    assert [limits.take(0, most=3) for _ in range(4)] == [pytest.approx(1), pytest.approx(2), pytest.approx(3), None]
    clock.now += 3
    assert limits.take(0) is None
    clock.now += 1
    assert limits.take(0) == 0.0


def test_tokens_count_beside_requests_and_nothing_is_taken_where_one_refuses(clock: Clock) -> None:
    limits = Limits(requests=100, tokens=600, clock=clock)
    assert limits.take(500) == 0.0
    assert limits.take(200) is None
    assert limits.take(100) == 0.0
    clock.now += 20
    assert limits.take(200) == 0.0


def test_a_request_larger_than_a_minutes_worth_goes_when_nothing_else_did(clock: Clock) -> None:
    limits = Limits(tokens=100, clock=clock)
    assert limits.take(250) == 0.0
    assert limits.take(1) is None  # the rest is owed
    clock.now += 100
    assert limits.take(1) == 0.0


def test_what_was_not_used_is_given_back(clock: Clock) -> None:
    limits = Limits(tokens=100, clock=clock)
    assert limits.take(100) == 0.0
    limits.give_back(60)
    assert limits.take(60) == 0.0
    limits.give_back(-30)
    clock.now += 17
    assert limits.take(1) is None
    clock.now += 2
    assert limits.take(1) == 0.0


def test_less_than_one_request_per_minute_is_possible(clock: Clock) -> None:
    limits = Limits(requests=0.5, clock=clock)
    assert limits.take(0) == 0.0
    clock.now += 119
    assert limits.take(0) is None
    clock.now += 1
    assert limits.take(0) == 0.0


def test_threads_share_one_allowance(clock: Clock) -> None:
    limits = Limits(requests=50, clock=clock)
    got: list[float | None] = []

    def ask() -> None:
        got.extend(limits.take(0) for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got.count(0.0) == 50


@given(
    st.lists(st.tuples(st.floats(0, 5), st.integers(0, 40), st.floats(0, 3)), max_size=80),
    st.integers(1, 50),
    st.integers(1, 200),
)
def test_what_leaves_never_exceeds_the_rate_by_more_than_one_bucket(
    asks: list[tuple[float, int, float]], requests: int, tokens: int
) -> None:
    clock = Clock()
    began = clock.now
    limits = Limits(requests, tokens, clock=clock)
    left: list[float] = []
    for pause, amount, patience in asks:
        clock.now += pause
        wait = limits.take(amount, patience)
        if wait is not None:
            left.append(clock.now + wait)
    for at in left:
        gone = sum(each <= at for each in left)
        assert gone <= requests + requests * (at - began) / 60 + 1e-6
