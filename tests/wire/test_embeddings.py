"""The embeddings dialect: input only, never streamed."""

from __future__ import annotations

import json

from llmsaver.core.usage import Usage
from llmsaver.wire import DIALECTS

EMBEDDINGS = DIALECTS["embeddings"]


def test_usage_is_input_only() -> None:
    usage = {"prompt_tokens": 8, "total_tokens": 8}
    meter = EMBEDDINGS.meter(streamed=False)
    meter.feed(json.dumps({"object": "list", "data": [], "model": "m", "usage": usage}).encode())
    assert meter.usage() == Usage(8, 0, raw=usage)


def test_there_is_no_stream_of_embeddings() -> None:
    assert list(EMBEDDINGS.replay({"data": []}, {"stream": True})) == []
