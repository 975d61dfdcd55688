"""What thresholds would have done: on rows where that can be done in the head, and on many."""

import json
import math
import random
from collections.abc import Sequence

import pytest
from rich.console import Console

from llmsaver.reporting.router_outcomes import Outcomes
from llmsaver.reporting.router_simulation import simulate
from llmsaver.reporting.router_tables import simulations_as_text
from llmsaver.router.calibration import Label, NotEnough, Threshold


def label(confidence: float | None, weak: float, strong: float = 1.0, signal: str = "logprobs") -> Label:
    return Label("faq", confidence, signal, weak, strong, 100, 1_000, "file", gold=True)


def of(labels: Sequence[Label]) -> Outcomes:
    return Outcomes("faq", "small", "big", tuple(labels))


def many(count: int, seed: int = 1) -> list[Label]:
    """Return labels whose confidence is the probability to be right."""
    dice = random.Random(seed)  # noqa: S311 - made-up labels are no secret
    sure = [1 - dice.random() ** 3 for _ in range(count)]
    return [label(each, float(dice.random() < each)) for each in sure]


def test_few_rows_show_the_curve_and_that_there_is_too_little() -> None:
    rows = [label(0.9, 1.0, signal="own"), label(0.5, 0.0, signal="own"), label(None, 0.0, signal="own")]
    found = simulate(of(rows), min_quality=0.95, risk=0.1)
    assert found.held is None
    assert isinstance(found.promise.found, NotEnough)
    plain = [step for step in found.steps if not step.name]
    assert [(step.threshold, step.cost_nano, step.saved_nano) for step in plain] == [
        (math.inf, 3_300, -300),
        (0.9, 2_300, 700),
        (0.5, 1_300, 1_700),
    ]
    assert [round(step.quality, 3) for step in plain] == [1.0, 1.0, 0.667]
    told = found.as_dict()
    assert told["contract"]["verdict"].startswith("not enough evidence: 3 of about 45")
    assert told["steps"][0]["threshold"] is None
    assert told["held_out"] is None
    json.dumps(told, allow_nan=False)


def test_a_contract_is_kept_on_rows_it_has_not_seen() -> None:
    found = simulate(of(many(600)), min_quality=0.9, risk=0.1, splits=10)
    assert isinstance(found.promise.found, Threshold)
    assert found.held is not None
    assert found.held.missed <= 3
    assert 0.3 < found.held.saving < 0.9
    (step,) = (step for step in found.steps if step.name == "contract")
    assert step.quality >= 0.9
    assert len([step for step in found.steps if step.threshold == step.threshold]) == len(found.steps)
    told = found.as_dict()["held_out"]
    assert told["splits"] == 10
    console = Console(width=80, highlight=False, record=True, quiet=True)
    simulations_as_text([found, found], console)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_how_it_looks(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    simulations_as_text(
        [simulate(of(many(200)), min_quality=0.9, risk=0.1, splits=2)], Console(width=width, highlight=False)
    )
    said = capsys.readouterr().out
    assert "faq: 200 rows" in said
    assert "contract: small: 200 labels (200 gold, 0 by agreement)" in said
    assert "scored on the other" in said.replace("\n", " ")
    assert all(len(line) <= width for line in said.splitlines())


def test_halves_too_small_for_evidence_save_nothing() -> None:
    found = simulate(of(many(60)), min_quality=0.95, risk=0.1, splits=3)
    assert found.held is not None
    assert (found.held.short, found.held.saving, found.held.missed) == (3, 0.0, 0)


def test_a_cheap_tier_that_is_never_right_is_never_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    found = simulate(of([label(0.5, 0.0)] * 200), min_quality=0.95, risk=0.1, splits=2)
    assert found.promise.as_dict()["verdict"] == "no threshold keeps it: the last tier serves"
    assert found.held is not None
    assert (found.held.missed, found.held.saving) == (0, 0.0)
    simulations_as_text([found], Console(width=100))
    assert "no threshold keeps it, so the last tier serves" in capsys.readouterr().out


def test_without_costs_shares_are_of_calls() -> None:
    free = [Label("faq", 0.9, "logprobs", 1.0, 1.0, 0, 0, "file", gold=True)] * 200
    found = simulate(of(free), min_quality=0.95, risk=0.1, splits=1)
    assert found.held is not None
    assert found.held.saving == 1.0
    assert found.strong_nano == 0
