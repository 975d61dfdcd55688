"""Sentences of instructions that change, taken out of them."""

from __future__ import annotations

import copy
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmsaver.prompt.moving import Movable, instructions, is_long, sentences
from llmsaver.prompt.volatile import Volatile, suspects

NOW = datetime(2026, 11, 21, 10, 0)  # noqa: DTZ001 - a day, wherever it is
USER: Any = {"role": "user", "content": "hi"}


def taken(movable: Movable, system: Any, dialect: str = "messages", group: str = "g") -> Any:
    name = {"messages": "system", "responses": "instructions"}[dialect]
    return movable.taken(group, dialect, {name: system, "messages": [USER], "input": "hi"}, NOW)


def twice(template: str) -> Any:
    """Return what is taken of the second of two requests, a minute and an id later."""
    movable = Movable()
    for minute in range(2):
        at = f"{NOW + timedelta(minutes=minute):%Y-%m-%d %H:%M}"
        found = taken(movable, template.format(at=at, n=minute + 4, id=f"{minute}f8e7d6c5b4a39281706abcd"))
    return found


@pytest.mark.parametrize(
    ("template", "said", "left"),
    [
        ("Be kind.\nNow: {at}\nCite.", "Now: 2026-11-21 10:01", "Be kind.\nCite."),
        ("Be kind. It is {at}. Cite.", "It is 2026-11-21 10:01.", "Be kind. Cite."),
        ("Be kind. Cite Dr. Smith. It is {at}.\nGo.", "It is 2026-11-21 10:01.", "Be kind. Cite Dr. Smith. \nGo."),
        ("# Who\n- Session id: {id}\n- Be kind", "- Session id: 1f8e7d6c5b4a39281706abcd", "# Who\n- Be kind"),
        ("<env>\nToday: {at}\n</env>\nGo.", "Today: 2026-11-21 10:01", "<env>\n</env>\nGo."),
        ("Go.\n<now>{at}</now>\nStop.", "<now>2026-11-21 10:01</now>", "Go.\nStop."),
        ("Current time: {at}\nand so on", "Current time: 2026-11-21 10:01", "and so on"),
        ("You have {n} requests left today.\n\nBe kind.", "You have 5 requests left today.", "\nBe kind."),
        ("Be kind.\n1. Now: {at}\n2. Cite.", "1. Now: 2026-11-21 10:01", "Be kind.\n2. Cite."),
    ],
)
def test_what_changed_and_has_a_form_is_taken(template: str, said: str, left: str) -> None:
    found = twice(template)
    assert (list(found.said), found.body["system"]) == ([said], left)
    assert found.role == ""


@pytest.mark.parametrize(
    "template",
    [
        "```\nNow: {at}\n```\nGo.",
        "Go.\n~~~\nNow: {at}",
        '{{"now": "{at}",\n "x": 1}}',
        '{{\n"now": 1,\nSession id: {id}\n}}',
        "Rules: [\nNow: {at}\n]",
        "| now | {at} |\n| a | b |",
        "    Now: {at}\n",
        "<example>\nUser: Now: {at}\n</example>",
        "<keep>Now: {at}</keep> Go.\nGo.",
        "Open <b>Now: {at}\nand go</b>",
        "This sentence is so long that it goes on in the next line, and at the end of it the time\nis {at} o'clock.",
        "The time now is {at}, which is in the middle of a sentence that goes on, and on, and on,\nand ends here.",
        "He said (it is {at}. Or so) and went.",
        "`Now: {at}`",
        "Now: {at}",
        "The letter says: hello {n}",
    ],
)
def test_what_does_not_stand_for_itself_stays(template: str) -> None:
    assert twice(template) is None


def test_the_first_request_and_what_stays_the_same() -> None:
    movable = Movable()
    for _ in range(3):
        assert taken(movable, "Go.\nNow: 2026-11-21 10:00") is None
    assert taken(movable, "Go.\nNow: 2026-11-21 10:01", group="other") is None
    found = taken(movable, "Go.\nNow: 2026-11-21 10:01")
    assert found.said == ["Now: 2026-11-21 10:01"]
    assert found.kinds == ["timestamp, line 2"]
    # Known from now on, whatever it says.
    assert taken(movable, "Other rules.\nNow: 2026-11-21 10:01").body["system"] == "Other rules.\n"


def test_lines_of_one_form_are_told_apart_by_their_place() -> None:
    movable = Movable()
    for last in ("10:02", "10:03"):
        found = taken(movable, f"Go.\nNow: 2026-11-21 10:00\nNow: 2026-11-21 {last}\nStop.")
    assert found.body["system"] == "Go.\nNow: 2026-11-21 10:00\nStop."


def test_blocks_and_messages() -> None:
    movable = Movable()
    for minute in (1, 2):
        now = f"Now: 2026-11-21 10:0{minute}"
        blocks = [{"type": "text", "text": "Go."}, {"type": "text", "text": now}]
        found = taken(movable, blocks)
        turns = [{"role": "system", "content": "Go."}, {"role": "developer", "content": now}, USER]
        chat = movable.taken("c", "chat", {"messages": turns}, NOW)
        asked = {"instructions": "Go.", "input": [{"role": "developer", "content": now}, USER]}
        answer = movable.taken("r", "responses", asked, NOW)
        alone = movable.taken("a", "responses", {"input": [{"role": "system", "content": now}]}, NOW)
        only = taken(movable, [{"type": "text", "text": now}], group="o")
    assert found.body["system"] == [{"type": "text", "text": "Go."}]
    assert chat is not None
    assert answer is not None
    assert chat.body["messages"] == [turns[0], USER]
    assert (chat.role, chat.kinds) == ("developer", ["timestamp, line 2"])
    assert answer.body["input"] == [USER]
    assert (alone, only) == (None, None)


