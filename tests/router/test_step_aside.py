"""Where a cascade loses, it steps aside."""

from __future__ import annotations

import json
import math

import pytest

from llmsaver.router.step_aside import StepAside


def _told(calls: int, escalated: float, weak: float = 6, strong: float = 100, **options: float) -> StepAside:
    made = StepAside(**options)  # type: ignore[arg-type]  # numbers by name
    for number in range(calls):
        up = math.floor((number + 1) * escalated) > math.floor(number * escalated)
        made.note("f", weak_nano=weak, strong_nano=strong, escalated=up)
    return made


def test_it_starts_with_the_benefit_of_the_doubt() -> None:
    verdict = StepAside().verdict("f")
    assert (verdict.aside, verdict.why, verdict.escalation) == (False, "nothing is known yet", 0.4)
    assert not _told(19, 1.0, weak=99).verdict("f").aside


def test_a_losing_cascade_is_stepped_aside_for_and_says_so() -> None:
    verdict = _told(400, 1.0).verdict("f")
    assert verdict.aside
    assert verdict.why.startswith("the cascade costs more than it saves: 10")
    assert verdict.escalation > 0.95
    assert not _told(400, 0.9).verdict("f").aside
    assert _told(400, 0.5, weak=60).verdict("f").aside
    assert not _told(400, 0.5, weak=60).verdict("other").aside


def test_what_judging_takes_counts() -> None:
    made = StepAside()
    for _ in range(50):
        made.note("f", weak_nano=30, extra_nano=60, strong_nano=100, escalated=True)
    assert made.verdict("f").aside
    assert made.verdict("f").weak_nano == pytest.approx(90)


def test_what_is_hard_is_dear() -> None:
    made = StepAside()
    for number in range(400):
        hard = number % 2 == 0
        made.note("f", weak_nano=40, strong_nano=1_000 if hard else 10, escalated=hard)
    assert made.verdict("f").aside


def test_a_bill_never_exceeds_the_strong_one_by_much() -> None:
    for weak, escalated in ((6, 1.0), (6, 0.97), (30, 0.8), (100, 1.0), (100, 0.2)):
        made = StepAside()
        bill = 0.0
        calls = 20_000
        for number in range(calls):
            up = math.floor((number + 1) * escalated) > math.floor(number * escalated)
            if made.turn("f").aside:
                bill += 100
                continue
            bill += weak + 100 * up
            made.note("f", weak_nano=weak, strong_nano=100, escalated=up)
        assert bill <= 1.005 * calls * 100, (weak, escalated)


def test_trials_bring_it_back() -> None:
    made = _told(400, 1.0)
    trials = 0
    for _ in range(60_000):
        verdict = made.turn("f")
        if verdict.probe:
            trials += 1
            assert verdict.why.endswith("this call tries whether that still holds")
            made.note("f", weak_nano=6, strong_nano=100, escalated=False)
        if not made.verdict("f").aside:
            break
    assert 10 < trials < 1_000
    assert not made.verdict("f").aside
    assert made.turn("f").probe is False


def test_free_tiers_and_strange_amounts() -> None:
    assert not _told(50, 0.5, weak=0, strong=0).verdict("f").aside
    assert _told(50, 0.5, weak=1, strong=0).verdict("f").aside
    made = _told(50, 0.5, weak=1, strong=0)
    assert [made.turn("f").probe for _ in range(500)].count(True) == 1
    for weak, strong in ((-1.0, 1.0), (math.nan, 1.0), (1.0, math.inf)):
        made.note("g", weak_nano=weak, strong_nano=strong, escalated=True)
    assert made.verdict("g").calls == 0


def test_it_is_bounded() -> None:
    made = StepAside()
    for number in range(1_005):
        made.note(str(number), weak_nano=1, strong_nano=1, escalated=False)
    assert len(made.as_dict()) == 1_000
    assert "0" not in made.as_dict()


def test_it_goes_on_where_another_process_was() -> None:
    made = _told(400, 1.0)
    told = json.loads(json.dumps(made.merged("f", {})))
    again = StepAside(needed=5)
    assert again.merged("f", told) == told
    assert again.verdict("f") == made.verdict("f")
    assert again.merged("f", _told(3, 0.0).merged("f", {})) == told  # of fewer calls


@pytest.mark.parametrize(
    "given", [{}, {"f": 3}, {"calls": -1, "escalated": 0, "weak": 0, "strong": 0, "paid": 0},
              {"calls": True, "escalated": 0, "weak": 0, "strong": 0, "paid": 0}]
)  # fmt: skip
def test_nonsense_is_left_out(given: dict[str, object]) -> None:
    made = StepAside()
    assert made.merged("f", given)["calls"] == 0
    assert made.as_dict() == {}
