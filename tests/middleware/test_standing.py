"""Who is left alone is told apart by account; the allowance of a minute is the program's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmsaver import Response
from llmsaver.core.runtime import drive
from llmsaver.middleware.failures import MISPLACED, TRANSIENT, Refused
from llmsaver.middleware.standing import ACCOUNTS, Standings
from llmsaver.router.tier import Tier


class Clock:
    now = 7.0

    def __call__(self) -> float:
        return self.now


class Runtime:
    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if self.error is not None:
            raise self.error


class Asked:
    def __init__(self, account: str = "a", runtime: Any = None, **body: Any) -> None:
        self.account, self.runtime, self.body = account, runtime or Runtime(), body


def standings(max_wait: float = 0.0) -> tuple[Standings, Clock]:
    clock = Clock()
    return Standings(2, 60.0, 30.0, max_wait, clock), clock


def place_of(found: Standings, tier: Tier, asked: Any) -> Any:
    return found.place(tier, asked)


TIER = Tier("m")


def test_accounts_are_told_apart_and_the_oldest_forgotten() -> None:
    found, _ = standings()
    for _ in range(2):
        place_of(found, TIER, Asked("bad")).failed(Refused(TRANSIENT, "it answered 500"), None)
    assert found.why(TIER, "bad") is not None
    assert found.why(TIER, "good") is None
    assert found.why(TIER, None) is not None
    assert found.why(Tier("other"), None) is None
    for number in range(ACCOUNTS):
        found.place(TIER, Asked(str(number)))  # type: ignore[arg-type]  # as much of a request as is looked at
    assert found.why(TIER, "bad") is None


def test_what_does_not_count_leaves_a_tier_alone() -> None:
    found, _ = standings()
    for _ in range(9):
        place_of(found, TIER, Asked()).failed(Refused(MISPLACED, "no", counts=False), None)
    assert found.why(TIER, "a") is None


def test_retry_after_is_believed_of_what_may_pass_only() -> None:
    found, clock = standings()
    later = Response(429, {"retry-after": "9"}, content=b"")
    place_of(found, TIER, Asked()).failed(Refused(TRANSIENT, "no"), later)
    assert found.why(TIER, "a") == "it asked to be left alone for another 9.0 s"
    clock.now += 9
    assert found.why(TIER, "a") is None
    place_of(found, TIER, Asked()).failed(Refused(MISPLACED, "no"), Response(401, {"retry-after": "9"}, content=b""))
    assert found.why(TIER, "a") is None
    for _ in range(2):
        place_of(found, TIER, Asked()).failed(
            Refused(TRANSIENT, "no"), Response(503, {"retry-after": "1"}, content=b"")
        )
    clock.now += 1
    assert "lately" in (found.why(TIER, "a") or "")


def test_a_call_that_waits_is_the_next_ones_to_wait_for() -> None:
    found, clock = standings(max_wait=5.0)
    tier = Tier("m", requests_per_minute=60)
    for _ in range(60):
        assert drive(place_of(found, tier, Asked()).admit()) is None
    runtime = Runtime()
    for _ in range(5):
        assert drive(place_of(found, tier, Asked("b", runtime)).admit()) is None
    assert runtime.slept == [pytest.approx(each) for each in range(1, 6)]
    assert drive(place_of(found, tier, Asked()).admit()) == "this minute's requests or tokens for it are used up"
    clock.now += 60
    assert drive(place_of(found, tier, Asked()).admit()) is None


def test_who_is_cancelled_while_waiting_gives_tokens_back() -> None:
    found, clock = standings(max_wait=100.0)
    tier = Tier("m", tokens_per_minute=600)
    asked = Asked(runtime=Runtime(asyncio.CancelledError()), max_tokens=590)
    assert drive(place_of(found, tier, asked).admit()) is None
    place = place_of(found, tier, asked)
    with pytest.raises(asyncio.CancelledError):
        drive(place.admit())
    clock.now += 60
    assert drive(place_of(found, tier, Asked(max_tokens=590)).admit()) is None


def test_an_unknown_limit_of_the_answer_is_taken_for_a_short_one() -> None:
    found, _ = standings()
    tier = Tier("m", tokens_per_minute=600)
    assert drive(place_of(found, tier, Asked(max_tokens=True)).admit()) is None
    assert drive(place_of(found, tier, Asked(max_tokens=-5)).admit()) is None
    assert drive(place_of(found, tier, Asked(max_output_tokens=600)).admit()) is not None


def test_where_there_are_no_limits_nothing_is_given_back() -> None:
    found, _ = standings()
    place = place_of(found, TIER, Asked())
    assert drive(place.admit()) is None
    place.left()
    place.answered(Response.of({}))
    limited = place_of(found, Tier("m", tokens_per_minute=10), Asked())
    assert drive(limited.admit()) is None
    limited.answered(Response.of({}))  # an answer that says nothing of its usage
    limited.left()
    limited.left()
