"""What layers did to a call, in tokens and money, and what is not claimed."""

from types import SimpleNamespace
from typing import Any

import pytest

from llmsaver.core.entry import Attempt, Entry
from llmsaver.core.shapes import Shape, shapes_of
from llmsaver.core.usage import Usage
from llmsaver.pricing.values import Cost, Line


def entry(*lines: Line, **more: Any) -> Entry:
    """Return the record of a call whose only attempt was billed in these lines."""
    made = Entry("chat", "m", **more)
    made.attempts.append(Attempt("api.openai.com", "m", 200, cost=Cost(500, 500, 500, lines=lines)))
    made.cost_nano = 500
    return made


INPUT, READ = Line("input", 100, 2_000_000, 200), Line("cache_read", 900, 200_000, 180)


def test_most_calls_have_none() -> None:
    made = entry(INPUT)
    assert shapes_of(made) == {}
    made.act("budget", "reserved", "fits")
    assert shapes_of(made) == {}
    assert "shaped" not in made.as_dict()


@pytest.mark.parametrize(("lines", "saved"), [((INPUT,), 1200), ((INPUT, READ), 120), ((), None)])
def test_text_taken_out_is_worth_the_cheapest_input_of_the_call(lines: tuple[Line, ...], saved: int | None) -> None:
    made = entry(*lines)
    made.act("compress", "shortened", "json", before=4000, after=1600)
    assert shapes_of(made) == {"compress": Shape(1000, 400, saved)}


def test_an_attempt_made_again_counts_once_and_two_ways_to_shorten_add_up() -> None:
    made = entry(INPUT)
    for _ in range(2):
        made.act("compress", "shortened", "json", before=4000, after=1600)
        made.act("compress", "stubbed", "old", before=800, after=0)
    assert shapes_of(made) == {"compress": Shape(1200, 400, 1200 + 400)}


def test_what_is_not_billed_by_tokens_or_has_no_price_saves_no_dollars() -> None:
    for made in (Entry("chat", "m"), entry(INPUT, unpriced=True)):
        made.act("compress", "shortened", "json", before=4000, after=1600)
        assert shapes_of(made)["compress"].saved is None


def test_a_prompt_caches_reads_and_fees_add_up_over_attempts() -> None:
    made = entry(INPUT)
    made.act("prompt cache", "broken", "time in the system prompt, line 3")
    made.act("prompt cache", "marked", "kept 5m")
    assert shapes_of(made)["prompt cache"].saved is None
    made.act("prompt cache", "wrote", "written", saved_nano=-50)
    made.act("prompt cache", "read", "read", saved_nano=700)
    shape = Shape(None, None, 650, "time in the system prompt, line 3")
    assert shapes_of(made) == {"prompt cache": shape}
    assert shape.told() == [None, None, 650, "time in the system prompt, line 3"]
    assert made.as_dict()["shaped"] == [
        {"name": "prompt cache", "saved_usd": "0.00000065", "broken": "time in the system prompt, line 3"}
    ]


def test_marks_of_which_nothing_was_read_or_written_save_nothing() -> None:
    made = entry(INPUT, usage=Usage(10, 2))
    made.act("prompt cache", "marked", "kept 5m")
    assert shapes_of(made) == {"prompt cache": Shape(saved=0)}
    assert shapes_of(made)["prompt cache"].told() == [None, None, 0]


@pytest.mark.parametrize(("kind", "name"), [("exact", "exact cache"), ("semantic", "semantic cache"), ("own", "own")])
def test_a_hit_saves_what_the_call_would_have_cost(kind: str, name: str) -> None:
    made = Entry("chat", "m", hit_kind=kind, cost_nano=0, baseline_nano=900)
    assert shapes_of(made) == {name: Shape(saved=900)}
    made.baseline_nano = None
    assert shapes_of(made) == {name: Shape()}


def test_vectors_that_were_stored_in_part() -> None:
    made = entry(INPUT, baseline_nano=800)
    made.act("exact cache", "part hit", "1 of 2")
    assert shapes_of(made) == {"exact cache": Shape(saved=300)}


def test_a_router_saves_what_the_tier_it_replaces_would_have_cost_or_costs() -> None:
    made = entry(INPUT, routing={"tier": "small"}, baseline_nano=400)
    assert shapes_of(made) == {}
    made.written_cost = SimpleNamespace()
    assert shapes_of(made) == {"cascade": Shape(saved=-100)}


def test_what_asks_for_less_claims_no_dollars_but_a_second_try_costs() -> None:
    made = entry(INPUT)
    made.act("concise", "asked", "brief", added=100)
    made.act("effort", "set", "effort low")
    made.act("output cap", "limited", "max_tokens=2000", limit=2000)
    made.act("continuation", "continued", "once")
    assert set(shapes_of(made)) == {"concise", "effort", "output cap", "continuation"}
    assert set(shapes_of(made).values()) == {Shape()}
    made.act("effort", "retried", "invalid", saved_nano=-500)
    assert shapes_of(made)["effort"] == Shape(saved=-500)


def test_it_is_shown_in_tokens_and_dollars() -> None:
    made = entry(INPUT)
    made.act("compress", "shortened", "json", before=4000, after=1600)
    (shown,) = made.as_dict()["shaped"]
    assert shown == {
        "name": "compress",
        "tokens_before": 1000,
        "tokens_after": 400,
        "tokens_estimated": True,
        "saved_usd": "0.0000012",
    }