def test_only_so_much_is_remembered() -> None:
    movable = Movable()
    for n in range(600):
        taken(movable, f"Go.\nSession id: 9f8e7d6c5b4a39281706{n:04}", group=f"g{n}")
    assert len(movable._groups) == 500
    for n in range(2):
        movable_lines = "\n".join(f"Word {'x' * each} at 2026-11-21 10:0{n}." for each in range(300))
        taken(movable, movable_lines, group="long")
    assert len(movable._groups["long"].last) == 200
    assert taken(movable, "x" * 200_000) is None


LINES = st.sampled_from(
    [
        "Be kind.",
        "Now: 2026-11-21 10:0{n}",
        "You have {n} requests left today. Use them well.",
        "```",
        '{{"a": {n}}}',
        "{{",
        "}}",
        "",
        "- Session id: {n}f8e7d6c5b4a39281706abcd",
        "| {n} |",
        "<a>",
        "</a>",
        "and so on",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(LINES, min_size=1, max_size=12))
def test_nothing_is_lost_and_taking_again_takes_nothing(lines: list[str]) -> None:
    movable = Movable()
    for n in (1, 2):
        body = {"system": "\n".join(lines).format(n=n), "messages": [USER]}
        before = copy.deepcopy(body)
        found = movable.taken("g", "messages", body, NOW)
        assert body == before
    if found is None:
        return
    system = body["system"]
    assert isinstance(system, str)
    left = found.body["system"]
    # The same words, and what is left is in its order.
    assert sorted((left + " " + " ".join(found.said)).split()) == sorted(system.split())
    words = iter(system.split())
    assert all(word in words for word in left.split())
    assert left.count("```") == system.count("```")
    assert movable.taken("g", "messages", found.body, NOW) is None or "Now" in left or "requests" in left
    json.dumps(found.body)


@given(st.text(max_size=300))
def test_sentences_are_in_order_and_in_the_text(text: str) -> None:
    at = 0
    for start, end in sentences(text):
        assert at <= start < end <= len(text)
        at = end


def test_odd_bodies_have_no_instructions() -> None:
    for body in ({}, {"system": 7}, {"system": [7, {"text": 7}]}, {"instructions": None, "input": "x"}):
        assert list(instructions("messages", body)) == []
        assert list(instructions("responses", body)) == []
    assert list(instructions("chat", {"messages": ["odd"]})) == []


def days(template: str, *times: datetime) -> list[Any]:
    movable, found = Movable(), []
    for at in times:
        system = template.format(day=f"{at:%Y-%m-%d}", weekday=f"{at:%A}", time=f"{at:%H:%M}")
        found.append(movable.taken("g", "messages", {"system": system, "messages": [USER]}, at))
    return found


@pytest.mark.parametrize("template", ["Go.\nToday is {day}.\nStop.", "Go.\nToday is {weekday}, {day}.\nStop."])
def test_what_changes_by_the_day_only_stays(template: str) -> None:
    assert days(template, *(NOW + timedelta(hours=8 * n) for n in range(9))) == [None] * 9


def test_what_changes_within_a_day_goes_with_its_date() -> None:
    template = "Go.\nToday is {day}, and the time is {time}.\nStop."
    later = [NOW, NOW + timedelta(days=1), NOW + timedelta(days=1, minutes=1), NOW + timedelta(days=2)]
    first, next_day, again, last = days(template, *later)
    assert (first, next_day) == (None, None)
    assert again.said == ["Today is 2026-11-22, and the time is 10:01."]
    assert last.said == ["Today is 2026-11-23, and the time is 10:00."]


def test_a_line_is_looked_at_once_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def look(text: str, now: datetime) -> list[Volatile]:
        looked.append(text)
        return suspects(text, now)

    monkeypatch.setattr("llmsaver.prompt.moving.suspects", look)
    monkeypatch.setattr("llmsaver.prompt.moving._LINES", 30)
    movable = Movable()
    rules = "".join(f"Rule {n}: the price was set on 2026-11-{n + 1:02}.\n" for n in range(20))
    for minute in range(5):
        found = taken(movable, f"{rules}Now: 2026-11-21 10:0{minute}\nStop.")
        assert (found is None) is (minute == 0)
    assert len(looked) == 20 + 5 + 1
    assert found.body["system"] == f"{rules}Stop."
    for n in range(40):
        taken(movable, f"Word {n}")
    assert len(movable._lines) == 30
    for minute in range(2):
        assert taken(movable, f"Go.\n{'x ' * 5000} now 2026-11-21 10:0{minute}.\nStop.", group="long") is None


def test_instructions_are_long_by_all_their_texts() -> None:
    blocks = [{"type": "text", "text": "x" * 5000}] * 2
    assert is_long("messages", {"system": blocks})
    assert not is_long("messages", {"system": blocks[:1], "messages": [{"role": "user", "content": "x" * 9000}]})
