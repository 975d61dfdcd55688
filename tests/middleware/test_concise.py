"""Shorter answers by asking: where the words go, for whom, and where never."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import llmsaver
from llmsaver.core.entry import Entry
from llmsaver.core.request import Request
from llmsaver.core.response import Response
from llmsaver.core.runtime import SyncRuntime, drive
from llmsaver.errors import ConfigurationError
from llmsaver.middleware.concise import LEVELS, Concise

if TYPE_CHECKING:
    from collections.abc import Mapping

BRIEF = LEVELS["brief"]


def system_of(dialect: str, body: Mapping[str, Any]) -> Any:
    if dialect == "responses":
        return body.get("instructions")
    if dialect == "messages":
        return body.get("system")
    said = [turn["content"] for turn in body["messages"] if turn["role"] in {"system", "developer"}]
    return said[-1] if said else None


def test_the_words_are_last_in_the_system_text(shop: Any, way: Any) -> None:
    saver = shop.saver(stack=[Concise()])
    entry = shop.ask(way, saver)
    assert system_of(way.dialect, shop.fake.requests[-1].json) == BRIEF
    (act,) = entry.layers
    assert (act.name, act.action) == ("concise", "asked")
    kind = {"role": "system", "content": "Be kind."}
    forms: dict[str, dict[str, Any]] = {
        "chat": {"messages": [kind, {"role": "user", "content": "hi"}]},
        "responses": {"instructions": "Be kind."},
        "messages": {"system": "Be kind."},
    }
    own = forms[way.dialect]
    shop.ask(way, saver, create={**way.arguments(), **own})
    assert system_of(way.dialect, shop.fake.requests[-1].json) == f"Be kind.\n\n{BRIEF}"


def sent(layer: Concise, body: dict[str, Any], dialect: str = "chat", path: tuple[str, ...] = ("f",)) -> Any:
    seen: list[Any] = []

    async def below(request: Request) -> Response:
        seen.append(request.body)
        return Response(200, content=b"{}")

    entry = Entry(dialect, "m", feature=path[-1] if path else "default", path=path)
    drive(layer(Request(dialect, body, "https://x.test", entry, SyncRuntime()), below))
    return seen[0]


HI = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("chat", {"messages": [HI], "response_format": {"type": "json_schema", "json_schema": {}}}),
        ("chat", {"messages": [HI], "response_format": {"type": "json_object"}}),
        ("responses", {"input": "hi", "text": {"format": {"type": "json_schema", "name": "x", "schema": {}}}}),
        ("messages", {"messages": [HI], "output_config": {"format": {"type": "json_schema", "schema": {}}}}),
        ("chat", {"messages": [HI], "model": "o1-mini"}),
        ("chat", {"messages": []}),
        ("chat", {"messages": [{"role": "system", "content": 7}]}),
        ("chat", {"messages": [{"role": "system", "content": BRIEF}]}),
        ("chat", {"messages": [{"role": "system", "content": [{"type": "text", "text": BRIEF}]}, HI]}),
        ("responses", {"prompt": {"id": "p"}}),
        ("responses", {"input": "hi", "instructions": [HI]}),
        ("messages", {"messages": [HI], "system": f"a\n\n{BRIEF}"}),
        ("embeddings", {"input": "hi"}),
    ],
)
def test_what_is_left_alone(dialect: str, body: dict[str, Any]) -> None:
    assert sent(Concise(), body, dialect) == body


def test_parts_stay_as_they_are_with_their_marks() -> None:
    marked = {"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}
    added = {"type": "text", "text": BRIEF}
    found = sent(Concise(), {"system": [marked], "messages": [HI]}, "messages")
    assert found["system"] == [marked, added]
    system = {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]}
    late = {"role": "system", "content": "late"}
    found = sent(Concise(), {"messages": [{"role": "system", "content": "a"}, system, HI, late]})
    assert found["messages"][1]["content"] == [{"type": "text", "text": "Be kind."}, added]
    assert found["messages"][3] == late
    text = {"messages": [HI], "response_format": {"type": "text"}}
    assert sent(Concise(), text)["messages"][0]["content"] == BRIEF


def test_features() -> None:
    body = {"messages": [HI]}
    some = Concise("terse", features=["faq"])
    assert sent(some, body, path=("chat",)) == body
    assert sent(some, body, path=("faq", "inner"))["messages"][0]["content"] == LEVELS["terse"]
    by = Concise(features={"faq": "terse", "inner": "brief"})
    assert sent(by, body, path=("faq", "inner"))["messages"][0]["content"] == BRIEF
    assert sent(by, body, path=("other",)) == body
    assert sent(by, body, path=()) == body
    assert by.policy != some.policy


def test_a_failure_in_here_costs_nobody_the_call(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("llmsaver.middleware.concise.instructed", lambda *_: 1 / 0)
    layer, body = Concise(), {"messages": [HI]}
    assert sent(layer, body) == sent(layer, body) == body
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("wrong", [{"level": "short"}, {"features": "faq"}, {"features": {"a": "x"}}, {"features": 7}])
def test_wrong_arguments(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="Concise"):
        Concise(**wrong)


def test_a_feature_block_decides(shop: Any, plain_way: Any) -> None:
    saver = shop.saver(stack=[Concise(features=["faq"])])
    shop.ask(plain_way, saver)
    assert system_of(plain_way.dialect, shop.fake.requests[-1].json) is None
    with llmsaver.feature("faq"):
        shop.ask(plain_way, saver)
    assert system_of(plain_way.dialect, shop.fake.requests[-1].json) == BRIEF
