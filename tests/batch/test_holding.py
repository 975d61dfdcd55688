"""Hard budgets around a run: set aside before a job is begun, charged when its answers are booked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest
from sqlalchemy import select

from llmsaver import budget, feature
from llmsaver.batch import BatchInterrupted, cancel
from llmsaver.batch.holding import budgets_around
from llmsaver.batch.lane import Lane
from llmsaver.batch.openai_jobs import OpenAIJobs
from llmsaver.errors import BudgetExceeded
from llmsaver.ledger.batches import Batches
from llmsaver.ledger.schema import windows

if TYPE_CHECKING:
    from collections.abc import Callable

VENDORS = pytest.mark.parametrize("via", ["openai", "anthropic"])
# One request of ``bench.bodies`` may cost $0.000036 and $0.0001, and costs a tenth of that.
ROOM = {"openai": "0.00008", "anthropic": "0.00025"}
BROAD = "5"


def jobs(b: Any) -> int:
    """Return how many jobs were begun."""
    return sum(each.method == "POST" and each.path.endswith("batches") for each in b.fake.requests)


def holds(b: Any) -> list[dict[str, Any]]:
    with b.saver.ledger.open().reader() as reader:
        found: list[dict[str, Any]] = reader.holds()
    return found


def state(b: Any, name: str = "night") -> dict[str, Any]:
    b.saver.ledger.drain(60)
    with b.saver.ledger.open().reader() as reader:
        return next(each for each in reader.budgets(time.time()) if each["name"] == name)


@VENDORS
def test_what_a_run_may_cost_is_held_until_its_answers_are_booked(bench: Callable[..., Any], via: str) -> None:
    b = bench("yes")
    held: list[int] = []
    with budget("night", usd=BROAD):
        done = b.run(b.bodies(9, via), part_requests=4, progress=lambda _: held.append(len(holds(b))))
    assert done.state == "finished"
    assert max(held) == 3  # one for each job, and each gone with its job
    assert holds(b) == []
    found = state(b)
    assert (found["spent_nano"], found["held_nano"], found["spent_calls"]) == (done.spent_nano, 0, 9)
    assert done.spent_nano == b.paid() == b.booked() > 0


@VENDORS
def test_a_run_that_may_cost_more_than_a_hard_budget_has_is_not_begun(bench: Callable[..., Any], via: str) -> None:
    b = bench("yes")
    with budget("night", usd=ROOM[via]), pytest.raises(BudgetExceeded) as refused:
        b.run(b.bodies(40, via))
    assert refused.value.budget == "night"
    assert refused.value.asked > refused.value.limit
    assert (jobs(b), holds(b)) == (0, [])


@VENDORS
def test_with_partly_as_much_is_done_as_a_budget_surely_has_room_for(bench: Callable[..., Any], via: str) -> None:
    b = bench("yes")
    with budget("night", usd=ROOM[via]):
        done = b.run(b.bodies(40, via), partly=True)
    assert done.state == "stopped"
    assert 0 < done.answered < 40
    assert "night" in done.why
    assert state(b)["spent_nano"] == done.spent_nano == b.paid()
    assert done.spent_nano <= state(b)["limit_nano"]
    assert holds(b) == []


def test_budgets_of_calls_and_of_tokens_hold_too(bench: Callable[..., Any]) -> None:
    b = bench("yes")
    with budget("night", calls=3), pytest.raises(BudgetExceeded):
        b.run(b.bodies(4))
    with budget("night", calls=3):
        assert b.run(b.bodies(4), partly=True).answered == 3
    with budget("words", tokens=50), pytest.raises(BudgetExceeded):
        b.run(b.bodies(5))


def test_a_budget_that_warns_only_lets_a_run_pass_and_is_charged(bench: Callable[..., Any]) -> None:
    b = bench("yes")
    with budget("night", usd="0.000001", hard=False, on_exceed="warn"):
        done = b.run(b.bodies(3))
    assert done.ok
    assert state(b)["spent_nano"] == done.spent_nano


def test_what_nothing_bounds_is_refused_unless_the_budget_says_what_it_may_cost(bench: Callable[..., Any]) -> None:
    b = bench("yes", prices={"mine": {"input": "1", "output": "1"}})
    bodies = [{"model": "nobody-knows", "messages": [{"role": "user", "content": f"q{n}"}]} for n in range(2)]
    with budget("night", usd=1), pytest.raises(BudgetExceeded, match="max_call_usd"):
        b.run(bodies)
    assert jobs(b) == 0
    with budget("day", usd="0.01", max_call_usd="0.006"), pytest.raises(BudgetExceeded):
        b.run(bodies)
    with budget("other", usd="0.02", max_call_usd="0.006"):
        assert b.run(bodies).ok


def test_a_budget_of_a_feature_from_the_settings_holds(bench: Callable[..., Any]) -> None:
    b = bench("yes", budgets=[{"name": "nightly", "usd": "0.0003"}])
    with feature("nightly"), pytest.raises(BudgetExceeded):
        b.run(b.bodies(40))
    assert b.run(b.bodies(40)).ok


def test_observing_refuses_nothing(bench: Callable[..., Any]) -> None:
    b = bench("yes", mode="observe")
    with budget("night", usd="0.000001"):
        assert b.run(b.bodies(3)).ok
    assert holds(b) == []


class Died(BaseException):
    """Stands for kill -9."""


@VENDORS
@pytest.mark.parametrize("step", ["_send", "_follow"])
def test_a_run_that_died_holds_on_to_its_money_and_goes_on(
    bench: Callable[..., Any], via: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = bench("yes")

    def die(*_: Any) -> Any:
        raise Died

    with budget("night", usd=BROAD):
        monkeypatch.setattr(Lane, step, die)
        with pytest.raises(Died):
            b.run(b.bodies(6, via), part_requests=3)
        monkeypatch.undo()
        states = {each["state"] for each in holds(b)}
        assert len(holds(b)) == 2
        assert (len(states), jobs(b)) == (1, 0 if step == "_send" else 2)
        done = b.run(b.bodies(6, via), part_requests=3)
    assert (done.state, jobs(b)) == ("finished", 2)
    assert state(b)["spent_nano"] == done.spent_nano == b.paid()
    assert (holds(b), state(b)["held_nano"]) == ([], 0)


def test_where_the_hold_is_gone_and_no_room_is_left_a_job_is_not_begun(
    bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    b = bench("yes")

    def die(*_: Any) -> Any:
        raise Died

    with budget("night", calls=8):
        monkeypatch.setattr(Lane, "_send", die)
        with pytest.raises(Died):
            b.run(b.bodies(6))
        monkeypatch.undo()
        (hold,) = holds(b)
        assert b.saver.ledger.settle_named(hold["id"])  # its lease ran out
        other = [{**body, "max_tokens": 21} for body in b.bodies(5)]
        assert b.run(other).ok
        with pytest.raises(BatchInterrupted, match="night"):
            b.run(b.bodies(6))
    assert (jobs(b), len(holds(b))) == (1, 0)
    with budget("more", calls=100):
        assert b.run(b.bodies(6)).ok


@VENDORS
def test_what_a_cancelled_run_has_cost_is_charged_where_it_was_held(
    bench: Callable[..., Any], via: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = bench("yes", polls=3)

    def die(*_: Any) -> Any:
        raise Died

    monkeypatch.setattr(Lane, "_follow", die)
    with budget("night", usd=BROAD), pytest.raises(Died):
        b.run(b.bodies(4, via))
    monkeypatch.undo()
    (run,) = Batches(b.saver.ledger.open()).latest()
    assert len(holds(b)) == 1
    assert cancel(b.saver, run.id, client=b.client, pace=b.pace()).state == "cancelled"
    assert (holds(b), state(b)["held_nano"]) == ([], 0)
    assert state(b)["spent_nano"] == b.paid() == b.booked()


def test_what_a_provider_refuses_to_begin_is_given_back(
    bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    b = bench("yes")
    real = OpenAIJobs.create

    def refuse(*_: Any) -> Any:
        answer = httpx2.Response(400, request=httpx2.Request("POST", "https://api.openai.com/v1/batches"))
        raise openai.BadRequestError("no such endpoint", response=answer, body=None)

    monkeypatch.setattr(OpenAIJobs, "create", refuse)
    with budget("night", calls=5):
        with pytest.raises(BatchInterrupted, match="did not take a job"):
            b.run(b.bodies(5))
        assert holds(b) == []
        monkeypatch.setattr(OpenAIJobs, "create", real)
        assert b.run(b.bodies(5)).ok
    assert (state(b)["spent_calls"], holds(b)) == (5, [])


def test_a_dead_programs_lease_takes_no_room(bench: Callable[..., Any]) -> None:
    b = bench("yes")
    with budget("night", calls=6):
        claims = [claim for _, claim in budgets_around(b.saver)]
        assert b.saver.ledger.open().reserve(claims, nano=0, calls=6, now=time.time() - 3600, lease_s=1)
        done = b.run(b.bodies(6))
    assert (done.state, state(b)["spent_calls"]) == ("finished", 6)


def test_money_is_spent_in_the_window_in_which_it_was_held(
    bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    b = bench("yes")

    def die(*_: Any) -> Any:
        raise Died

    monkeypatch.setattr(Lane, "_follow", die)
    with budget("night", usd=BROAD, per="day"):
        with pytest.raises(Died):
            b.run(b.bodies(4))
        monkeypatch.undo()
        tomorrow = time.time() + 86_400
        monkeypatch.setattr(time, "time", lambda: tomorrow)
        done = b.run(b.bodies(4))
    assert done.ok
    b.saver.ledger.drain(60)
    query = select(windows.c.spent_nano, windows.c.held_nano).order_by(windows.c.starts_at)
    with b.saver.ledger.store.read().connect().execution_options(reading=True) as connection:
        first, *later = (tuple(row) for row in connection.execute(query))
    assert first == (b.paid(), 0)
    assert set(later) <= {(0, 0)}


def test_a_hold_is_kept_alive_while_its_job_is_under_way(
    bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    b = bench("yes", polls=4)
    until: set[float] = set()
    monkeypatch.setattr("llmsaver.batch.holding._RENEW_SECONDS", 0.0)
    with budget("night", usd=BROAD):
        done = b.run(b.bodies(2), progress=lambda _: until.update(each["expires_at"] for each in holds(b)))
    assert done.ok
    assert len(until) > 2
