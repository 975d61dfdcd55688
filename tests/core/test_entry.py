"""The record of one call: identity, what layers did, and clocks that may misbehave."""

import os
import time
from contextvars import Context

import pytest

from llmsaver.core.entry import Attempt, Entry, LayerAct, current_entry, entry_within
from llmsaver.core.options import Options
from llmsaver.core.usage import Usage


def test_ids_are_unique_and_fit_a_header() -> None:
    ids = {Entry("chat", "m").id for _ in range(200)}
    assert len(ids) == 200
    assert all(i.startswith("e") and len(i) <= 40 and i.isalnum() for i in ids)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # from 3.12, where any test left a thread
def test_a_forked_child_gives_other_ids_than_its_parent() -> None:
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writing, Entry("chat", "m").id.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        theirs = pipe.read()
    ours = Entry("chat", "m").id
    assert len(theirs) == len(ours)
    assert theirs[:20] != ours[:20]


def test_an_entry_starts_unfinished() -> None:
    entry = Entry("messages", "m")
    assert entry.complete is None
    assert entry.latency_s is None
    assert (entry.attempts, entry.layers, entry.tags) == ([], [], {})
    assert (entry.feature, entry.tier, entry.estimated) == ("default", "none", False)


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
        "tier": "none",
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
    assert 0.0 <= entry.elapsed() < 60.0


def test_elapsed_is_never_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Entry("chat", "m")
    monkeypatch.setattr(time, "monotonic", lambda: entry.clock - 10)
    assert entry.elapsed() == 0.0
    monkeypatch.setattr(time, "monotonic", lambda: entry.clock + 1.5)
    assert entry.elapsed() == 1.5


def test_the_clock_stays_out_of_the_repr() -> None:
    assert "clock" not in repr(Entry("chat", "m"))


def test_no_entry_is_current_before_the_first_call() -> None:
    assert Context().run(current_entry.get) is None  # in a context in which no test has made one


def test_an_attempt_starts_without_a_result() -> None:
    attempt = Attempt("api.test", None)
    assert (attempt.status, attempt.error) == (None, None)


def test_an_entry_is_in_the_scope_of_its_options_and_in_the_settings_where_they_name_none() -> None:
    plain = entry_within(Options(), "chat", "m", feature="f", tenant="t")
    assert (plain.feature, plain.path, plain.tenant, plain.stream) == ("f", ("f",), "t", False)
    asked = Options(feature="g", path=("a", "g"), tenant="u", user="v", tags={"x": "y"}, task="1", conversation="c")
    made = entry_within(asked, "batch", None, feature="f", tenant="t", stream=True)
    assert (made.feature, made.path, made.tenant, made.user) == ("g", ("a", "g"), "u", "v")
    assert (made.tags, made.task, made.conversation, made.stream) == ({"x": "y"}, "1", "c", True)
