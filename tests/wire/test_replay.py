"""A stored answer's usage says that its whole input was cached, and its totals stay."""

from typing import Any

import pytest

from llmsaver.wire import DIALECTS
from llmsaver.wire.chat import chat_usage
from llmsaver.wire.messages import messages_usage
from llmsaver.wire.replay import as_cached
from llmsaver.wire.responses import responses_usage

READERS: dict[str, Any] = {"chat": chat_usage, "responses": responses_usage, "messages": messages_usage}
USAGE: dict[str, Any] = {
    "chat": {
        "prompt_tokens": 30,
        "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 7, "audio_tokens": 0},
    },
    "responses": {"input_tokens": 30, "output_tokens": 4, "input_tokens_details": {"cached_tokens": 0}},
    "messages": {
        "input_tokens": 10,
        "output_tokens": 4,
        "cache_read_input_tokens": 12,
        "cache_creation_input_tokens": 8,
        "cache_creation": {"ephemeral_5m_input_tokens": 8},
    },
}


@pytest.mark.parametrize("dialect", USAGE)
def test_all_of_the_input_was_cached(dialect: str) -> None:
    message = {"id": "x", "usage": USAGE[dialect]}
    usage = READERS[dialect](as_cached(dialect, message)["usage"])
    assert (usage.input_tokens, usage.output_tokens) == (30, 4)
    assert (usage.cache_read_tokens, usage.cache_write_tokens) == (30, 0)
    assert message == {"id": "x", "usage": USAGE[dialect]}


@pytest.mark.parametrize("dialect", [*DIALECTS])
@pytest.mark.parametrize("usage", [None, 3, {}, {"prompt_tokens": "many", "input_tokens": -1}])
def test_a_usage_that_says_nothing_is_left(dialect: str, usage: Any) -> None:
    message = {"id": "x", "usage": usage}
    assert as_cached(dialect, message) == message


def test_a_short_usage_gets_no_more_than_it_needs() -> None:
    found = as_cached("messages", {"usage": {"input_tokens": 3, "output_tokens": 1}})
    assert found["usage"] == {"input_tokens": 0, "output_tokens": 1, "cache_read_input_tokens": 3}
    assert as_cached("embeddings", {"usage": {"prompt_tokens": 3}}) == {"usage": {"prompt_tokens": 3}}
