"""How a request with tools reaches llama.cpp."""

from __future__ import annotations

from typing import Any

import pytest

from llmsaver.errors import LocalModelError
from llmsaver.local.tools import plan

HI: dict[str, Any] = {"role": "user", "content": "hi"}
LOOK = {
    "name": "look",
    "description": "Look.",
    "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
}
WAIT = {"name": "wait"}


def body(*functions: Any, **more: Any) -> dict[str, Any]:
    return {"messages": [HI], "tools": [{"type": "function", "function": each} for each in functions], **more}


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def allowed(mode: str, *names: str) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [named(name) for name in names]}}


@pytest.mark.parametrize("knows", [False, True])
@pytest.mark.parametrize("given", [{"messages": [HI]}, body(), body(LOOK, tool_choice="none"), {"tools": None}])
def test_without_a_tool_to_call_nothing_is_planned(given: dict[str, Any], knows: bool) -> None:
    adapted, planned = plan(given, knows_tools=knows)
    assert planned is None
    assert adapted == ({"messages": [HI]} if "messages" in given else {})


def test_one_forced_tool_is_its_own_schema() -> None:
    given = body(LOOK, tool_choice="required", temperature=0, response_format={"type": "json_object"}, grammar="x")
    adapted, planned = plan(given, knows_tools=False)
    assert set(adapted) == {"messages", "temperature", "json_schema"}
    assert adapted["json_schema"] == LOOK["parameters"]
    assert planned is not None
    assert (planned.form, planned.name, planned.forced, list(planned.checks)) == ("bare", "look", True, ["look"])
    system, user = adapted["messages"]
    assert user == HI
    assert system["role"] == "system"
    assert system["content"].startswith("Answer with a call of a tool.")
    assert '"description": "Look."' in system["content"]


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("required", ["look", "wait"]),
        (named("wait"), ["wait"]),
        (allowed("required", "wait", "other"), ["wait"]),
        (allowed("required", "wait", "look"), ["wait", "look"]),
    ],
)
@pytest.mark.parametrize("knows", [False, True])
def test_which_tools_may_be_called(choice: Any, names: list[str], knows: bool) -> None:
    adapted, planned = plan(body(LOOK, WAIT, tool_choice=choice), knows_tools=knows)
    assert planned is not None
    assert list(planned.checks) == names
    assert planned.form == ("bare" if len(names) == 1 and not knows else "single")
    if knows:
        assert [tool["function"]["name"] for tool in adapted["tools"]] == ["look", "wait"]
        assert adapted["tool_choice"] == "none"
        assert adapted["messages"] == [HI]
    else:
        assert [name for name in ("look", "wait") if f'"{name}"' in adapted["messages"][0]["content"]] == sorted(names)


@pytest.mark.parametrize("knows", [False, True])
def test_several_calls_have_to_be_asked_for(knows: bool) -> None:
    adapted, planned = plan(body(LOOK, tool_choice="required", parallel_tool_calls=True), knows_tools=knows)
    assert planned is not None
    assert planned.form == "several"
    assert adapted["json_schema"]["type"] == "array"
    assert "parallel_tool_calls" not in adapted


@pytest.mark.parametrize("choice", [None, "auto", allowed("auto", "look")])
def test_a_tool_that_may_be_called(choice: Any) -> None:
    adapted, planned = plan(body(LOOK, tool_choice=choice), knows_tools=False)
    assert planned is not None
    assert (planned.form, planned.forced) == ("tagged", False)
    assert "json_schema" not in adapted
    assert "<tool_call>" in adapted["messages"][0]["content"]
    adapted, planned = plan(body(LOOK, tool_choice=choice, parallel_tool_calls=True), knows_tools=True)
    assert planned is not None
    assert adapted == {**body(LOOK), "parallel_tool_calls": True}


@pytest.mark.parametrize(
    ("content", "joined"),
    [("Be kind.", "Be kind.\n\nAnswer"), (None, "\n\nAnswer"), ([{"type": "text", "text": "Be kind."}], "Be kind.")],
)
def test_the_callers_own_system_message_stays(content: Any, joined: str) -> None:
    given = body(LOOK, tool_choice="required", messages=[{"role": "system", "content": content}, HI])
    adapted, _ = plan(given, knows_tools=False)
    assert len(adapted["messages"]) == 2
    told = adapted["messages"][0]["content"]
    if isinstance(told, list):
        assert [part["text"][:6] for part in told] == ["Be kin", "Answer"]
    else:
        assert told.startswith(joined)


def test_calls_in_the_history_are_told_in_words_where_the_template_would_drop_them() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}
    history = [
        {"role": "assistant", "content": "Well.", "tool_calls": [call, "odd"]},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "20 C"}, "odd"]},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "wait"}}]},
        {"role": "assistant", "content": "no calls", "tool_calls": []},
        "odd",
    ]
    adapted, _ = plan({"messages": history}, knows_tools=False)
    assert adapted["messages"] == [
        {"role": "assistant", "content": 'Well.\n<tool_call>{"name": "look", "arguments": {"a": 1}}</tool_call>'},
        {"role": "user", "content": "<tool_response>20 C</tool_response>"},
        {"role": "assistant", "content": '<tool_call>{"name": "wait", "arguments": {}}</tool_call>'},
        {"role": "assistant", "content": "no calls", "tool_calls": []},
        "odd",
    ]
    assert plan({"messages": history}, knows_tools=True)[0]["messages"] == history


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (body(tool_choice="required"), "asks for a tool that tools= does not name"),
        (body(LOOK, tool_choice=named("other")), "asks for a tool that tools= does not name"),
        (body(LOOK, tool_choice="always"), "is none that local models know"),
        (body(LOOK, tool_choice={"type": "custom"}), "is none that local models know"),
        ({"functions": [LOOK]}, "use tools="),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "function tools only, not 'custom'"),
        ({"tools": ["odd"]}, "function tools only, not 'odd'"),
        ({"tools": [{"type": "function", "function": {}}]}, "function tools only"),
        (body({"name": "look", "parameters": "x"}), "must be a JSON schema"),
    ],
)
def test_what_cannot_be_kept_is_told(given: dict[str, Any], says: str) -> None:
    with pytest.raises(LocalModelError, match=says):
        plan(given, knows_tools=True)
