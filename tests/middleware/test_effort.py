"""Less thinking where it does: what is set, what is judged, and what is asked once more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.core.entry import Entry
from llmsaver.core.request import Request
from llmsaver.core.response import Response
from llmsaver.core.runtime import SyncRuntime, drive
from llmsaver.errors import ConfigurationError
from llmsaver.middleware.effort import Effort
from llmsaver.testing import Answer, FakeProvider, Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver.router.views import Answer as Judged
    from llmsaver.router.views import Asked
    from llmsaver.testing import Received

MODELS = {"chat": "gpt-5-mini", "responses": "gpt-5-mini", "messages": "claude-opus-4-5"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
FORMS: dict[str, Any] = {
    "chat": {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
    "responses": {"text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}},
    "messages": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
}


def effort_in(body: Any) -> Any:
    for holder in ("reasoning", "output_config"):
        if (body.get(holder) or {}).get("effort"):
            return body[holder]["effort"]
    return body.get("reasoning_effort")


def with_model(way: Any, **more: Any) -> dict[str, Any]:
    return {**way.arguments(most=500), "model": MODELS[way.dialect], **more}


def test_the_effort_is_set(shop: Any, way: Any) -> None:
    saver = shop.saver(stack=[Effort("low", verbosity="low")])
    entry = shop.ask(way, saver, create=with_model(way))
    sent = shop.fake.requests[-1].json
    assert effort_in(sent) == "low"
    said = sent.get("verbosity") or (sent.get("text") or {}).get("verbosity")
    assert said == (None if way.dialect == "messages" else "low")
    (act,) = entry.layers
    assert (act.name, act.action) == ("effort", "set")


def by_effort(request: Received) -> Answer:
    return Answer("no json at all") if effort_in(request.json) == "low" else Answer('{"a": "b"}')


def test_what_fails_at_low_effort_is_asked_for_at_the_callers_own(shop: Any, way: Any) -> None:
    shop.fake = FakeProvider(by_effort)
    saver = shop.saver(stack=[Effort("low", retry="json_schema")])
    entry = shop.ask(way, saver, create=with_model(way, **FORMS[way.dialect]))
    low, own = shop.fake.requests
    assert (effort_in(low.json), effort_in(own.json)) == ("low", None)
    assert [act.action for act in entry.layers] == ["set", "retried"]
    assert len(entry.attempts) == 2
    assert entry.cost_nano == sum(attempt.cost.nano_usd for attempt in entry.attempts)
    assert entry.layers[-1].figures == {"saved_nano": -entry.attempts[0].cost.nano_usd}
    assert all(attempt.cost.nano_usd > 0 for attempt in entry.attempts)
    assert entry.usage is not None
    assert entry.usage.output_tokens == shop.fake.billed[-1].output_tokens


def test_what_passes_at_low_effort_is_the_answer(shop: Any, way: Any) -> None:
    shop.fake = FakeProvider('{"a": "b"}')
    saver = shop.saver(stack=[Effort("low", retry="json_schema")])
    shop.ask(way, saver, create=with_model(way, **FORMS[way.dialect]))
    shop.ask(way, saver, create=with_model(way))  # no JSON is asked for, and there is nothing to judge
    assert shop.fake.calls == 2


def test_a_validator_of_the_callers(shop: Any, way: Any) -> None:
    judged: list[str] = []

    def polite(asked: Asked, answer: Judged) -> str | None:
        judged.append(asked.text)
        return None if "please" in answer.text else "it is impolite"

    saver = shop.saver(stack=[Effort("low", retry=polite)])
    shop.fake.script([Answer("no"), Answer("please"), Answer("yes please")])
    entry = shop.ask(way, saver, create=with_model(way))
    assert entry.layers[-1].why == "at the caller's level: it is impolite"
    shop.ask(way, saver, create=with_model(way))
    assert shop.fake.calls == 3
    assert judged == ["hi", "hi"]


def test_an_answer_that_failed_is_not_judged(shop: Any, way_of: Callable[..., Any]) -> None:
    way = way_of("chat", stream=True)
    saver = shop.saver(stack=[Effort("low", retry=lambda *_: "never good")])
    shop.fake.script([Fault(500)])
    with pytest.raises(Exception, match=r"500|error"):
        shop.ask(way, saver, create=with_model(way))
    assert shop.fake.calls == 1


OWN: list[tuple[str, dict[str, Any]]] = [
    ("chat", {"model": "gpt-5", "reasoning_effort": "high"}),
    ("chat", {"model": "gpt-4o"}),
    ("chat", {"model": "gpt-5-chat-latest"}),
    ("chat", {"model": "gpt-5-pro"}),
    ("chat", {"model": "o1-mini"}),
    ("chat", {"model": "auto"}),
    ("chat", {"model": "local/gpt-oss"}),
    ("chat", {}),
    ("responses", {"model": "gpt-5", "reasoning": {"effort": "medium"}}),
    ("responses", {"model": "gpt-5", "reasoning": "nonsense"}),
    ("messages", {"model": "claude-haiku-4-5"}),
    ("messages", {"model": "claude-sonnet-4-5"}),
    ("messages", {"model": "claude-opus-4-1"}),
    ("messages", {"model": "claude-opus-4-20250514"}),
    ("messages", {"model": "claude-3-5-sonnet-20241022"}),
    ("messages", {"model": "claude-opus-4-6", "output_config": {"effort": "max"}}),
    ("messages", {"model": "claude-opus-4-6", "thinking": {"type": "enabled", "budget_tokens": 2000}}),
    ("embeddings", {"model": "gpt-5"}),
]


def sent(layer: Effort, dialect: str, body: dict[str, Any], *answers: Response, path: tuple[str, ...] = ("f",)) -> Any:
    seen: list[Any] = []
    ready = list(answers)

    async def below(request: Request) -> Response:
        seen.append(request.body)
        return ready.pop(0) if ready else Response(200, content=b"{}")

    entry = Entry(dialect, "m", feature=path[-1], path=path)
    drive(layer(Request(dialect, body, "https://x.test", entry, SyncRuntime()), below))
    return seen


@pytest.mark.parametrize(("dialect", "body"), OWN)
def test_what_the_caller_chose_and_what_models_do_not_know_stays(dialect: str, body: dict[str, Any]) -> None:
    assert sent(Effort("low"), dialect, body) == [body]


@pytest.mark.parametrize(
    ("dialect", "model", "effort", "known"),
    [
        ("chat", "gpt-5-mini", "minimal", True),
        ("chat", "gpt-5.1", "minimal", False),
        ("chat", "gpt-5.1", "none", True),
        ("chat", "gpt-5", "none", False),
        ("chat", "gpt-5.2", "xhigh", True),
        ("chat", "gpt-5.1", "xhigh", False),
        ("chat", "gpt-6-mini", "low", True),
        ("chat", "gpt-5.1-codex", "low", True),
        ("chat", "gpt-5.1-codex", "none", False),
        ("chat", "o4-mini", "low", True),
        ("responses", "o3", "minimal", False),
        ("messages", "claude-opus-4-5-20251101", "low", True),
        ("messages", "claude-opus-4-5", "max", False),
        ("messages", "claude-sonnet-4-6", "max", True),
        ("messages", "claude-opus-4-7", "xhigh", True),
        ("messages", "claude-sonnet-5", "low", True),
        ("messages", "claude-fable-5-1", "low", True),
    ],
)
def test_what_models_know(dialect: str, model: str, effort: str, known: bool) -> None:
    (body,) = sent(Effort(effort), dialect, {"model": model})
    assert effort_in(body) == (effort if known else None)


def test_verbosity_alone_and_beside_the_callers_own() -> None:
    layer = Effort("low", verbosity="low")
    body = {"model": "gpt-5", "reasoning": {"effort": "high"}, "text": {"format": {"type": "text"}}}
    (found,) = sent(layer, "responses", body)
    assert found == {**body, "text": {"format": {"type": "text"}, "verbosity": "low"}}
    own = {"model": "gpt-5", "reasoning_effort": "high", "verbosity": "high"}
    assert sent(layer, "chat", own) == [own]


def test_features() -> None:
    body = {"model": "gpt-5"}
    assert sent(Effort("low", features=["faq"]), "chat", body, path=("x",)) == [body]
    (found,) = sent(Effort(features={"faq": "minimal"}), "chat", body, path=("faq",))
    assert found["reasoning_effort"] == "minimal"


def test_who_refuses_it_gets_the_request_as_it_was() -> None:
    refusal = Response(400, content=json.dumps({"error": "Unsupported: reasoning_effort"}).encode())
    body = {"model": "gpt-5"}
    assert sent(Effort("low"), "chat", body, refusal) == [{**body, "reasoning_effort": "low"}, body]
    other = Response(400, content=b'{"error": "no"}')
    assert len(sent(Effort("low", retry="json_schema"), "chat", body, other)) == 1


def test_an_answer_cut_short_is_not_judged() -> None:
    from llmsaver.wire import DIALECTS

    broken = Response(200, content=b"{", meter=DIALECTS["chat"].meter(streamed=False))
    assert len(sent(Effort("low", retry=lambda *_: "bad"), "chat", {"model": "gpt-5"}, broken)) == 1


def test_a_failure_in_here_costs_nobody_the_call(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("llmsaver.middleware.effort.with_effort", lambda *_: 1 / 0)
    layer, body = Effort("low"), {"model": "gpt-5"}
    assert sent(layer, "chat", body) == sent(layer, "chat", body) == [body]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("wrong", [{"effort": "lowest"}, {"verbosity": "x"}, {"retry": "x"}, {"retry": 7}])
def test_wrong_arguments(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="Effort"):
        Effort(**wrong)
    assert "low" in Effort("low").policy
