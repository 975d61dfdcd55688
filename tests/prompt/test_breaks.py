"""Instructions that break their own cache."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from llmsaver.prompt.breaks import Breaks, parts_of
from llmsaver.prompt.outline import outline_of

NOW = datetime(2026, 11, 21, 10, 0)  # noqa: DTZ001 - a day, wherever it is
RULES = "Answer from the archive only.\n" * 50


def look(breaks: Breaks, body: dict[str, Any], group: str = "g", dialect: str = "messages") -> str | None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **body}
    outline = outline_of(dialect, body)
    assert outline is not None
    return breaks.look(group, dialect, body, outline, NOW)


def test_what_is_the_same_breaks_nothing() -> None:
    breaks = Breaks()
    assert [look(breaks, {"system": RULES}) for _ in range(3)] == [None, None, None]
    assert breaks.told() == []


def test_a_first_request_says_what_looks_as_if_it_changes() -> None:
    breaks = Breaks()
    said = look(breaks, {"system": f"{RULES}Now: 2026-11-21 10:33"})
    assert said == "timestamp in the system prompt, line 51, looks as if it changes"
    assert breaks.told() == [("g", said, 1)]


def test_tools_that_change_are_told() -> None:
    breaks = Breaks()
    tool = {"name": "look", "description": RULES}
    look(breaks, {"tools": [tool], "system": RULES})
    said = look(breaks, {"tools": [{**tool, "description": f"{RULES} version 2"}], "system": RULES})
    assert said is not None
    assert "in the tools, line" in said


def test_other_instructions_are_no_break() -> None:
    breaks = Breaks()
    look(breaks, {"system": RULES})
    assert look(breaks, {"system": "Quite another task, told at length. " * 40}) is None
    assert look(breaks, {"system": "Quite another task, told at length. " * 40 + RULES}) is None
    assert look(breaks, {}) is None


def test_only_so_many_groups_are_remembered() -> None:
    breaks = Breaks()
    for n in range(600):
        look(breaks, {"system": f"Today is 2026-11-2{n % 10} {n}"}, f"g{n}")
    assert len(breaks._seen) == 500


def test_the_texts_of_every_dialect() -> None:
    system = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, {"type": "image"}]
    assert parts_of("messages", {"system": system}) == {"the system prompt": "a\nb"}
    assert parts_of("responses", {"instructions": "a", "input": [{"role": "developer", "content": "b"}]}) == {
        "the system prompt": "a\nb"
    }
    assert parts_of("chat", {"messages": [{"role": "system", "content": 7}, "odd"], "tools": [1]}) == {
        "the tools": "[\n1\n]"
    }
