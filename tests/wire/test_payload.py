"""JSON from outside: annotations, counts and bodies."""

from __future__ import annotations

import json
import logging
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.wire import DIALECTS, payload

if TYPE_CHECKING:
    from collections.abc import Mapping

NOTE: dict[str, Any] = {"entry": "e1", "cost_usd": "0.0001", "who": "é"}
DEEP = b"[" * 200_000

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from(["message", "response", "llmsaver", "}", '"', "a"]) | st.text(), values)


@pytest.fixture(autouse=True)
def fresh_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "_warned", set())


@given(objects, st.sampled_from([None, 0, 2]), st.booleans(), st.sampled_from(["", "\n", " \r\n\t"]))
def test_an_annotation_adds_one_key_and_changes_no_other_byte(
    value: dict[str, Any], indent: int | None, ascii_only: bool, end: str
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    try:
        before = (end + text + end).encode()
    except UnicodeEncodeError:
        return
    after = payload.annotate(before, NOTE)
    assert json.loads(after) == {**value, "llmsaver": NOTE}
    added = len(after) - len(before)
    at = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), len(before))
    assert after[:at] + after[at + added :] == before


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"{}", b'{"llmsaver": {"a": 1}}'),
        (b" { } \n", b' { "llmsaver": {"a": 1}} \n'),
        (b'{"a":1}', b'{"a":1, "llmsaver": {"a": 1}}'),
        (b'{"a":1 }\n', b'{"a":1 , "llmsaver": {"a": 1}}\n'),
    ],
)
def test_annotate(before: bytes, after: bytes) -> None:
    assert payload.annotate(before, {"a": 1}) == after
    assert all(dialect.annotate(before, {"a": 1}) == after for dialect in DIALECTS.values())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"{garbage}",
        b'{"a":1',
        b'{"a":1} {"b":2}',
        b'{"a":"\xff"}',
        '{"a":1}'.encode("utf-16"),
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":' + DEEP,
    ],
)
def test_what_is_no_json_object_stays_as_it_is(content: bytes) -> None:
    assert payload.annotate(content, NOTE) == content


@pytest.mark.parametrize("bad", [{"a": Decimal(1)}, {"a": float("nan")}, {"a": object()}, {("k",): 1}])
def test_a_note_that_is_not_json_is_left_out_and_said_once(
    bad: Mapping[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "llmsaver"):
        assert payload.annotate(b"{}", bad) == b"{}"
        assert payload.annotate(b"{}", bad) == b"{}"
    assert [record.message for record in caplog.records] == ["llmsaver: an answer could not be annotated"]


@given(objects, st.sampled_from(["message", "response"]), objects, st.sampled_from([None, 1]))
def test_splice_into_a_member(value: dict[str, Any], member: str, inner: dict[str, Any], indent: int | None) -> None:
    text = json.dumps({**value, member: inner}, indent=indent)
    spliced = payload.splice(text, "1", member)
    assert spliced is not None
    assert json.loads(spliced) == {**value, member: {**inner, "llmsaver": 1}}


def test_splice_takes_the_last_of_two_members_as_parsers_do() -> None:
    assert payload.splice('{"m":{"a":1},"m":{},"z":"}"}', "1", "m") == '{"m":{"a":1},"m":{"llmsaver": 1},"z":"}"}'


@pytest.mark.parametrize("text", ["", "[]", '{"m":1}', '{"n":{}}', '{"m":'])
def test_splice_needs_the_object(text: str) -> None:
    assert payload.splice(text, "1", "m") is None


def test_splice_gives_up_where_nesting_leaves_no_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_deep(*_: object) -> int:
        raise RecursionError

    monkeypatch.setattr(payload, "_member_end", too_deep)
    assert payload.splice('{"m":{}}', "1", "m") is None


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (0, 0),
        (7, 7),
        (10**12, 10**12),
        (10**12 + 1, None),
        (-1, None),
        (True, None),
        (1.0, None),
        ("1", None),
        (None, None),
    ],
)
def test_count(value: object, count: int | None) -> None:
    assert payload.count(value) == count


@given(values, values, values, values, values)
def test_usage_is_sane_or_none(inputs: object, outputs: object, read: object, written: object, thought: object) -> None:
    usage = payload.usage_of({}, inputs, outputs, read=read, written=written, reasoning=thought)
    if usage is None:
        assert payload.count(inputs) is None or payload.count(outputs) is None
    else:
        assert 0 <= usage.cache_read_tokens <= usage.input_tokens
        assert 0 <= usage.cache_write_tokens <= usage.input_tokens
        assert 0 <= usage.reasoning_tokens <= usage.output_tokens


BODIES = {
    "chat": {"usage": {"prompt_tokens": 5, "completion_tokens": 2}},
    "responses": {"usage": {"input_tokens": 5, "output_tokens": 2}},
    "messages": {"usage": {"input_tokens": 5, "output_tokens": 2}},
    "embeddings": {"usage": {"prompt_tokens": 5, "total_tokens": 5}},
}


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_body_in_pieces(name: str, step: int) -> None:
    body = json.dumps(BODIES[name]).encode()
    meter = DIALECTS[name].meter(streamed=False)
    assert (meter.finished, meter.usage(), meter.message()) == (False, None, None)
    for start in range(0, len(body), step):
        assert meter.feed(body[start : start + step]) is False
        if start == 0 and step == 1:
            assert meter.message() is None
    usage = meter.usage()
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (5, 0 if name == "embeddings" else 2)
    assert usage.raw == BODIES[name]["usage"]
    assert meter.finished
    assert meter.message() == BODIES[name]
    assert meter.message() is meter.message()


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\0",
        b"\xff\xfe{}",
        b"[1]",
        b'"usage"',
        b'{"usage": NaN}',
        b'{"usage": {"prompt_tokens": NaN, "completion_tokens": 1e999, "input_tokens": [], "output_tokens": {}}}',
        b'{"usage":' + b"9" * 5000 + b"}",
        b'{"type":"error","error":"\\ud800","usage":' + DEEP,
    ],
)
def test_nonsense_raises_nothing(name: str, streamed: bool, body: bytes) -> None:
    dialect = DIALECTS[name]
    for fed in (body, b"data: " + body + b"\n\n", b"event: error\ndata: " + body + b"\n\n"):
        meter = dialect.meter(streamed)
        meter.feed(fed)
        assert meter.usage() is None
        assert meter.finished in (True, False)
        meter.message()
        shaper = dialect.shaper(hide_usage=True, note=lambda: NOTE)
        assert shaper.feed(fed) + shaper.flush() == fed
