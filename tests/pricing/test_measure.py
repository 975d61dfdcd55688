"""Requests are measured in bytes, and what cannot be is named."""

from typing import Any

import pytest

from llmsaver.pricing.measure import measure, text_bytes

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="


def said(*parts: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": list(parts)}]}


def test_every_byte_of_text_counts() -> None:
    short = measure({"messages": [{"role": "user", "content": "hello"}]}, "chat")
    long = measure({"messages": [{"role": "user", "content": "hello" + "é日" * 100}]}, "chat")
    assert long.text_tokens - short.text_tokens == 500
    assert short.tokens > 5
    assert text_bytes("\ud800") == 3


def test_each_message_and_tool_has_its_overhead() -> None:
    one = measure({"messages": [{"role": "user", "content": ""}]}, "chat").tokens
    two = measure({"messages": [{"role": "user", "content": ""}] * 2}, "chat").tokens
    assert two - one >= 16
    tool = {"type": "function", "function": {"name": "f", "description": "line\nline", "parameters": {}}}
    assert measure({"messages": [], "tools": [tool]}, "chat").tokens > 1024
    assert not measure({"messages": [], "tools": [tool, {"name": "bare", "input_schema": {}}]}, "messages").reasons
    typed = measure({"messages": [], "tools": [{"type": "bash_20250124", "name": "bash"}]}, "messages")
    assert typed.tokens > 1536
    assert not typed.reasons


def test_objects_shown_as_json_count_their_escapes() -> None:
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {"text": "é\n" * 100}}
    assert measure(said(use), "messages").text_tokens > 800
    assert measure({"tools": [{"type": "function", "x": object()}]}, "chat").reasons == ["not-json"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"previous_response_id": "r"}, "previous-response"),
        ({"conversation": "c"}, "conversation"),
        ({"prompt": {"id": "p"}}, "stored-prompt"),
        ({"background": True}, "background"),
        ({"mcp_servers": [{}]}, "mcp"),
        ({"container": "c"}, "container"),
        ({"fallbacks": [{}]}, "fallbacks"),
        ({"context_management": {"edits": [{}]}}, "context-management"),
        ({"web_search_options": {"x": 1}}, "server-tool:web_search"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "server-tool:web_search_20250305"),
        ({"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}, "server-tool:code_interpreter"),
        ({"tools": [{"type": "mcp", "server_url": "u"}]}, "mcp"),
        ({"tools": [{"type": "mcp_toolset"}]}, "mcp"),
        (said({"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}), "url-image"),
        (said({"type": "input_image", "image_url": "https://x.test/a.png"}), "url-image"),
        (said({"type": "input_image", "file_id": "f"}), "file"),
        (said({"type": "image", "source": {"type": "url", "url": "u"}}), "url-image"),
        (said({"type": "image", "source": {"type": "file", "file_id": "f"}}), "file"),
        (said({"type": "document", "source": {"type": "url", "url": "u"}}), "url-document"),
        (said({"type": "document", "source": "odd"}), "file"),
        (said({"type": "input_file", "file_url": "u"}), "url-file"),
        (said({"type": "file", "file": {"file_id": "f"}}), "file"),
        (said({"type": "input_audio", "input_audio": {}}), "audio"),
        (said({"type": "input_audio"}), "audio"),
        (said({"type": "video_url", "video_url": {"url": "u"}}), "video_url"),
        (said({"type": "item_reference", "id": "i"}), "item_reference"),
        (said({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}), "image"),
    ],
)
def test_what_cannot_be_bounded_is_named(body: dict[str, Any], reason: str) -> None:
    assert reason in measure(body, "responses").reasons


def test_media_that_can_be_bounded() -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    found = measure(said(image), "chat", "openai", "gpt-6-astra")
    assert (found.reasons, found.image_tokens) == ([], 3800)
    source = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    assert measure(said(source), "messages", "anthropic", "claude-opus-5").image_tokens == 5000
    spoken = {"type": "input_audio", "input_audio": {"data": "A" * 4000, "format": "wav"}}
    assert measure(said(spoken), "chat").audio_tokens == 3064
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}}
    assert measure(said(pdf), "messages").windowed
    assert measure(said({"type": "file", "file": {"file_data": "data:...", "filename": "a.pdf"}}), "chat").windowed
    text = {"type": "document", "source": {"type": "text", "data": "x" * 999}, "title": "t"}
    told = measure(said(text), "messages")
    assert told.text_tokens > 999
    assert not told.windowed
    parts = {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "y" * 500}]}}
    assert measure(said(parts), "messages").text_tokens > 500


def test_cache_lifetimes_are_found_wherever_they_are() -> None:
    body = {
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        "tools": [{"name": "f", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "prompt_cache_options": {"ttl": "12h"},
    }
    assert measure(body, "messages").lifetimes == {"5m", "1h", "12h"}


def test_embeddings_count_texts_and_token_numbers() -> None:
    def tokens(value: Any) -> int:
        return measure({"model": "m", "input": value}, "embeddings").text - measure({"model": "m"}, "embeddings").text

    assert tokens("abc") >= 3
    assert tokens(["abc", "de"]) == 5
    assert tokens([1, 2, 3]) == 3
    assert tokens([[1, 2], [3]]) == 3


def test_nonsense_is_measured_and_never_raises() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    for body in ({"messages": deep}, {"messages": None}, {"messages": {"a": 1.5}}, {"tools": 7}, {"tools": [7]}):
        assert measure(body, "chat").tokens > 0
    assert measure({"tools": [{"type": "function", "x": deep}]}, "chat").reasons == ["not-json"]
