"""Which calls may be answered from a cache, and which answers may be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.cache.policy import calls_tools, policy_of, unfit, unkept

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver.core.request import Request


@pytest.mark.parametrize(
    ("dialect", "body", "why"),
    [
        ("chat", {}, None),
        ("chat", {"tools": [{"type": "function"}, {"type": "custom"}, {}]}, None),
        ("chat", {"tools": "x"}, None),
        ("chat", {"web_search_options": {}}, "uses tools that run at the provider"),
        ("chat", {"modalities": ["text", "audio"]}, "asks for sound"),
        ("chat", {"modalities": ["text"]}, None),
        ("responses", {"previous_response_id": "r"}, None),
        ("responses", {"background": True}, "runs in the background"),
        ("responses", {"conversation": "c"}, "continues a conversation"),
        ("responses", {"prompt": {"id": "p"}}, "names a stored prompt"),
        ("responses", {"prompt": {"id": "p", "version": "2"}}, None),
        ("responses", {"tools": [{"type": "web_search"}]}, r"run at the provider (web_search)"),
        ("responses", {"tools": [{"type": ["odd"]}]}, "run at the provider"),
        ("messages", {"tools": [{"name": "f"}, {"type": "bash_20250124"}, {"type": "custom"}]}, None),
        ("messages", {"tools": [{"type": "web_search_20250305"}]}, "run at the provider"),
        ("messages", {"mcp_servers": [{}]}, "run at the provider"),
        ("embeddings", {"background": True}, None),
    ],
)
def test_calls_whose_answer_is_more_than_their_request_pass(
    asked: Callable[..., Request], dialect: str, body: dict[str, Any], why: str | None
) -> None:
    found = unfit(asked(dialect, **body), "always")
    assert found is None if why is None else found is not None and why in found


@pytest.mark.parametrize(
    ("body", "fits"),
    [
        ({}, False),
        ({"temperature": 0}, True),
        ({"temperature": 0.0}, True),
        ({"temperature": 0.1}, False),
        ({"temperature": False}, False),
        ({"temperature": "0"}, False),
        ({"seed": 0}, True),
        ({"seed": None}, False),
        ({"seed": True}, False),
    ],
)
def test_deterministic_is_temperature_zero_or_a_seed(
    asked: Callable[..., Request], body: dict[str, Any], *, fits: bool
) -> None:
    assert (unfit(asked(**body), "deterministic") is None) is fits
    assert unfit(asked("embeddings"), "deterministic") is None


def chat(content: Any = "x", reason: Any = "stop", **message: Any) -> dict[str, Any]:
    return {"choices": [{"finish_reason": reason, "message": {"content": content, **message}}]}


def response(*output: Any, **more: Any) -> dict[str, Any]:
    return {"status": "completed", "output": list(output), **more}


SAID = {"type": "message", "content": [{"type": "output_text", "text": "x"}]}


@pytest.mark.parametrize(
    ("dialect", "message", "why"),
    [
        ("chat", chat(), None),
        ("chat", chat(None, "tool_calls", tool_calls=[{}]), None),
        ("chat", chat(None, "function_call", function_call={}), "empty"),
        ("chat", chat(""), "empty"),
        ("chat", chat(reason="length"), "finish_reason length"),
        ("chat", chat(reason="content_filter"), "finish_reason content_filter"),
        ("chat", chat(reason=None), "finish_reason None"),
        ("chat", chat(refusal="no"), "refused"),
        ("chat", {"choices": []}, "no choice"),
        ("chat", {"choices": [chat()["choices"][0], *chat(reason="length")["choices"]]}, "finish_reason length"),
        ("chat", {}, "not in the form"),
        ("chat", {"choices": 3}, "not in the form"),
        ("chat", {"choices": [{"finish_reason": []}]}, "not in the form"),
        ("responses", response(SAID), None),
        ("responses", response({"type": "function_call"}), None),
        ("responses", response(), "empty"),
        ("responses", response({"type": "reasoning"}), "empty"),
        ("responses", response(SAID, status="incomplete"), "status incomplete"),
        ("responses", response(SAID, error={"code": "x"}), "status completed"),
        ("responses", response({"content": [{"type": "refusal"}]}), "refused"),
        ("messages", {"stop_reason": "end_turn", "content": [{}]}, None),
        ("messages", {"stop_reason": "tool_use", "content": [{}]}, None),
        ("messages", {"stop_reason": "end_turn", "content": []}, "empty"),
        ("messages", {"stop_reason": "max_tokens", "content": [{}]}, "stop_reason max_tokens"),
        ("messages", {"stop_reason": "refusal", "content": [{}]}, "stop_reason refusal"),
        ("messages", {"stop_reason": "pause_turn", "content": [{}]}, "stop_reason pause_turn"),
    ],
)
def test_only_whole_good_answers_are_kept(dialect: str, message: dict[str, Any], why: str | None) -> None:
    found = unkept(dialect, message)
    assert found is None if why is None else found is not None and why in found


@pytest.mark.parametrize(
    ("dialect", "message", "calls"),
    [
        ("chat", chat(), False),
        ("chat", chat(None, "tool_calls", tool_calls=[{}]), True),
        ("responses", response(SAID), False),
        ("responses", response({"type": "function_call"}), True),
        ("messages", {"content": [{"type": "text"}]}, False),
        ("messages", {"content": [{"type": "text"}, {"type": "tool_use"}]}, True),
        ("messages", {}, True),
    ],
)
def test_answers_that_call_tools_are_known(dialect: str, message: dict[str, Any], *, calls: bool) -> None:
    assert calls_tools(dialect, message) is calls


class Plain:
    name = "plain"


class Told(Plain):
    def __init__(self, policy: str) -> None:
        self.policy = policy


class BuiltIn:
    name = "built in"


BuiltIn.__module__ = "llmsaver.middleware.made_up"


def test_a_policy_is_that_of_the_layers_that_change_something() -> None:
    assert policy_of([]) == policy_of([BuiltIn()]) == ""
    found = [policy_of([Plain()]), policy_of([Told("a")]), policy_of([Told("b")]), policy_of([Plain(), Told("a")])]
    assert len({*found, ""}) == 5
    assert policy_of([BuiltIn(), Told("a")]) == found[1]
