"""What changes in a prompt, told by its kind and line."""

from __future__ import annotations

import uuid
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.prompt.volatile import changed, suspects

NOW = datetime(2026, 11, 21, 10, 0)  # noqa: DTZ001 - a day, wherever it is


def kinds(text: str) -> list[str]:
    return [each.kind for each in suspects(text, NOW)]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("Current time: 2025-03-04T10:33:21Z", "timestamp"),
        ("Today's date is March 4, 2025.", "date"),
        ("You are a bot. It is Tuesday, 4 March 2025.", "timestamp"),
        ("The date is 2026-11-20", "date"),
        ("Berlin, 21.11.2026", "date"),
        ("The user's local time is 09:41 AM", "time"),
        ("rendered at 1741084401", "timestamp"),
        ("Request ID: 6f9619ff-8b86-4d01-b42d-00cf4fc964ff", "id"),
        ("trace 4bf92f3577b34da6a3ce929d0e0e4736", "id"),
        ("You speak to user_8a7f2c91", "id"),
        ("nonce=83749121", "id"),
        ("This is turn 7 of 20.", "counter"),
        ("Attempt: 3", "counter"),
        ("You have 12 requests left today.", "counter"),
        ("CPU: 81.2", "counter"),
    ],
)
def test_what_changes_with_each_request_is_found(line: str, kind: str) -> None:
    text = f"You are a helpful assistant.\nAnswer shortly.\n{line}\nBe kind."
    (found,) = suspects(text, NOW)
    assert (found.kind, found.line) == (kind, 3)
    assert text[found.start : found.end] in line


@pytest.mark.parametrize(
    "line",
    [
        "Your knowledge cutoff is 2024-06-01.",
        "The museum opens at 10:00 and closes at 18:30.",
        "Step 3: write the tests",
        "The treaty of 4 March 1921 ended it.",
        "Use the format YYYY-MM-DD, for example 2024-01-31.",
        "Answer in at most 3 sentences, with 2 examples.",
        "The id looks like '123e4567-e89b-12d3-a456-426614174000'.",
        "Call 911 in an emergency. Version 3.11.2 is needed.",
        "The port is 8080 and the ratio 16:9.",
        "Released on 2023-05-01 10:00",
    ],
)
def test_what_is_the_same_for_ever_is_not(line: str) -> None:
    assert kinds(line) == []


def test_the_same_place_is_told_once() -> None:
    assert kinds("Now: 2026-11-21 10:33, session id: 9f8e7d6c5b4a39281706") == ["timestamp", "id"]


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    for found in suspects(text, NOW):
        assert 0 <= found.start < found.end <= len(text)


@pytest.mark.parametrize(
    ("before", "after", "kind", "line"),
    [
        ("You are a bot.\nNow: 10:31\nBe kind.", "You are a bot.\nNow: 10:32\nBe kind.", "time", 2),
        (f"a\nb\nid {uuid.UUID(int=1)} c", f"a\nb\nid {uuid.UUID(int=2)} c", "id", 3),
        ("Score 17 points", "Score 23 points", "counter", 1),
        ("The weather: sunny", "The weather: rainy", "text", 1),
        ("at 2026-11-20", "at 2026-11-21", "date", 1),
        ("at 2026-11-20 10:00:01", "at 2026-11-21 10:00:01", "timestamp", 1),
        ("one line", "one more\nline", "text", 1),
    ],
)
def test_what_changed_is_told_by_kind_and_line(before: str, after: str, kind: str, line: int) -> None:
    found = changed(before, after)
    assert found is not None
    assert (found.kind, found.line) == (kind, line)


@given(st.text(max_size=50), st.text(max_size=50))
def test_a_beginning_is_no_change(one: str, other: str) -> None:
    assert changed(one, one + other) is None
    assert changed(one + other, one) is None
    found = changed(one, other)
    if found is not None:
        assert one[: found.start] == other[: found.start]
        assert 0 <= found.start <= found.end <= len(other)
