"""A tier is left alone after failures, tried again by one call, and believed when it asks for rest."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.router.breaker import LONGEST_REST, Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(3, window=60, pause=30, clock=clock)
    for _ in range(3):
        assert breaker.admit() is None
        breaker.failed()
    return breaker


def test_it_opens_after_enough_failures_within_the_window(clock: Clock) -> None:
    breaker = opened(clock)
    assert breaker.admit() == "it failed 3 times lately and is asked again in 30.0 s"
    assert breaker.standing() is not None


def test_failures_far_apart_do_not_open_it(clock: Clock) -> None:
    breaker = Breaker(3, window=60, pause=30, clock=clock)
    for _ in range(10):
        breaker.failed()
        clock.now += 31
    assert breaker.admit() is None


def test_a_success_forgets_failures(clock: Clock) -> None:
    breaker = Breaker(3, clock=clock)
    for _ in range(4):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()
    assert breaker.standing() is None


def test_one_call_finds_out_whether_it_is_back(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 30
    assert breaker.standing() is None
    assert breaker.admit() is None
    assert breaker.admit() == "it failed lately, and one call is finding out whether it is back"
    breaker.succeeded()
    assert breaker.admit() is None
    assert breaker.admit() is None


def test_a_probe_that_fails_opens_it_again(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 30
    assert breaker.admit() is None
    breaker.failed()
    assert "asked again in 30.0 s" in (breaker.admit() or "")


def test_a_probe_that_says_nothing_gives_its_place_back(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 30
    assert breaker.admit() is None
    breaker.left()
    assert breaker.admit() is None
    clock.now += 30  # this one never ends
    assert breaker.admit() is None


def test_it_is_left_alone_for_as_long_as_it_asks(clock: Clock) -> None:
    breaker = Breaker(clock=clock)
    breaker.rest(7)
    breaker.rest(3)
    assert breaker.admit() == "it asked to be left alone for another 7.0 s"
    clock.now += 7
    assert breaker.admit() is None
    breaker.rest(10**9)
    clock.now += LONGEST_REST
    assert breaker.admit() is None
    breaker.rest(-5)
    assert breaker.admit() is None


def test_only_one_of_many_threads_gets_the_probe(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 30
    gate = threading.Barrier(8)
    admitted: list[bool] = []

    def ask() -> None:
        gate.wait()
        admitted.append(breaker.admit() is None)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(admitted) == 1


@given(st.lists(st.sampled_from(["failed", "succeeded", "left", "wait", "admit"]), max_size=60))
def test_it_never_stays_shut_for_ever(steps: list[str]) -> None:
    clock = Clock()
    breaker = Breaker(2, window=10, pause=5, clock=clock)
    for step in steps:
        if step == "wait":
            clock.now += 1
        else:
            getattr(breaker, step)()
    clock.now += 10
    assert breaker.admit() is None
