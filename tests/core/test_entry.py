"""The record of one call: identity, what layers did, and clocks that may misbehave."""

import time

import pytest

from llmsaver.core.entry import Attempt, Entry, LayerAct, current_entry
from llmsaver.core.usage import Usage


def test_ids_are_unique_and_fit_a_header() -> None:
    ids = {Entry("chat", "m").id for _ in range(200)}
    assert len(ids) == 200
    assert all(i.startswith("e") and len(i) == 25 and i.isalnum() for i in ids)


def test_an_entry_starts_unfinished() -> None:
    entry = Entry("messages", "m")
    assert entry.complete is None
    assert entry.latency_s is None
    assert (entry.attempts, entry.layers, entry.tags) == ([], [], {})
    assert (entry.feature, entry.tier, entry.estimated) == ("default", "api", False)


def test_acts_are_kept_in_order() -> None:
    entry = Entry("chat", "m")
    entry.act("cache", "miss")
    entry.act("router", "changed", "model")
    assert entry.layers == [LayerAct("cache", "miss", ""), LayerAct("router", "changed", "model")]
    assert entry.layers[1].as_dict() == {"name": "router", "action": "changed", "why": "model"}


def test_two_entries_share_no_lists() -> None:
    first, second = Entry("chat", "m"), Entry("chat", "m")
    first.act("a", "b")
    first.attempts.append(Attempt("host", "m"))
    assert second.layers == []
    assert second.attempts == []


def test_as_dict_is_exactly_what_an_answer_shows() -> None:
    entry = Entry("chat", "asked", feature="f", usage=Usage(1, 1))
    entry.act("cache", "hit", "same question")
    assert entry.as_dict() == {
        "entry": entry.id,
        "feature": "f",
        "model": "asked",
        "tier": "api",
        "upstream": None,
        "cost_usd": None,
        "baseline_usd": None,
        "saved_usd": None,
        "estimated": False,
        "layers": [{"name": "cache", "action": "hit", "why": "same question"}],
    }
    entry.model = "answered"
    assert entry.as_dict()["model"] == "answered"


def test_elapsed_ignores_a_wall_clock_that_jumps(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Entry("chat", "m")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert 0.0 <= entry.elapsed() < 5.0


def test_elapsed_is_never_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Entry("chat", "m")
    monkeypatch.setattr(time, "monotonic", lambda: entry.clock - 10)
    assert entry.elapsed() == 0.0
    monkeypatch.setattr(time, "monotonic", lambda: entry.clock + 1.5)
    assert entry.elapsed() == 1.5


def test_the_clock_stays_out_of_the_repr() -> None:
    assert "clock" not in repr(Entry("chat", "m"))


def test_no_entry_is_current_before_the_first_call() -> None:
    assert current_entry.get() is None


def test_an_attempt_starts_without_a_result() -> None:
    attempt = Attempt("api.test", None)
    assert (attempt.status, attempt.error) == (None, None)
