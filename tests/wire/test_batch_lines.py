"""Result files of batches: every answer found once, however the network cuts it and whatever stands between."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmsaver.wire import batch_lines
from llmsaver.wire.batch_lines import Answered, BatchLines
from llmsaver.wire.retrieval import retrieval

CHAT = {"id": "chatcmpl-1", "object": "chat.completion", "model": "m", "usage": {"prompt_tokens": 3}}


def openai_line(name: str = "batch_req_1", custom: str = "c1", status: Any = 200, body: Any = None) -> dict[str, Any]:
    response = {"status_code": status, "request_id": "req_1", "body": CHAT if body is None else body}
    return {"id": name, "custom_id": custom, "response": response, "error": None}


def messages_line(name: str = "msg_1", custom: str = "c1", kind: str = "succeeded", text: str = "hi") -> dict[str, Any]:
    message: dict[str, Any] = {
        "id": name,
        "type": "message",
        "model": "claude",
        "content": [{"type": "text", "text": text}],
    }
    message["usage"] = {"input_tokens": 5, "output_tokens": 7}
    result: dict[str, Any] = {"type": kind, **({"message": message} if kind == "succeeded" else {})}
    return {"custom_id": custom, "result": result}


def read(content: bytes, sizes: list[int] | None = None, *, whole: bool = True) -> list[Answered]:
    lines, out, at = BatchLines(), list[Answered](), 0
    for size in sizes or []:
        out += lines.feed(content[at : at + size])
        at += size
    out += lines.feed(content[at:])
    return out + lines.flush(whole=whole)


def dumped(*lines: Any, ending: str = "\n", last: bool = True) -> bytes:
    texts = [json.dumps(line) if isinstance(line, dict) else line for line in lines]
    return (ending.join(texts) + (ending if last else "")).encode("utf-8", "surrogatepass")


def test_what_was_answered_is_found() -> None:
    response = {"object": "response", "model": "m", "usage": {"input_tokens": 1}}
    vectors = {"object": "list", "data": [{"object": "embedding", "embedding": [0.1]}], "usage": {"prompt_tokens": 4}}
    legacy = {"object": "text_completion", "usage": {"prompt_tokens": 4}}
    drawn = {"created": 1, "usage": {"input_tokens": 4}}
    found = read(
        dumped(
            openai_line(),
            openai_line("b2", body=response),
            openai_line("b3", body=vectors),
            openai_line("b4", body=legacy),
            openai_line("b5", body=drawn),
            openai_line("b6", body={"surprise": 1}),
        )
    )
    assert [each.dialect for each in found] == ["chat", "responses", "embeddings", "chat", "responses", "chat"]
    assert [each.id for each in found] == ["batch_req_1", "b2", "b3", "b4", "b5", "b6"]
    assert [each.message for each in found[:2]] == [CHAT, response]
    assert read(dumped(messages_line())) == [
        Answered("msg_1", "c1", "messages", messages_line()["result"]["message"]),
    ]


@pytest.mark.parametrize(
    "line",
    [
        openai_line(status=429),
        openai_line(status=500),
        {"id": "b", "custom_id": "c", "response": None, "error": {"code": "batch_expired"}},
        {"id": "b", "custom_id": "c", "response": "?", "error": None},
        openai_line(body={"id": "modr-1", "model": "omni-moderation-latest", "results": []}),
        messages_line(kind="errored"),
        messages_line(kind="expired"),
        messages_line(kind="canceled"),
        {"custom_id": "c", "result": {"type": "succeeded", "message": None}},
    ],
)
def test_what_is_not_billed_is_left_out(line: dict[str, Any]) -> None:
    after = read(dumped(line, openai_line("after")))
    assert [each.id for each in after] == ["after"]


def test_names_are_taken_from_where_they_are() -> None:
    azure = {"custom_id": "c9", "response": {"request_id": "req_9", "status_code": 200, "body": CHAT}, "error": None}
    bare = {"custom_id": "c8", "response": {"status_code": 200, "body": CHAT}}
    nameless = {"custom_id": 7, "response": {"body": {**CHAT, "id": 5}}}
    assert [(each.id, each.custom_id) for each in read(dumped(azure, bare, nameless))] == [
        ("req_9", "c9"),
        ("chatcmpl-1", "c8"),
        ("", ""),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" \r\n\n",
        b"%PDF-1.7\n" + dumped(openai_line()),
        b"[1]\n" + dumped(openai_line()),
        b"{\n" + dumped(openai_line()),
        b'{"a": 1}\n' + dumped(openai_line()),
        dumped({"custom_id": "c", "method": "POST", "url": "/v1/chat/completions", "body": {}}, openai_line()),
        b'{"a": "' + b"x" * 200_000 + b'"}\n' + dumped(openai_line()),
        b" " * 100 + dumped(openai_line()),
        b"\xef\xbb",
        b"\xef\xbb\xbfx" + dumped(openai_line()),
    ],
)
@pytest.mark.parametrize("sizes", [[], [1] * 5, [7, 1, 100, 1]])
def test_other_files_are_none(content: bytes, sizes: list[int]) -> None:
    assert read(content, sizes) == []


def test_a_file_that_is_none_is_not_kept() -> None:
    lines = BatchLines()
    lines.feed(b'{"a": "' + b"x" * 200_000)
    assert lines.over
    assert not lines._parts
    assert lines.feed(dumped(openai_line())) == lines.flush(whole=True) == []


def test_a_byte_order_mark_is_no_content() -> None:
    content = b"\xef\xbb\xbf" + dumped(openai_line())
    assert len(read(content)) == len(read(content, [1] * 20)) == 1


def test_a_line_that_was_cut_short_waits_for_another_day() -> None:
    content = dumped(openai_line("a"), openai_line("b"))
    end = content.index(b"\n") + 1
    assert [each.id for each in read(content[: end + 100], whole=False)] == ["a"]
    assert [each.id for each in read(content[:-1], whole=False)] == ["a", "b"], "all of it is there"


# -- lines that are too long or too deep to be read -------------------------------------------------------------------


def test_a_giant_line_tells_what_was_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_lines, "LONGEST", 1_000_000)
    big = {
        "object": "list",
        "data": ["x" * 3_000_000],
        "model": "text-embedding-3-small",
        "usage": {"prompt_tokens": 9},
    }
    content = dumped(openai_line("big", body=big), openai_line("next"))
    for sizes in ([], [65_536] * 40, [1_000_001]):
        first, second = read(content, sizes)
        assert (first.id, first.custom_id, first.dialect) == ("big", "c1", "embeddings")
        assert first.message == {"object": "list", "model": "text-embedding-3-small", "usage": {"prompt_tokens": 9}}
        assert second.id == "next"
    said = 'she wrote "usage": {"prompt_tokens": 1}, "custom_id": "x" and {'
    long = {**CHAT, "usage": {"prompt_tokens": 11, "details": {"a": 1}}, "text": said + "y" * 2_000_000 + said}
    (chat,) = read(dumped(openai_line(body=long)))
    assert (chat.dialect, chat.message["usage"]) == ("chat", {"prompt_tokens": 11, "details": {"a": 1}})
    (message,) = read(dumped(messages_line(text="z" * 2_000_000)))
    assert (message.dialect, message.message["usage"]) == ("messages", {"input_tokens": 5, "output_tokens": 7})
    assert read(dumped(openai_line(status=429, body=big), messages_line(kind="errored"), "x" * 2_000_000)) == []


def test_a_line_too_deep_to_be_parsed_tells_what_was_used() -> None:
    deep = "[" * 100_000 + "]" * 100_000
    body = f'{{"object":"chat.completion","model":"m","x":{deep},"usage":{{"prompt_tokens":3}}}}'
    line = f'{{"id":"b1","custom_id":"c1","response":{{"status_code":200,"body":{body}}}}}'
    (found,) = read(dumped(line))
    assert found.message == {"object": "chat.completion", "model": "m", "usage": {"prompt_tokens": 3}}
    usage = f'{{"custom_id":"c1","response":{{"status_code":200,"body":{{"usage":{{"a":{deep}}}}}}}}}'
    (vague,) = read(dumped(usage))
    assert vague == Answered("", "c1", "chat", {})


def test_memory_is_bounded_by_the_line() -> None:
    line = dumped(openai_line(body={**CHAT, "text": "x" * 100_000}))
    lines, count = BatchLines(), 0
    tracemalloc.start()
    for _ in range(300):
        count += len(lines.feed(line[:70_000])) + len(lines.feed(line[70_000:]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 300
    assert peak < 2_000_000


# -- any pieces, any neighbours ---------------------------------------------------------------------------------------

texts = st.text(max_size=20) | st.sampled_from(["\ud800", "\\", '"usage": {', "\u2028", "\x85", "\r", "\n"])
good = st.builds(
    lambda i, text, chat: (
        openai_line(f"b{i}", text, body={**CHAT, "text": text}) if chat else messages_line(f"b{i}", text, text=text)
    ),
    st.integers(0, 99),
    texts,
    st.booleans(),
)
garbage = st.sampled_from(
    [
        "",
        " ",
        "\r",
        "null",
        "[]",
        "{",
        '{"custom_id":',
        "\x00",
        '"',
        "nan",
        "{}",
        '{"response": 1}',
        '{"custom_id": "x"}',
    ]
) | st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=30)


@settings(max_examples=300, deadline=None)
@given(
    lines=st.lists(good | garbage, max_size=12),
    ending=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
    sizes=st.lists(st.integers(0, 60), max_size=60),
)
def test_any_pieces_and_any_neighbours(lines: list[Any], ending: str, last: bool, sizes: list[int]) -> None:
    lines = [openai_line("first"), *lines]
    content = dumped(*lines, ending=ending, last=last)
    wanted = [
        line["id"] if "response" in line else line["result"]["message"]["id"]
        for line in lines
        if isinstance(line, dict)
    ]
    found = read(content, sizes)
    assert [each.id for each in found] == wanted
    assert found == read(content)


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=300) | st.just(dumped(openai_line(), messages_line())), data=st.data())
def test_any_bytes(content: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(content)))
    broken = content[:at] + data.draw(st.binary(max_size=5)) + content[at:]
    sizes = data.draw(st.lists(st.integers(0, 40), max_size=20))
    assert read(broken, sizes) == read(broken)


# -- which requests ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "/v1/files/file-1/content", "lines"),
        ("GET", "/openai/files/file-1/content/", "lines"),
        ("GET", "/v1/containers/c/files/f/content", "lines"),
        ("GET", "/v1/messages/batches/b/results", "lines"),
        ("GET", "/v1/responses/resp_1", "run"),
        ("GET", "/openai/v1/responses/resp_1/", "run"),
        ("POST", "/v1/responses/resp_1/cancel", "run"),
        ("GET", "/v1/responses/resp_1/input_items", None),
        ("GET", "/v1/responses", None),
        ("GET", "/v1/files/file-1", None),
        ("GET", "/v1/content", None),
        ("GET", "/v1/evals/e/results", None),
        ("GET", "/v1/models", None),
        ("POST", "/v1/batches/b/cancel", None),
        ("POST", "/v1/responses", None),
        ("DELETE", "/v1/responses/resp_1", None),
    ],
)
def test_what_is_fetched(method: str, path: str, kind: str | None) -> None:
    assert retrieval(method, path) == kind
