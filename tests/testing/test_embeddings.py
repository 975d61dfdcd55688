"""Embeddings: deterministic, of length one, and closer for texts that share words."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from openai import OpenAI

from llmsaver.testing import FakeProvider
from llmsaver.testing.embeddings import vector


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_the_sdk_reads_both_encodings(openai_of: Callable[..., OpenAI]) -> None:
    fake = FakeProvider()
    client = openai_of(fake)
    packed = client.embeddings.create(model="m", input=["red fox", "blue whale"], dimensions=64)
    floats = client.embeddings.create(model="m", input="red fox", dimensions=64, encoding_format="float")
    assert packed.data[0].embedding == pytest.approx(floats.data[0].embedding, abs=1e-6)
    assert [item.index for item in packed.data] == [0, 1]
    assert packed.usage.prompt_tokens == 4
    assert [(bill.input_tokens, bill.output_tokens, bill.state) for bill in fake.billed] == [
        (4, 0, "complete"),
        (2, 0, "complete"),
    ]
    assert len(client.embeddings.create(model="m", input="x").data[0].embedding) == 1536


@pytest.mark.parametrize(("given", "vectors", "tokens"), [([1, 2, 3], 1, 3), ([[1, 2], [3]], 2, 3)])
def test_token_ids(openai_of: Callable[..., OpenAI], given: Any, vectors: int, tokens: int) -> None:
    made = openai_of(FakeProvider()).embeddings.create(model="m", input=given)
    assert (len(made.data), made.usage.total_tokens) == (vectors, tokens)


def test_shared_words_are_close() -> None:
    fox = vector("the quick brown fox", 512)
    assert math.isclose(cosine(fox, fox), 1.0)
    assert cosine(fox, vector("a quick brown fox", 512)) > 0.5 > cosine(fox, vector("stock prices fell", 512))
    assert any(vector("", 8))
