"""A backstop where the caller gave none: when it is set, how wide, and what it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.core.entry import Entry
from llmsaver.core.request import Request
from llmsaver.core.response import Response
from llmsaver.core.runtime import SyncRuntime, drive
from llmsaver.errors import ConfigurationError
from llmsaver.middleware.output_cap import OutputCap
from llmsaver.testing import Answer, FakeProvider, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llmsaver.testing import Received

NAMES = {"chat": "max_completion_tokens", "responses": "max_output_tokens", "messages": "max_tokens"}


def words(number: int) -> str:
    return " ".join(["word"] * number)


def small(**more: Any) -> OutputCap:
    return OutputCap(**{"minimum_samples": 3, "floor": 8, **more})


def learn(shop: Any, way: Any, saver: Any, lengths: list[int]) -> None:
    shop.fake.script([Answer(words(length)) for length in lengths])
    for _ in lengths:
        shop.ask(way, saver, create=way.arguments(most=300 if way.dialect == "messages" else None))


def test_a_limit_is_set_once_lengths_are_known(shop: Any, way: Any) -> None:
    layer = small()
    saver = shop.saver(stack=[layer])
    learn(shop, way, saver, [10, 12, 20])
    assert all(NAMES[way.dialect] not in sent.json for sent in shop.fake.requests if way.dialect != "messages")
    shop.fake.script([Answer("short")])
    entry = shop.ask(way, saver, create=way.arguments(most=300 if way.dialect == "messages" else None))
    sent = shop.fake.requests[-1].json
    if way.dialect == "messages":
        assert sent["max_tokens"] == 300
        assert entry.layers == []
        return
    assert 40 <= sent[NAMES[way.dialect]] <= 44
    (act,) = entry.layers
    assert (act.name, act.action) == ("output cap", "limited")
    assert act.figures == {"limit": sent[NAMES[way.dialect]]}


def test_answers_that_run_into_the_limit_are_counted_and_the_limit_widened(
    shop: Any, way_of: Callable[..., Any]
) -> None:
    way, layer = way_of("chat"), small()
    saver = shop.saver(stack=[layer])
    learn(shop, way, saver, [10, 10, 10])
    shop.fake.answer = words(1_000)
    entry = shop.ask(way, saver, create=way.arguments(most=None))
    first = shop.fake.requests[-1].json["max_completion_tokens"]
    assert [act.action for act in entry.layers] == ["limited", "truncated"]
    assert layer.truncated == 1
    shop.ask(way, saver, create=way.arguments(most=None))
    assert shop.fake.requests[-1].json["max_completion_tokens"] >= 2 * first
    for _ in range(15):
        shop.ask(way, saver, create=way.arguments(most=None))
    assert layer.truncated < 8


def test_features_models_and_efforts_are_learned_apart(shop: Any, way_of: Callable[..., Any]) -> None:
    import llmsaver

    way, layer = way_of("chat"), small()
    saver = shop.saver(stack=[layer])
    learn(shop, way, saver, [10, 10, 10])
    plain = way.arguments(most=None)
    with llmsaver.feature("other"):
        shop.ask(way, saver, create=plain)
    shop.ask(way, saver, create={**plain, "model": "gpt-4o-mini"})
    shop.ask(way, saver, create={**plain, "reasoning_effort": "high"})
    assert all("max_completion_tokens" not in sent.json for sent in shop.fake.requests)
    shop.ask(way, saver, create=plain)
    assert "max_completion_tokens" in shop.fake.requests[-1].json


def test_history_is_read_from_the_ledger(shop: Any, way_of: Callable[..., Any]) -> None:
    way = way_of("chat")
    learn(shop, way, shop.saver(), [10, 10, 10, 10])
    shop.rows()
    saver = shop.saver(stack=[small()])
    shop.ask(way, saver, create=way.arguments(most=None))
    saver.background.drain(60)
    shop.ask(way, saver, create=way.arguments(most=None))
    assert shop.fake.requests[-1].json["max_completion_tokens"] >= 20


def test_a_ledger_that_cannot_be_read_is_no_history(shop: Any, way_of: Callable[..., Any]) -> None:
    class Broken:
        def open(self) -> Any:
            raise OSError("gone")

    way, layer = way_of("chat"), small()
    saver = shop.saver(stack=[layer])
    layer.use_books(None, Broken())  # type: ignore[arg-type]  # as broken as a file can be
    shop.ask(way, saver)
    saver.background.drain(60)
    assert shop.fake.calls == 1


class Below:
    """Answers, and keeps what it was asked."""

    def __init__(self, *statuses: int, said: bytes = b"{}") -> None:
        self.statuses = list(statuses)
        self.said = said
        self.bodies: list[Mapping[str, Any]] = []

    async def __call__(self, request: Request) -> Response:
        self.bodies.append(request.body)
        return Response(self.statuses.pop(0) if self.statuses else 200, content=self.said)


def ask(
    layer: OutputCap, below: Below, dialect: str = "chat", url: str = "https://api.openai.com/v1", **body: Any
) -> Entry:
    body = {"model": "gpt-4o-mini", "messages": [], **body}
    entry = Entry(dialect, body["model"], feature="f")
    drive(layer(Request(dialect, body, url, entry, SyncRuntime()), below))
    return entry


def known(model: str = "gpt-4o-mini", tokens: int = 100, **more: Any) -> OutputCap:
    layer = small(**more)
    for _ in range(5):
        layer.lengths.note(("f", model, ""), tokens)
    return layer


TOOL = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [TOOL]},
        {"functions": [{"name": "f"}]},
        {"response_format": {"type": "json_schema", "json_schema": {}}},
        {"response_format": {"type": "json_object"}},
        {"max_tokens": 5},
        {"max_completion_tokens": 5},
        {"max_tokens": "nonsense"},
    ],
)
def test_what_is_left_alone(body: dict[str, Any]) -> None:
    below = Below()
    entry = ask(known(), below, **body)
    assert below.bodies == [{"model": "gpt-4o-mini", "messages": [], **body}]
    assert entry.layers == []


@pytest.mark.parametrize(
    ("dialect", "url", "model", "name"),
    [
        ("chat", "https://api.openai.com/v1", "gpt-4o-mini", "max_completion_tokens"),
        ("chat", "https://eu.api.openai.com/v1", "gpt-4o-mini", "max_completion_tokens"),
        ("chat", "https://api.openai.com/v1", "local/small", "max_tokens"),
        ("chat", "https://gateway.test/v1", "gpt-4o-mini", "max_tokens"),
        ("chat", "https://gateway.test/v1", "openai/gpt-5-mini", "max_completion_tokens"),
        ("chat", "https://gateway.test/v1", "o3", "max_completion_tokens"),
        ("responses", "https://gateway.test/v1", "gpt-5", "max_output_tokens"),
        ("messages", "https://api.anthropic.com/v1", "claude-haiku-4-5", None),
        ("embeddings", "https://api.openai.com/v1", "text-embedding-3-small", None),
    ],
)
def test_the_right_parameter(dialect: str, url: str, model: str, name: str | None) -> None:
    below = Below()
    ask(known(model), below, dialect, url, model=model)
    added = set(below.bodies[0]) - {"model", "messages"}
    assert added == ({name} if name else set())


def test_a_limit_no_smaller_than_the_models_own_is_none() -> None:
    below = Below()
    ask(known(tokens=10_000), below)
    assert "max_completion_tokens" not in below.bodies[0]


def test_who_refuses_the_limit_gets_the_request_as_it_was() -> None:
    layer = known()
    below = Below(400, 200, 200, said=b'{"error": "Unknown parameter: max_completion_tokens"}')
    entry = ask(layer, below)
    assert ["max_completion_tokens" in body for body in below.bodies] == [True, False]
    assert [act.action for act in entry.layers] == ["limited", "refused"]
    ask(layer, below)
    assert "max_completion_tokens" not in below.bodies[-1]
    other = Below(400, said=b'{"error": "no such model"}')
    ask(known(), other)
    assert len(other.bodies) == 1


def test_a_failure_in_here_costs_nobody_the_call(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    layer = known()
    monkeypatch.setattr(layer.lengths, "quantile", lambda *_: 1 / 0)
    for _ in range(2):
        below = Below()
        ask(layer, below)
        assert len(below.bodies) == 1
    assert [record.levelname for record in caplog.records if "no limit is set" in record.message] == ["WARNING"]


def test_several_choices_failures_and_streams_that_end_early_teach_nothing(
    shop: Any, way_of: Callable[..., Any]
) -> None:
    way, layer = way_of("chat"), small()
    saver = shop.saver(stack=[layer])
    shop.ask(way, saver, create=way.arguments(n=2))
    shop.fake.script([Fault(400), Answer("x", usage="missing")])
    with pytest.raises(Exception, match="400"):
        shop.ask(way, saver)
    shop.ask(way, saver)
    assert layer.lengths.quantile(("default", "gpt-5-mini", ""), 0.5, 1) is None


def test_what_the_callers_limit_cut_off_would_have_been_longer(shop: Any, way_of: Callable[..., Any]) -> None:
    way, layer = way_of("chat"), small()
    saver = shop.saver(stack=[layer])
    shop.fake = FakeProvider(words(200))
    shop.ask(way, saver, create=way.arguments(most=50))
    found = layer.lengths.quantile(("default", "gpt-5-mini", ""), 0.5, 1)
    assert found is not None
    assert 100 <= found[0] <= 104


def test_many_features_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmsaver.middleware.output_cap._MOST_WIDTHS", 2)
    layer = small()
    for feature in "abcd":
        entry = Entry("chat", "m", feature=feature)
        request = Request("chat", {"model": "m", "messages": []}, "https://x.test", entry, SyncRuntime())
        for _ in range(3):
            layer.lengths.note((feature, "m", ""), 4)
        usage = {"prompt_tokens": 1, "completion_tokens": 10}
        drive(layer(request, answering(usage)))
    assert layer.truncated == 4
    assert len(layer._widths) == 2


def answering(usage: dict[str, int]) -> Callable[[Request], Any]:
    from llmsaver.wire import DIALECTS

    async def below(_: Request) -> Response:
        import json

        content = json.dumps({"choices": [], "usage": usage}).encode()
        return Response(200, content=content, meter=DIALECTS["chat"].meter(streamed=False))

    return below


def test_a_full_queue_leaves_the_history_for_the_next_call() -> None:
    class Full(SyncRuntime):
        def detach(self, fn: Callable[[], object]) -> bool:
            del fn
            return False

    layer = small()
    ledger: Any = object()
    layer.use_books(None, ledger)
    request = Request("chat", {"model": "m", "messages": []}, "https://x.test", Entry("chat", "m"), Full())
    drive(layer(request, Below()))
    assert layer._ledger is ledger


@pytest.mark.parametrize(
    "wrong", [{"quantile": 0.4}, {"quantile": 1.1}, {"times": 0.9}, {"floor": 0}, {"minimum_samples": 0}]
)
def test_wrong_arguments(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        OutputCap(**wrong)
    assert OutputCap().policy == "0.995 2.0 1024 False"


def test_rare_run_aways_do_not_widen_the_limit() -> None:
    layer = small(quantile=0.9)
    key = ("f", "gpt-4o-mini", "")
    for number in range(1, 1_001):
        layer._counted(key, cut=number % 50 == 49)
    assert layer._widths[key].times == 1
    assert layer.truncated == 20
    for _ in range(200):
        layer._counted(key, cut=True)
    assert layer._widths[key].times > 8


def test_an_answer_cut_off_by_the_limit_is_gone_on_with_where_that_was_asked_for(shop: Any, way: Any) -> None:
    layer = small(continue_truncated=True)
    saver = shop.saver(stack=[layer])
    for _ in range(3):
        layer.lengths.note(("default", way.arguments()["model"], ""), 4)
    text = "one two three four five six seven eight nine ten eleven twelve"

    def going_on(request: Received) -> Answer:
        turns: Any = request.json.get("messages") or request.json["input"]
        said = [turn["content"] for turn in turns if isinstance(turn, dict) and turn["role"] == "assistant"]
        return Answer(text[len(said[-1]) - 9 :] if said and turns[-1]["role"] == "user" else text)

    shop.fake = FakeProvider(going_on)
    entry = shop.ask(way, saver, create=way.arguments(most=300 if way.dialect == "messages" else None))
    assert entry.complete
    if way.dialect == "messages":
        assert shop.fake.calls == 1
        return
    assert shop.fake.calls == 2
    assert [act.action for act in entry.layers if act.name == "continuation"][-1] == "continued"
    assert entry.usage is not None
    assert entry.usage.output_tokens == sum(bill.output_tokens for bill in shop.fake.billed)
