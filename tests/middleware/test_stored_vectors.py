"""Embeddings are kept per input: what is known is not sent again, and the rest goes in one call."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

import llmsaver
from llmsaver import CacheMiss
from llmsaver.middleware.stored_vectors import _vectors
from llmsaver.testing import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = "text-embedding-3-small"


@pytest.fixture(params=["sync", "async"])
def embed(shop: Any, request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Make embeddings calls as users do."""
    saver = shop.saver(mode="balanced")

    def call(inputs: Any, **more: Any) -> Any:
        arguments = {"model": MODEL, "input": inputs, **more}
        if request.param == "sync":
            http = httpx2.Client(transport=shop.fake.transport())
            return llmsaver.OpenAI(api_key="k", saver=saver, http_client=http, max_retries=0).embeddings.create(
                **arguments
            )

        async def go() -> Any:
            http = httpx2.AsyncClient(transport=shop.fake.async_transport())
            client = llmsaver.AsyncOpenAI(api_key="k", saver=saver, http_client=http, max_retries=0)
            return await client.embeddings.create(**arguments)

        return asyncio.run(go())

    return call


def sent(shop: Any) -> list[Any]:
    return [json.loads(each.body)["input"] for each in shop.fake.requests]


def test_only_what_is_new_is_sent_and_the_order_stays(shop: Any, embed: Any) -> None:
    first = embed(["red", "green"])
    again = embed(["blue", "green", "black", "red", "blue"])
    assert sent(shop) == [["red", "green"], ["blue", "black"]]
    assert [item.index for item in again.data] == [0, 1, 2, 3, 4]
    by_word = {"red": first.data[0].embedding, "green": first.data[1].embedding}
    assert again.data[1].embedding == by_word["green"]
    assert again.data[3].embedding == by_word["red"]
    assert again.data[0].embedding == again.data[4].embedding != again.data[2].embedding
    assert again.usage.prompt_tokens == shop.fake.billed[1].input_tokens
    entry = shop.first.recent(1)[0]
    assert [(act.action, act.why) for act in entry.layers] == [("part hit", "2 of 5 inputs are stored")]
    assert entry.hit_kind is None
    assert entry.usage.input_tokens == again.usage.prompt_tokens


def test_a_whole_hit_bills_nothing_and_saves_the_part_of_each_input(shop: Any, embed: Any) -> None:
    embed(["a short one", "a somewhat longer one"])
    embed("something else")
    again = embed(["a short one", "something else", "a somewhat longer one"])
    assert len(shop.fake.requests) == 2
    assert again.usage.prompt_tokens == again.usage.total_tokens == 0
    hit, second, first = shop.rows()
    assert (hit["hit_kind"], hit["cost_nano"]) == ("exact", 0)
    assert (
        first["cost_nano"] + second["cost_nano"] - 2 <= hit["baseline_nano"] <= first["cost_nano"] + second["cost_nano"]
    )
    assert again.model == MODEL


def test_a_part_hit_saves_what_its_stored_part_cost(shop: Any, embed: Any) -> None:
    embed(["one two three four five six seven eight"])
    embed(["one two three four five six seven eight", "nine ten"])
    part, whole = shop.rows()
    assert part["baseline_nano"] == part["cost_nano"] + whole["cost_nano"]


def test_forms_and_sizes_are_kept_apart(shop: Any, embed: Any) -> None:
    for more in ({}, {"encoding_format": "float"}, {"dimensions": 8}, {"user": "u"}):
        for _ in range(2):
            found = embed(["red"], **more)
    assert len(shop.fake.requests) == 4
    assert len(embed(["red"], dimensions=8).data[0].embedding) == 8
    assert isinstance(found.data[0].embedding, list)


def test_tokens_are_inputs_too(shop: Any, embed: Any) -> None:
    embed([1, 2, 3])
    embed([[1, 2, 3], [4]])
    assert sent(shop) == [[1, 2, 3], [[4]]]


def test_control_holds_for_vectors(shop: Any, embed: Any) -> None:
    with pytest.raises(CacheMiss, match="of 1 inputs 1 have none"), llmsaver.options(cache="only-if-cached"):
        embed("red")
    with pytest.raises(CacheMiss, match="this input has none"), llmsaver.options(cache="only-if-cached"):
        embed("")
    with llmsaver.options(cache="no-store"):
        embed("red")
    with llmsaver.options(cache={"tags": ["t"]}):
        embed("red")
    with llmsaver.options(cache="no-store"):
        embed(["red", "blue"])
    assert sent(shop) == ["red", "red", ["blue"]]
    with llmsaver.options(cache="refresh"):
        embed("red")
    with llmsaver.options(cache="max-age=0"):
        embed("red")
    assert len(shop.fake.requests) == 5
    with llmsaver.options(tenant="other"):
        embed("red")
    assert len(shop.fake.requests) == 6


def test_a_failure_of_the_rest_is_told(shop: Any, embed: Any) -> None:
    embed(["red"])
    shop.fake.fail("embeddings", [Fault(400), Fault(400)])
    for _ in range(2):
        with pytest.raises(Exception, match="400"):
            embed(["red", "blue"])
    assert len(embed(["red", "blue"]).data) == 2
    assert sent(shop)[1:] == [["blue"]] * 3


@pytest.mark.parametrize("body", [b'{"data": []}', b'{"data": [{"index": 7, "embedding": [1]}]}', b'{"data": [3]}'])
def test_a_server_with_a_form_of_its_own_is_asked_for_everything(shop: Any, embed: Any, body: bytes) -> None:
    embed(["red"], encoding_format="float")
    shop.fake.fail("embeddings", [Fault(body=body, content_type="application/json")])
    assert len(embed(["red", "blue"], encoding_format="float").data) == 2
    assert sent(shop)[1:] == [["blue"], ["red", "blue"]]


def test_what_has_no_whole_vectors_is_not_kept(shop: Any, embed: Any) -> None:
    shop.fake.fail("embeddings", [Fault(body=b'{"data": [{"embedding": []}]}', content_type="application/json")])
    embed(["red"], encoding_format="float")
    assert shop.first.cache.stats()["entries"] == 0


@pytest.mark.parametrize(
    ("message", "count", "vectors"),
    [
        ({"data": [{"index": 1, "embedding": "b"}, {"index": 0, "embedding": "a"}]}, 2, ["a", "b"]),
        ({"data": [{"embedding": [1]}, {"embedding": [2]}]}, 2, [[1], [2]]),
        ({"data": [{"index": 0, "embedding": "a"}, {"index": 0, "embedding": "b"}]}, 2, None),
        ({"data": [{"index": 0, "embedding": 3}]}, 1, None),
        ({}, 0, None),
        (None, 0, None),
    ],
)
def test_vectors_are_found_by_their_index(message: Any, count: int, vectors: Any) -> None:
    assert _vectors(message, count) == vectors
