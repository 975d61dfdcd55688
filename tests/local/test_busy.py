"""Busy seconds are counted once and divided among those who ran in them."""

from __future__ import annotations

import os
import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from llmsaver.local.busy import Meter, ServerTime
from llmsaver.local.endpoint import Share, Use


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_call_alone_has_all_of_its_time_and_idle_time_is_nobodys() -> None:
    clock = Clock()
    meter = Meter(exact=True, clock=clock)
    clock.now += 7
    call = meter.begin()
    clock.now += 3
    assert meter.running == 1
    assert call.end() == Share(3.0, exact=True)
    clock.now += 50
    assert call.end() == Share(3.0, exact=True)  # the second time the same
    assert (meter.busy_s, meter.running, meter.mean_s) == (3.0, 0, 3.0)


def test_calls_side_by_side_share_each_second() -> None:
    clock = Clock()
    meter = Meter(clock=clock)
    assert meter.mean_s is None
    first = meter.begin()
    clock.now += 2  # 2 s alone
    second = meter.begin()
    clock.now += 4  # 4 s for two
    assert first.end() == Share(4.0, exact=False)
    clock.now += 1  # 1 s alone
    assert second.end().seconds == 3.0
    assert meter.busy_s == 7.0
    assert meter.mean_s == (6 + 5) / 2


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 100)), max_size=40))
def test_the_shares_of_all_calls_add_up_to_the_busy_time(moves: list[tuple[bool, float]]) -> None:
    clock = Clock()
    meter = Meter(clock=clock)
    under_way: list[Use] = []
    shares, busy = [], 0.0
    for begins, passed in moves:
        busy += passed if under_way else 0.0
        clock.now += passed
        if begins:
            under_way.append(meter.begin())
        elif under_way:
            shares.append(under_way.pop(0).end().seconds)
    shares += [call.end().seconds for call in under_way]
    assert abs(sum(shares) - busy) < 1e-6
    assert abs(meter.busy_s - busy) < 1e-6


def test_many_threads_lose_nothing() -> None:
    meter = Meter()
    shares: list[float] = []
    began = time.monotonic()

    def work() -> None:
        shares.extend(meter.begin().end().seconds for _ in range(200))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert meter.running == 0
    assert len(shares) == 800
    assert abs(sum(shares) - meter.busy_s) < 1e-6
    assert meter.busy_s <= time.monotonic() - began


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    clock = Clock()
    meter = Meter(clock=clock)
    call = meter.begin()
    clock.now -= 5
    assert call.end().seconds == 0.0
    assert meter.busy_s == 0.0


def test_a_forked_child_counts_its_own_calls_only() -> None:
    meter = Meter(exact=True)
    call = meter.begin()
    child = os.fork()
    if child == 0:
        inherited = call.end() == Share(0.0, exact=False)
        os._exit(0 if inherited and meter.running == 0 and meter.busy_s == 0.0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert meter.running == 1
    assert call.end().exact


def test_a_meter_starts_anew_after_a_fork() -> None:
    clock = Clock()
    meter = Meter(clock=clock)
    call = meter.begin()
    clock.now += 1
    meter.after_fork()
    assert (meter.running, meter.busy_s, call.end()) == (0, 0.0, Share(0.0, exact=False))


def test_what_is_not_busy_is_idle() -> None:
    assert ServerTime("id", "m", 0.0, up_s=10.0, busy_s=4.0).idle_s == 6.0
    assert ServerTime("id", "m", 0.0, up_s=3.9, busy_s=4.0).idle_s == 0.0
