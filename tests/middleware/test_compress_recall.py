"""The model calls back what was left out: answered here, in every dialect, whole and streamed."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from llmsaver import Stubs
from llmsaver.middleware.compress import Compress
from llmsaver.middleware.compress_recall import ROUNDS
from llmsaver.prompt.originals import reference_of
from llmsaver.prompt.stub_text import RECALL
from llmsaver.testing import Answer, Fault, ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR = 3_600
TEXTS = ["\n".join(f"file_{number}_{line}.py" for line in range(150)) for number in range(4)]
REFERENCE = reference_of(TEXTS[0], None)


def tools(dialect: str) -> list[Any]:
    schema = {"type": "object", "properties": {}}
    if dialect == "messages":
        return [{"name": "bash", "input_schema": schema}]
    function = {"name": "bash", "parameters": schema}
    return [{"type": "function", "function": function} if dialect == "chat" else {"type": "function", **function}]


def turns(dialect: str, count: int) -> list[Any]:
    found: list[Any] = [{"role": "user", "content": "Repair the parser."}]
    for number, text in enumerate(TEXTS[:count]):
        call = f"call_{number}"
        if dialect == "chat":
            called = {"id": call, "type": "function", "function": {"name": "bash", "arguments": "{}"}}
            found.append({"role": "assistant", "content": None, "tool_calls": [called]})
            found.append({"role": "tool", "tool_call_id": call, "content": text})
        elif dialect == "responses":
            found.append({"type": "function_call", "call_id": call, "name": "bash", "arguments": "{}"})
            found.append({"type": "function_call_output", "call_id": call, "output": text})
        else:
            use = {"type": "tool_use", "id": call, "name": "bash", "input": {}}
            found.append({"role": "assistant", "content": [use]})
            found.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": call, "content": text}]})
    return found


class Talk:
    """A conversation through a Saver with stubs whose model may call originals back, by a clock of its own."""

    def __init__(self, shop: Any, way: Any, **options: Any) -> None:
        self.shop, self.way = shop, way
        self.saver = shop.saver(stack=[Compress(stubs=Stubs(recent=1, tool=True, **options))])
        self.ahead = 0.0

    def ask(self, count: int, **more: Any) -> Any:
        """Send the request after so many calls of the tool; return the entry."""
        name = "input" if self.way.dialect == "responses" else "messages"
        arguments = self.way.arguments(**{"most": 50, **more})
        arguments = {**arguments, name: turns(self.way.dialect, count), "tools": tools(self.way.dialect)}
        real = time.time
        with mock.patch.object(time, "time", side_effect=lambda: real() + self.ahead):
            return self.shop.ask(self.way, self.saver, create=arguments)

    def rest(self) -> None:
        """Let every provider's cache go."""
        self.ahead += 30 * HOUR

    @property
    def sent(self) -> list[Any]:
        """What reached the provider."""
        return [request.json for request in self.shop.fake.requests]


def recall(reference: str = REFERENCE, **more: Any) -> Answer:
    return Answer(text=None, tool_calls=(ToolCall(RECALL, {"reference": reference}),), **more)


def names(body: Any) -> list[str]:
    return [tool.get("name") or tool["function"]["name"] for tool in body["tools"]]


def test_a_recall_is_answered_here(shop: Any, way: Any) -> None:
    talk = Talk(shop, way)
    talk.ask(0)
    talk.ask(3)
    talk.rest()
    shop.fake.script([recall(), Answer("It is repaired.")])
    entry = talk.ask(4)
    *_, first, second = talk.sent
    assert names(first) == names(second) == ["bash", RECALL]
    shown = json.dumps(first)
    assert f"call {RECALL} with the reference {REFERENCE}" in shown
    assert json.dumps(TEXTS[0])[1:-1] not in shown
    assert json.dumps(TEXTS[0])[1:-1] in json.dumps(second)
    name = "input" if way.dialect == "responses" else "messages"
    assert second[name][: len(first[name])] == first[name]
    assert [act.action for act in entry.layers if act.name == "compress"] == ["stubbed", "recalled"]
    # Both are paid for, and in the books: the provider's own count.
    assert sum(row["cost_nano"] for row in shop.rows()) == shop.billed()
    assert entry.usage.output_tokens == sum(bill.output_tokens for bill in shop.fake.billed[-2:])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", ["chat", "responses", "messages"])
