"""The contract."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.router.bounds import Sample, passed
from llmsaver.router.calibration import Label, NotEnough, Threshold, contract, curve, needed


def label(confidence: float | None = 0.5, weak: float = 1.0, strong: float = 1.0, **changes: Any) -> Label:
    told: dict[str, Any] = {"feature": "f", "signal": "logprobs", "weak_nano": 6, "strong_nano": 100}
    return Label(
        **{**told, "source": "file", "gold": True, "confidence": confidence, "weak": weak, "strong": strong, **changes}
    )


def traffic(count: int, seed: int = 1, **changes: Any) -> list[Label]:
    """Return labels of a cheap model that is right as often as it is confident."""
    draw = random.Random(seed)  # noqa: S311 - repeatable
    found = []
    for _ in range(count):
        merit = draw.random() ** 0.3
        found.append(label(merit, float(draw.random() < merit), float(draw.random() < 0.95), **changes))
    return found


def test_a_contract_keeps_its_promise_more_often_than_its_risk_allows() -> None:
    rest = traffic(5_000, seed=99)
    strong = sum(each.strong for each in rest)
    missed = 0
    for seed in range(40):
        found = contract(traffic(200, seed=seed), min_quality=0.95, risk=0.1)
        assert isinstance(found, Threshold)
        quality = sum(each.weak if found.accepts(each.confidence) else each.strong for each in rest)
        missed += quality < 0.95 * strong
    assert missed <= 4


def test_more_labels_save_more() -> None:
    few, many = (contract(traffic(count, seed=5), min_quality=0.95) for count in (60, 1_500))
    assert isinstance(few, Threshold)
    assert isinstance(many, Threshold)
    assert few.saving < many.saving
    assert many.labels == 1_500
    assert many.quality_low >= 0.95
    assert 0.0 < many.escalation < 1.0


def test_a_faultless_model_is_trusted_as_soon_as_that_can_be_shown() -> None:
    assert needed(0.95, 0.1) == 45
    short = contract([label()] * 44, min_quality=0.95)
    assert short == NotEnough(44, 45)
    assert str(short) == "not enough evidence: 44 of about 45 labels"
    found = contract([label()] * 45, min_quality=0.95)
    assert isinstance(found, Threshold)
    assert found.value == 0.5
    assert found.saving == pytest.approx(0.94)
    assert found.escalation == 0.0


def test_of_a_hopeless_model_no_more_is_accepted_than_may_be_lost() -> None:
    found = contract([label(at / 100, weak=0.0) for at in range(100)], min_quality=0.95)
    assert isinstance(found, Threshold)
    assert found.escalation > 0.95


def test_a_model_that_fails_where_it_is_sure_is_never_accepted() -> None:
    found = contract([label(0.9, weak=0.0)] * 100, min_quality=0.95)
    assert isinstance(found, Threshold)
    assert found.value == math.inf
    assert found.escalation == 1.0
    assert found.saving == pytest.approx(-0.06)
    assert not found.accepts(1.0)
    assert found.as_dict()["value"] is None


def test_one_loss_at_the_top_of_few_labels_stops_it() -> None:
    labels = [label(0.99, weak=0.0), *[label(0.5)] * 44]
    found = contract(labels, min_quality=0.95)
    assert isinstance(found, Threshold)
    assert found.value == math.inf


def test_where_the_strong_model_knows_nothing_there_is_nothing_to_lose_or_prove() -> None:
    found = contract([label(at / 50, weak=0.0, strong=0.0) for at in range(50)], min_quality=0.95)
    assert isinstance(found, Threshold)
    assert found.value == math.inf
    assert found.quality_low == 1.0


def test_labels_without_a_merit_or_of_another_signal_escalate() -> None:
    labels = [*[label(0.9)] * 60, *[label(None)] * 20, *[label(0.9, signal="agreement")] * 20]
    found = contract(labels, min_quality=0.95)
    assert isinstance(found, Threshold)
    assert found.signal == "logprobs"
    assert found.escalation == pytest.approx(0.4)
    assert not found.accepts(None)
    assert found.accepts(0.9)
    other = contract(labels, min_quality=0.95, signal="agreement")
    assert isinstance(other, Threshold)
    assert other.signal == "agreement"
    assert other.escalation == pytest.approx(0.8)


def test_no_merits_at_all_escalate_everything() -> None:
    found = contract([label(None)] * 50, min_quality=0.95)
    assert isinstance(found, Threshold)
    assert found.value == math.inf
    assert found.signal == ""


def test_gold_and_proxy_labels_are_never_mixed() -> None:
    proxy = [label(0.9, gold=False, source="audit")] * 60
    found = contract([*[label(0.9, weak=0.0)] * 10, *proxy], min_quality=0.95)
    assert isinstance(found, Threshold)
    assert not found.gold
    assert found.labels == 60
    found = contract([*[label(0.9)] * 50, *proxy], min_quality=0.95)
    assert isinstance(found, Threshold)
    assert found.gold
    assert found.labels == 50
    assert contract([*[label()] * 40, *proxy[:40]], min_quality=0.95) == NotEnough(40, 45)


def test_labels_count_by_the_scarcest_kind() -> None:
    escalated = [label(0.1, weak=0.0, weight=1.0)] * 1_000
    audited = [label(0.9, weight=50.0)] * 3
    assert contract([*escalated, *audited], min_quality=0.95) == NotEnough(23, 45)
    assert contract([], min_quality=0.95) == NotEnough(0, 45)


def test_weights_stand_for_requests() -> None:
    plain = [*[label(0.9)] * 100, *[label(0.2, weak=0.0)] * 100]
    heavy = [*[label(0.9, weight=2.0)] * 50, *[label(0.2, weak=0.0)] * 100]
    one, two = contract(plain, min_quality=0.95), contract(heavy, min_quality=0.95)
    assert isinstance(one, Threshold)
    assert isinstance(two, Threshold)
    assert one.value == two.value == 0.9
    assert one.saving == pytest.approx(two.saving)


def test_ties_are_accepted_together_or_not_at_all() -> None:
    draw = random.Random(3)  # noqa: S311 - repeatable
    labels = [label(round(draw.random(), 1), float(draw.random() < 0.97)) for _ in range(400)]
    for point in curve(labels):
        accepted = [each for each in labels if (each.confidence or 0.0) >= point.threshold]
        assert point.escalation == pytest.approx(1 - len(accepted) / 400)


class Counted:
    """A label that counts how often anything of it is read."""

    reads = 0

    def __init__(self, given: Label) -> None:
        self._given = given

    def __getattr__(self, name: str) -> Any:
        Counted.reads += 1
        return getattr(self._given, name)


def test_a_curve_of_many_labels_takes_no_more_for_each_of_them() -> None:
    reads = []
    for count in (2_000, 20_000):
        Counted.reads = 0
        labels: Any = [Counted(label(1.0 - at / count, float(at % 3 > 0))) for at in range(count)]
        points = curve(labels)
        assert len(points) == count + 1
        reads.append(Counted.reads / count)
    assert reads[1] == pytest.approx(reads[0], rel=0.01)
    assert points[-1].quality == pytest.approx(13_333 / 20_000)
    assert points[10_000].escalation == 0.5


def test_a_curve_begins_with_escalating_everything() -> None:
    points = curve([label(0.9, 1.0), label(0.8, 0.0), label(0.8, 1.0), label(None, 0.0)])
    assert [point.threshold for point in points] == [math.inf, 0.9, 0.8]
    assert [point.quality for point in points] == [1.0, 1.0, 0.75]
    assert [point.saving for point in points] == pytest.approx([-0.06, 0.19, 0.69])
    assert curve([]) == []
    assert curve([label(strong_nano=0)])[-1].saving == 0.0


@pytest.mark.parametrize(("min_quality", "risk"), [(0.0, 0.1), (0.95, 0.0), (0.95, 1.0), (-1.0, 0.1), (math.nan, 0.1)])
def test_shares_must_be_shares(min_quality: float, risk: float) -> None:
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        contract([label()], min_quality=min_quality, risk=risk)


def test_nothing_proves_that_no_answer_is_worse() -> None:
    with pytest.raises(ValueError, match="no number of labels"):
        needed(1.0, 0.1)


def test_a_label_survives_json() -> None:
    made = label(None, features=(1, 2), weight=50.0, source="audit", gold=False)
    assert Label.from_dict(json.loads(json.dumps(made.as_dict()))) == made


@pytest.mark.parametrize(
    "told",
    [
        None,
        [],
        {},
        label().as_dict() | {"weak": 2.0},
        label().as_dict() | {"strong": math.nan},
        label().as_dict() | {"confidence": math.inf},
        label().as_dict() | {"weight": 0},
        label().as_dict() | {"weight": math.inf},
        label().as_dict() | {"weak_nano": -1},
        label().as_dict() | {"strong_nano": math.inf},
        label().as_dict() | {"source": "hearsay"},
        label().as_dict() | {"features": 3},
    ],
)
def test_what_is_no_label_is_passed_over(told: Any) -> None:
    assert Label.from_dict(told) is None


rows = st.tuples(
    st.none() | st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.sampled_from([1.0, 50.0])
)


@given(st.lists(rows, min_size=1, max_size=80), st.floats(0.5, 0.99))
def test_whatever_the_labels_there_is_an_answer(found: list[tuple[Any, float, float, float]], quality: float) -> None:
    labels = [label(merit, weak, strong, weight=weight) for merit, weak, strong, weight in found]
    made = contract(labels, min_quality=quality, risk=0.2)
    if isinstance(made, Threshold):
        assert made.quality_low >= quality or made.value == math.inf
        assert json.dumps(made.as_dict(), allow_nan=False)
    else:
        assert made.have < made.need


def test_many_thresholds_are_tested_in_a_hundred_steps() -> None:
    count = 1_000
    sample = Sample([1 - at / count for at in range(count)], [1.0] * count, [1.0] * count, [1.0] * count)
    accepted, low = passed(sample, list(range(count + 1)), min_quality=0.95, risk=0.1)
    assert accepted == count
    assert low == pytest.approx(1.0, abs=1e-4)
