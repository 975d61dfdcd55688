"""Ordinary calls side by side: local models and the flex tier."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver import LocalModelError, budget
from llmsaver.batch import BatchTooDear
from llmsaver.batch.direct import Direct
from llmsaver.testing import Answer, Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver.testing import Received


def echo(received: Received) -> Answer:
    return Answer(f"re {received.json['messages'][0]['content']}", extra={"service_tier": "flex"})


def texts(done: Any) -> list[str]:
    return [line["response"]["body"]["choices"][0]["message"]["content"] for line in done.answers()]


def test_flex_goes_by_ordinary_calls_no_more_at_once_than_allowed(bench: Callable[..., Any]) -> None:
    under_way, most, lock, met = 0, 0, threading.Lock(), threading.Event()

    def answer(received: Received) -> Answer:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
            if under_way > 1:
                met.set()
        assert met.wait(60), "they come one by one"
        with lock:
            under_way -= 1
        return echo(received)

    b = bench(answer)
    done = b.run(b.bodies(20, "flex"), via="flex", concurrency=3)
    assert done.ok
    assert texts(done) == [f"re q{n}" for n in range(20)]
    assert 1 < most <= 3
    assert {each.json["service_tier"] for each in b.fake.requests} == {"flex"}
    assert 0 < done.spent_nano == b.booked()


def test_a_busy_provider_is_waited_for_and_failures_are_listed(bench: Callable[..., Any]) -> None:
    b = bench(echo)
    b.fake.script([Fault(429, retry_after=0.001), Fault(503), "first"])
    done = b.run(b.bodies(1, "flex"), via="flex", concurrency=1)
    assert texts(done) == ["first"]
    b.fake.script([Fault(400, message="no"), *[Fault(503)] * 3, Fault(drop="connect")])
    done = b.run(b.bodies(3, "flex"), via="flex", concurrency=1, pace=b.pace(attempts=3))
    assert [each.number for each in done.failures] == [1, 2]
    lines = list(done.answers())
    assert lines[0]["response"]["status_code"] == 400
    assert lines[1]["response"]["status_code"] == 503
    done = b.run(b.bodies(3, "flex"), via="flex", concurrency=1)
    assert [each.number for each in done.failures] == [1]
    b.fake.script([Fault(drop="connect")])
    done = b.run(
        [{"model": "gpt-5", "messages": [{"role": "user", "content": "x"}]}], via="flex", pace=b.pace(attempts=1)
    )
    assert next(done.answers())["error"]["code"] == "APIConnectionError"


def test_what_was_answered_before_a_kill_is_kept(bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    b = bench(echo)
    real, times = Direct._checkpoint, 0

    def dying(self: Direct) -> None:
        nonlocal times
        times += 1
        if times == 5:
            raise KeyboardInterrupt
        real(self)

    monkeypatch.setattr(Direct, "_checkpoint", dying)
    with pytest.raises(KeyboardInterrupt):
        b.run(b.bodies(20, "flex"), via="flex", concurrency=2)
    monkeypatch.undo()
    monkeypatch.setattr("llmsaver.batch.direct._SYNC_SECONDS", 0.0)
    before = b.fake.calls
    assert 5 <= before < 20
    assert b.run(b.bodies(20, "flex"), via="flex").ok
    assert b.fake.calls == 20


def test_limits_of_money(bench: Callable[..., Any]) -> None:
    b = bench(echo)
    with pytest.raises(BatchTooDear):
        b.run(b.bodies(5, "flex"), via="flex", max_usd="0.0001")
    done = b.run(b.bodies(20, "flex"), via="flex", max_usd="0.00008", partly=True, concurrency=4)
    assert done.state == "stopped"
    assert 0 < done.answered < 20
    assert done.spent_nano <= 80_000
    with budget("tiny", usd="0.00001", hard=True):
        done = b.run(b.bodies(20, "flex"), via="flex")
    assert done.state == "stopped"
    assert "tiny" in done.why


def test_local_models_answer_through_their_own_server(
    bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    b = bench()
    asked: list[tuple[str, str]] = []

    def post(_self: Any, path: str, *, body: Any, cast_to: Any, options: Any) -> Any:
        del cast_to
        asked.append((path, body["model"]))
        assert options == {"max_retries": 0}
        return {"id": "x", "said": body["model"], "llmsaver": {}}

    monkeypatch.setattr("llmsaver.clients.openai.OpenAI.post", post)
    monkeypatch.setattr("llmsaver.clients.anthropic.Anthropic.post", post)
    messages = {"custom_id": "m", "params": {"model": "local/mine", "max_tokens": 5, "messages": []}}
    done = b.run([*b.bodies(1, "local"), messages], concurrency=1)
    assert (done.via, done.ok) == ("local", True)
    assert asked == [("/chat/completions", "local/mine"), ("/v1/messages", "local/mine")]
    assert [line["response"]["body"] for line in done.answers()] == [{"id": "x", "said": "local/mine"}] * 2


def test_a_local_model_that_cannot_run_ends_the_run(bench: Callable[..., Any]) -> None:
    b = bench()
    with pytest.raises(LocalModelError):
        b.run([{"model": "local/no-such-model", "messages": []}])
