"""The fake's tokens, ids and JSON."""

import json

from hypothesis import given
from hypothesis import strategies as st

from llmsaver.testing.text import count, deltas, dumps, identifier, pieces


@given(st.text())
def test_tokens_join_to_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert count(text) == len(pieces(text))
    assert "".join(part for part, _ in deltas(text)) == text
    assert sum(tokens for _, tokens in deltas(text)) == count(text)


def test_long_texts_stream_in_a_thousand_events() -> None:
    parts = deltas("word " * 50_000)
    assert len(parts) <= 1000
    assert sum(tokens for _, tokens in parts) == count("word " * 50_000)


def test_json_is_utf8_unless_it_cannot_be() -> None:
    assert dumps({"a": "é"}) == '{"a":"é"}'.encode()
    assert json.loads(dumps("\ud83d")) == "\ud83d"


def test_ids_depend_on_their_seed_only() -> None:
    assert identifier("msg_01", 1, "x") == identifier("msg_01", 1, "x") != identifier("msg_01", 2, "x")
    assert identifier("x-", 1, length=9).startswith("x-")
    assert len(identifier("x-", 1, length=9)) == 11
