"""What is planned for a row of requests, and what the providers' parameters become of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmsaver.prompt.keys import decided_by_caller, keyed
from llmsaver.prompt.marks import has_marks, marked, minimum
from llmsaver.prompt.outline import Outline, outline_of
from llmsaver.prompt.planner import Plan, Planner
from llmsaver.prompt.worth import Tariff

CLAUDE = Tariff(0.1, {"5m": 1.25, "1h": 2.0})
GPT = Tariff(0.1, {"30m": 1.25})
SYSTEM = "You answer questions about the archive. " * 200
TOOL = {"name": "look", "input_schema": {"type": "object"}}


def talk(turns: int, system: Any = SYSTEM, **more: Any) -> dict[str, Any]:
    said = [{"role": ("user", "assistant")[n % 2], "content": f"{n} " + "word " * 200} for n in range(2 * turns - 1)]
    return {"model": "claude-sonnet-5", "system": system, "max_tokens": 9, "messages": said, **more}


def outline(body: dict[str, Any], dialect: str = "messages") -> Outline:
    found = outline_of(dialect, body)
    assert found is not None
    return found


def test_an_agent_is_kept_from_its_first_request_on() -> None:
    planner = Planner()
    first = planner.plan(outline(talk(1, tools=[TOOL])), "f", CLAUDE, 0.0)
    assert (first.static, first.tail) == ("5m", "5m")
    second = planner.plan(outline(talk(2, tools=[TOOL])), "f", CLAUDE, 10.0)
    assert second.expected == outline(talk(1, tools=[TOOL])).total_tokens
    assert "to be read" in second.why


def test_a_first_question_keeps_what_others_share() -> None:
    plan = Planner().plan(outline(talk(1)), "f", CLAUDE, 0.0)
    assert (plan.static, plan.tail) == ("5m", None)
    assert plan.keeps


def test_what_is_short_is_not_kept() -> None:
    plan = Planner().plan(outline(talk(1, system="Hi.")), "f", CLAUDE, 0.0)
    assert not plan.keeps
    assert plan.why == "too short to be kept"


def test_requests_that_never_come_again_are_soon_left_alone() -> None:
    planner = Planner()
    plans = [planner.plan(outline(talk(1, system=f"{n} {SYSTEM}")), "f", CLAUDE, n * 1.0) for n in range(30)]
    assert plans[0].keeps
    assert not any(plan.keeps for plan in plans[20:])
    assert plans[-1].why == "not likely to be asked for again"


def test_what_comes_every_ten_minutes_is_kept_for_an_hour() -> None:
    planner = Planner()
    plans = [planner.plan(outline(talk(1)), "f", CLAUDE, n * 600.0) for n in range(12)]
    assert plans[-1].static == "1h"
    assert plans[-1].expected


def test_what_is_there_is_read_even_where_nothing_more_is_worth_keeping() -> None:
    planner = Planner()
    planner.plan(outline(talk(1, tools=[TOOL])), "f", CLAUDE, 0.0)
    dear = Tariff(0.1, {"5m": 9.0})
    plan = planner.plan(outline(talk(2, tools=[TOOL])), "f", dear, 2.0)
    assert plan.tail is None
    assert list(plan.earlier) == [0]
    body = marked(talk(2, tools=[TOOL]), plan)
    assert body is not None
    assert body["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral"}
    assert "cache_control" not in body


def test_a_long_turn_marks_where_the_last_one_ended() -> None:
    planner = Planner()
    short = talk(1, tools=[TOOL])
    planner.plan(outline(short), "f", CLAUDE, 0.0)
    blocks = [{"type": "text", "text": f"result {n}"} for n in range(25)]
    more = [{"role": "assistant", "content": "so"}, {"role": "user", "content": blocks}]
    plan = planner.plan(outline({**short, "messages": [*short["messages"], *more]}), "f", CLAUDE, 1.0)
    assert list(plan.earlier) == [0]
    assert plan.tail == "5m"


def test_what_was_refused_is_not_expected_to_be_there() -> None:
    planner = Planner()
    first = outline(talk(1, tools=[TOOL]))
    planner.plan(first, "f", CLAUDE, 0.0)
    planner.forget(first)
    assert planner.plan(outline(talk(2, tools=[TOOL])), "f", CLAUDE, 1.0).expected == first.static_tokens


def plain(body: Any) -> Any:
    """Return a request without marks, and texts in one form."""
    if isinstance(body, dict):
        return {
            key: plain(part) for key, part in body.items() if key not in {"cache_control", "prompt_cache_breakpoint"}
        }
    if isinstance(body, list):
        if len(body) == 1 and isinstance(body[0], dict) and body[0].get("type") in {"text", "input_text"}:
            return body[0]["text"]
        return [plain(part) for part in body]
    return body


@pytest.mark.parametrize("system", [SYSTEM, [{"type": "text", "text": SYSTEM}], None])
@pytest.mark.parametrize("tools", [None, [TOOL, TOOL]])
@pytest.mark.parametrize("plan", [Plan("5m", "5m"), Plan("1h", None), Plan("1h", "5m", (0,)), Plan(None, None, (2, 1))])
def test_marks_change_nothing_else(system: Any, tools: Any, plan: Plan) -> None:
    body = {key: value for key, value in talk(3, system=system, tools=tools).items() if value is not None}
    before = json.dumps(body)
    made = marked(body, plan)
    assert json.dumps(body) == before
    if made is None:
        assert system is None
        assert tools is None
        return
    assert plain(made) == plain(body)
    assert json.dumps(made).count("cache_control") <= 4
    assert has_marks(made)
    assert not has_marks(body)


def test_blocks_that_cannot_carry_a_mark_do_not() -> None:
    body = talk(2)
    for content in ([{"type": "thinking", "thinking": "x"}], "", [], [{"type": "text", "text": ""}]):
        body["messages"][1] = {"role": "assistant", "content": content}
        assert marked(body, Plan(None, None, (1,))) is None


@pytest.mark.parametrize(
    ("model", "tokens"),
    [("claude-opus-5", 512), ("claude-haiku-4-5", 4096), ("claude-opus-4-7", 2048), ("claude-sonnet-5", 1024)],
)
def test_the_fewest_tokens_are_the_models(model: str, tokens: int) -> None:
    assert minimum(model) == tokens


def chat(system: Any = SYSTEM, **more: Any) -> dict[str, Any]:
    return {
        "model": "gpt-6-luna",
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": "hi " * 300}],
        **more,
    }


@pytest.mark.parametrize("system", [SYSTEM, [{"type": "text", "text": SYSTEM}]])
def test_a_shared_beginning_gets_a_breakpoint_and_a_key(system: Any) -> None:
    body = chat(system)
    made = keyed(body, "chat", outline(body, "chat"), Plan("30m", None), writes_cost=True)
    assert made is not None
    assert made["prompt_cache_options"] == {"mode": "explicit"}
    assert made["messages"][0]["content"][-1]["prompt_cache_breakpoint"] == {"mode": "explicit"}
    assert made["prompt_cache_key"].startswith("ls-")
    assert plain(made["messages"]) == plain(body["messages"])
    assert decided_by_caller(made)
    assert not decided_by_caller(body)


def test_what_is_not_worth_writing_is_not_written() -> None:
    body = chat()
    made = keyed(body, "chat", outline(body, "chat"), Plan(None, None), writes_cost=True)
    assert made is not None
    assert made["prompt_cache_options"] == {"mode": "explicit"}
    assert made["messages"] == body["messages"]


def test_a_talk_that_goes_on_keeps_its_implicit_breakpoint() -> None:
    body = chat()
    made = keyed(body, "chat", outline(body, "chat"), Plan("30m", "30m"), writes_cost=True)
    assert made is not None
    assert "prompt_cache_options" not in made


def test_where_writing_is_free_only_the_key_is_set() -> None:
    body = chat()
    made = keyed(body, "chat", outline(body, "chat"), Plan(None, None), writes_cost=False)
    assert made is not None
    assert made.keys() - body.keys() == {"prompt_cache_key"}
    assert keyed(made, "chat", outline(body, "chat"), Plan(None, None), writes_cost=False) is None


def test_instructions_that_cannot_be_marked_leave_the_default() -> None:
    body = {"model": "gpt-6-luna", "instructions": SYSTEM, "input": "hi " * 300}
    made = keyed(body, "responses", outline(body, "responses"), Plan("30m", None), writes_cost=True)
    assert made is not None
    assert made.keys() - body.keys() == {"prompt_cache_key"}
    odd = chat([{"type": "image_url", "image_url": {"url": "x"}}, {"type": "file", "file": {"file_id": SYSTEM}}])
    made = keyed(odd, "chat", outline(odd, "chat"), Plan("30m", None), writes_cost=True)
    assert made is not None
    assert made["messages"] == odd["messages"]


def test_the_callers_breakpoints_are_seen() -> None:
    part = {"type": "text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}}
    assert decided_by_caller(chat([part]))
    assert decided_by_caller(chat(prompt_cache_options={"mode": "implicit"}))
    assert has_marks(talk(1, cache_control={"type": "ephemeral"}))
    assert has_marks(talk(1, tools=[{**TOOL, "cache_control": {"type": "ephemeral"}}]))


def test_what_was_replayed_is_not_replayed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    planner, sleeps = Planner(learns=True), iter(range(99))
    for n in range(60):
        planner.plan(outline(talk(1)), "f", CLAUDE, float(n))

    def one_more(_: float) -> None:
        planner.plan(outline(talk(1)), "f", CLAUDE, 60.0 + next(sleeps))

    monkeypatch.setattr("time.sleep", one_more)
    planner.learn((), 0.0)
    number = 60 + next(sleeps)
    assert planner._reuse._groups["static f"].reached[0] == number - 1