def test_the_caller_gets_one_answer(shop: Any, way_of: Callable[..., Any], dialect: str, stream: bool) -> None:
    way = way_of(dialect, False, stream)
    talk = Talk(shop, way)
    talk.ask(0)
    talk.ask(3)
    talk.rest()
    shop.fake.script([recall(), Answer("It is repaired.")])
    heard: list[str] = []
    name = "input" if dialect == "responses" else "messages"
    arguments = {**way.arguments(), name: turns(dialect, 4), "tools": tools(dialect)}
    real = time.time
    with mock.patch.object(time, "time", side_effect=lambda: real() + talk.ahead), shop.client(way, talk.saver) as made:
        answer = shop.resource(way, made).create(**arguments, **({"stream": True} if stream else {}))
        heard = [each.model_dump_json() for each in answer] if stream else [answer.model_dump_json()]
    whole = "".join(heard)
    assert REFERENCE not in whole
    assert "repaired" in whole


def test_the_tool_is_there_from_the_first_request_or_never(shop: Any, plain_way: Any) -> None:
    talk = Talk(shop, plain_way)
    for count in (0, 1, 2):
        talk.ask(count)
    assert [names(body) for body in talk.sent] == [["bash", RECALL]] * 3
    other = shop.saver(stack=[Compress(stubs=Stubs(recent=1))])
    with mock.patch.object(talk, "saver", other):
        talk.ask(3)
    assert names(talk.sent[-1]) == ["bash", RECALL]  # as it began, whoever goes on with it


def test_a_conversation_that_began_without_the_tool_goes_on_without(shop: Any, plain_way: Any) -> None:
    talk = Talk(shop, plain_way)
    talk.ask(2)
    talk.rest()
    talk.ask(4)
    assert [names(body) for body in talk.sent] == [["bash"]] * 2
    assert f"reference {REFERENCE}" in json.dumps(talk.sent[-1])
    assert RECALL not in json.dumps(talk.sent[-1])


def test_before_anything_is_left_out_a_recall_is_answered_too(shop: Any, plain_way: Any) -> None:
    talk = Talk(shop, plain_way)
    shop.fake.script([recall(), Answer("It is repaired.")])
    entry = talk.ask(0)
    assert "There is no output under that reference" in json.dumps(talk.sent[-1])
    assert [act.action for act in entry.layers if act.name == "compress"] == ["recalled"]


BOTH = (ToolCall(RECALL, {"reference": REFERENCE}), ToolCall("bash", {"command": "ls"}))


def answer_of(talk: Talk, count: int, **more: Any) -> str:
    """Return the answer that the application gets, as JSON."""
    way = talk.way
    name = "input" if way.dialect == "responses" else "messages"
    arguments = {**way.arguments(), name: turns(way.dialect, count), "tools": tools(way.dialect), **more}
    real = time.time
    later = mock.patch.object(time, "time", side_effect=lambda: real() + talk.ahead)
    with later, talk.shop.client(way, talk.saver) as made:
        answer = talk.shop.resource(way, made).create(**arguments, **({"stream": True} if way.stream else {}))
        return "".join(each.model_dump_json() for each in answer) if way.stream else str(answer.model_dump_json())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", ["chat", "responses", "messages"])
@pytest.mark.parametrize("stubs", [False, True])
def test_a_recall_beside_other_calls_is_asked_once_more_without(
    shop: Any, way_of: Callable[..., Any], dialect: str, stream: bool, stubs: bool
) -> None:
    talk = Talk(shop, way_of(dialect, False, stream))
    talk.ask(0)
    if stubs:
        talk.ask(3)
        talk.rest()
    before = shop.fake.calls
    shop.fake.script([Answer(text=None, tool_calls=BOTH), Answer(text=None, tool_calls=BOTH[1:])])
    whole = answer_of(talk, 4)
    assert shop.fake.calls == before + 2
    assert [names(body) for body in talk.sent[-2:]] == [["bash", RECALL], ["bash"]]
    assert RECALL not in whole
    assert "bash" in whole
    assert sum(row["cost_nano"] for row in shop.rows()) == shop.billed()


