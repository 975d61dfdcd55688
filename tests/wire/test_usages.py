"""The usage of an answer by its dialect; what each says is tried with the dialect."""

from __future__ import annotations

import pytest

from llmsaver.wire.usages import usage_of

SAID = {
    "chat": {"prompt_tokens": 3, "completion_tokens": 2},
    "responses": {"input_tokens": 3, "output_tokens": 2},
    "messages": {"input_tokens": 3, "output_tokens": 2},
    "embeddings": {"prompt_tokens": 3},
}


@pytest.mark.parametrize("dialect", SAID)
def test_each_dialect_has_words_of_its_own_for_tokens(dialect: str) -> None:
    found = usage_of(dialect, SAID[dialect])
    assert found is not None
    assert (found.input_tokens, found.output_tokens) == (3, 0 if dialect == "embeddings" else 2)


@pytest.mark.parametrize("raw", [None, "many", 3, [1]])
def test_what_is_no_object_says_nothing(raw: object) -> None:
    assert usage_of("chat", raw) is None
