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
        ("You are a bot. It is Tuesday, 4 March 2025.", "date"),
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
        ("Heute ist Samstag, der 21. November 2026.", "date"),
        ("Fecha actual: 3 de marzo de 2025", "date"),
        ("今日の日付は2026年11月21日です。", "date"),
        ("오늘은 2026년 11월 20일입니다", "date"),
        ("Сегодня 21 ноября 2026 г.", "date"),  # noqa: RUF001 - Russian
        ("Data: 20261121", "date"),
        ("We are in week 47 of 2026", "date"),
        ("Today is Saturday.", "date"),
        ("Current month: November 2026", "date"),
        ("Berlin, 11/21/26", "date"),
        ("sat since 1795255200", "timestamp"),
        ("sat since 1795255200123", "timestamp"),
        ("[Sat Nov 21 10:00:00 2026] begun", "timestamp"),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "id"),
        ("Your handle is V1StGXR8_Z5jdHi6B-myT", "id"),
        ("Correlation id 4bf92f3577b3", "id"),
        ("Sitzungskennung: 83a1-77", "id"),
        ("Verbleibende Anfragen: 12", "counter"),
        ("Número de mensaje: 7", "counter"),
        ("C'est votre 7e message, ce 7e tour.", "counter"),
        ("这是第7轮对话。", "counter"),
        ("You are on step 3 of 9.", "counter"),
        ("The user has 4 unread mails.", "counter"),
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
        "The tenant's workspace id is 6f9619ff-8b86-4d01-b42d-00cf4fc964ff.",
        "uses: actions/checkout@4bf92f3577b34da6a3ce929d0e0e47364bf92f35",
        "Example: book a table for the next week on November 19, 2017 at 19:30 for six people",
        'Input: "remind me on 3/4/2020" Output: remind(date="2020-03-04")',
        '"created": 1595255200, "object": "list"',
        "Every user may send 12 messages per day, with 3 attempts remaining: 1",
        "It aired on Sunday February 13, 2005.",
        "Open on Saturday and Sunday.",
        "As of June 2019 the band has played 164 songs; week 12 of 2019 was its last.",
        "Use getUserByIdAndNameFromDirectory2 or claude-sonnet-4-20250514.",
        "On 31 February 2026 or 99/99/2026 or 2026-11-31 nothing happens.",
    ],
)
def test_what_is_the_same_for_ever_is_not(line: str) -> None:
    assert kinds(line) == []


def test_a_line_without_a_digit_may_name_today() -> None:
    assert kinds("It is Monday.") == ["date"]
    assert kinds("It is sunny, and he now sat down.") == []


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