@pytest.mark.parametrize("dialect", ["chat", "responses", "messages"])
def test_a_model_that_calls_what_it_has_no_more_calls_the_rest(
    shop: Any, way_of: Callable[..., Any], dialect: str
) -> None:
    talk = Talk(shop, way_of(dialect, False, False))
    talk.ask(0)
    shop.fake.script([Answer(text=None, tool_calls=BOTH), Answer(text=None, tool_calls=BOTH)])
    whole = answer_of(talk, 1)
    assert RECALL not in whole
    assert "bash" in whole


def test_one_of_several_choices_that_recalls_is_asked_once_more(shop: Any, way_of: Callable[..., Any]) -> None:
    talk = Talk(shop, way_of("chat", False, False))
    talk.ask(0)
    talk.ask(3)
    talk.rest()
    shop.fake.script([recall(), Answer("It is repaired.")])
    whole = answer_of(talk, 4, n=2)
    assert RECALL not in whole
    assert whole.count("It is repaired.") == 2
    assert sum(row["cost_nano"] for row in shop.rows()) == shop.billed()


@pytest.mark.parametrize("status", [400, 413])
def test_originals_that_are_too_long_are_left_out_again(shop: Any, plain_way: Any, status: int) -> None:
    talk = Talk(shop, plain_way)
    talk.ask(0)
    talk.ask(3)
    talk.rest()
    shop.fake.script([recall(), Fault(status), Answer("It is repaired.")])
    entry = talk.ask(4)
    first, _, last = talk.sent[-3:]
    name = "input" if plain_way.dialect == "responses" else "messages"
    assert last[name] == first[name]
    assert names(last) == ["bash"]
    assert entry.status == 200
    assert sum(row["cost_nano"] for row in shop.rows()) == shop.billed()


def test_a_provider_that_refuses_that_too_is_heard(shop: Any, plain_way: Any) -> None:
    talk = Talk(shop, plain_way)
    talk.ask(0)
    before = shop.fake.calls
    shop.fake.script([recall(), Fault(400), Fault(400)])
    with pytest.raises(Exception, match="400"):
        talk.ask(1)
    assert shop.fake.calls == before + 3


def test_a_model_that_only_recalls_must_do_without_in_the_end(shop: Any, plain_way: Any) -> None:
    talk = Talk(shop, plain_way)
    talk.ask(0)
    talk.ask(3)
    talk.rest()
    before = shop.fake.calls
    shop.fake.script([recall(), recall("llmsaver:o-" + "0" * 24), recall("x"), Answer("done")])
    talk.ask(4)
    assert shop.fake.calls == before + ROUNDS + 1
    assert names(talk.sent[-1]) == ["bash"]
    assert json.dumps(talk.sent[-1]).count("There is no output under that reference") == 2


def test_what_goes_wrong_on_the_way_is_the_callers_to_see(shop: Any, plain_way: Any) -> None:
    talk = Talk(shop, plain_way)
    talk.ask(0)
    talk.ask(3)
    talk.rest()
    shop.fake.script([recall(), Fault(500)])
    with pytest.raises(Exception, match="500"):
        talk.ask(4)


def test_an_application_with_such_a_tool_keeps_it(shop: Any, plain_way: Any) -> None:
    talk = Talk(shop, plain_way)
    own = json.loads(json.dumps(tools(plain_way.dialect)).replace("bash", RECALL))
    name = "input" if plain_way.dialect == "responses" else "messages"
    arguments = {**plain_way.arguments(), name: turns(plain_way.dialect, 0), "tools": own}
    shop.ask(plain_way, talk.saver, create=arguments)
    assert names(talk.sent[-1]) == [RECALL]


def test_only_a_stream_that_may_recall_is_held(shop: Any, stream_way: Any) -> None:
    talk = Talk(shop, stream_way)
    talk.ask(0)
    talk.ask(3)
    talk.rest()
    talk.ask(4)
    assert [body.get("stream", False) for body in talk.sent] == [False, False, False]
    shop.ask(stream_way, talk.saver)  # no tools, so none to add to
    assert talk.sent[-1]["stream"] is True
