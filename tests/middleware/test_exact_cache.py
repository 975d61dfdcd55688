"""The exact cache through the real SDKs: what is served, what is kept, what that saves, and what it never does."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import llmsaver
from llmsaver import CacheMiss, ConfigurationError, ExactCache, Saver
from llmsaver.core.entry import Entry
from llmsaver.core.request import Request
from llmsaver.core.response import Response
from llmsaver.core.runtime import drive
from llmsaver.testing import Answer, Fault, ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def balanced(shop: Any) -> Any:
    return shop.saver(mode="balanced")


def values_of(shop: Any, way: Any, **more: Any) -> list[Any]:
    """Make a call and return what the SDK gave: one value, or its events."""
    saver = more.pop("saver", None) or shop.first
    options = more.pop("client", {})
    create = {**way.arguments(more.pop("prompt", "hi")), **more, **({"stream": True} if way.stream else {})}
    client = shop.client(way, saver, **options)  # left open, as an application's is: a refresh comes later
    if not way.asynchronous:
        answer = shop.resource(way, client).create(**create)
        return list(answer) if way.stream else [answer]

    async def go() -> list[Any]:
        answer = await shop.resource(way, client).create(**create)
        return [event async for event in answer] if way.stream else [answer]

    return asyncio.run(go())


def text_of(way: Any, values: list[Any]) -> str:
    last = values[-1]
    if way.dialect == "chat":
        if way.stream:
            return "".join(choice.delta.content or "" for chunk in values for choice in chunk.choices)
        return str(last.choices[0].message.content)
    if way.dialect == "responses":
        return str((last.response if way.stream else last).output_text)
    if way.stream:
        return "".join(getattr(each.delta, "text", "") for each in values if each.type == "content_block_delta")
    return str(last.content[0].text)


def usage_of(way: Any, values: list[Any]) -> Any:
    last = values[-1]
    if way.dialect == "chat":
        return last.usage
    if way.dialect == "responses":
        return (last.response if way.stream else last).usage
    return next(each.message.usage for each in values if each.type == "message_start") if way.stream else last.usage


class TestReplay:
    @pytest.mark.parametrize("first", ["as a stream", "whole"])
    def test_an_answer_serves_both_forms_in_its_dialect(
        self, shop: Any, balanced: Any, way: Any, way_of: Any, first: str
    ) -> None:
        before = way_of(way.dialect, asynchronous=way.asynchronous, stream=first == "as a stream")
        told = text_of(before, values_of(shop, before))
        values = values_of(shop, way)
        assert text_of(way, values) == told == "one two three four five six"
        assert shop.fake.calls == 1
        usage = usage_of(way, values)
        if way.dialect == "messages":
            assert usage.input_tokens == 0
            assert usage.cache_read_input_tokens > 0
        elif way.dialect == "responses":
            assert usage.input_tokens_details.cached_tokens == usage.input_tokens > 0
        elif not way.stream:
            assert usage.prompt_tokens_details.cached_tokens == usage.prompt_tokens > 0
        else:
            assert usage is None  # nobody asked for it
        assert balanced.recent(1)[0].hit_kind == "exact"

    def test_a_replayed_stream_has_the_events_of_the_first(self, shop: Any, balanced: Any, stream_way: Any) -> None:
        first, again = values_of(shop, stream_way), values_of(shop, stream_way)
        assert shop.fake.calls == 1
        kinds = [[getattr(each, "type", "chunk") for each in values] for values in (first, again)]
        assert sorted(set(kinds[0])) == sorted(set(kinds[1]))
        assert (kinds[0][0], kinds[0][-1]) == (kinds[1][0], kinds[1][-1])
        assert balanced.recent(1)[0].hit_kind == "exact"

    def test_a_streams_usage_comes_where_it_is_asked_for(self, shop: Any, balanced: Any, way_of: Any) -> None:
        way = way_of("chat", stream=True)
        for _ in range(2):
            values = values_of(shop, way, stream_options={"include_usage": True})
        assert values[-1].usage.prompt_tokens_details.cached_tokens == values[-1].usage.prompt_tokens
        assert balanced.recent(1)[0].hit_kind == "exact"

    def test_the_note_says_what_happened(self, shop: Any, balanced: Any, way: Any) -> None:
        for _ in range(2):
            values_of(shop, way, client={"annotate": True})
        entry = balanced.recent(1)[0]
        assert [(act.name, act.action) for act in entry.layers] == [("exact cache", "hit")]
        assert re.fullmatch(r"stored \d+ s ago", entry.layers[0].why)

    def test_tool_calls_are_replayed_for_the_same_request_only(self, shop: Any, balanced: Any, plain_way: Any) -> None:
        shop.fake.answer = Answer(tool_calls=(ToolCall("look_up", {"a": 1}),))
        schema = {"type": "object", "properties": {}}
        tool: dict[str, Any] = {
            "chat": {"type": "function", "function": {"name": "look_up", "parameters": schema}},
            "responses": {"type": "function", "name": "look_up", "parameters": schema},
            "messages": {"name": "look_up", "input_schema": schema},
        }[plain_way.dialect]
        first = values_of(shop, plain_way, tools=[tool])[0]
        again = values_of(shop, plain_way, tools=[tool])[0]
        assert shop.fake.calls == 1
        assert "look_up" in again.model_dump_json()
        assert first.id == again.id
        assert balanced.recent(1)[0].hit_kind == "exact"
        values_of(shop, plain_way, tools=[tool], prompt="other")
        assert shop.fake.calls == 2


class TestMoney:
    def test_a_hit_costs_nothing_and_saves_what_the_first_cost(
        self, shop: Any, balanced: Any, way: Any, nano_of: Any
    ) -> None:
        values_of(shop, way)
        values_of(shop, way)
        hit, first = shop.rows()
        cost = nano_of(shop.fake.billed[0])
        assert (first["cost_nano"], first["baseline_nano"], first["hit"], first["hit_kind"]) == (cost, cost, 0, None)
        assert (hit["cost_nano"], hit["baseline_nano"], hit["hit"], hit["hit_kind"]) == (0, cost, 1, "exact")
        assert (hit["estimated"], hit["unpriced"], hit["input_tokens"]) == (0, 0, None)
        assert hit["model_answered"] == first["model_answered"]
        assert hit["status"] == 200
        stats = balanced.cache.stats()
        assert (stats["hits"], stats["saved_nano"]) == (1, cost)

    def test_a_hit_is_free_even_when_a_budget_is_spent(self, shop: Any, plain_way: Any) -> None:
        saver = shop.saver(
            mode="balanced", budgets=[{"name": "all", "scope": "organisation", "calls": 1, "per": "day"}]
        )
        values_of(shop, plain_way)
        values_of(shop, plain_way)
        with pytest.raises(llmsaver.BudgetExceeded):
            values_of(shop, plain_way, prompt="other")
        assert saver.recent(2)[1].hit_kind == "exact"

    def test_what_has_no_price_saves_an_unknown_amount(self, shop: Any, balanced: Any, plain_way: Any) -> None:
        for _ in range(2):
            values_of(shop, plain_way, model="no-such-model-9")
        entry = balanced.recent(1)[0]
        assert (entry.hit_kind, entry.cost_usd, entry.saved_usd) == ("exact", "0", None)


class TestKept:
    @pytest.mark.parametrize("reply", [Answer("cut", finish="length"), Fault(status=500), Fault(status=429)])
    def test_what_is_no_good_answer_is_asked_for_again(self, shop: Any, balanced: Any, way: Any, reply: Any) -> None:
        shop.fake.script([reply])
        for _ in range(2):
            try:
                values_of(shop, way)
            except Exception as error:  # noqa: BLE001 - either SDK's, for a fault
                assert not isinstance(error, llmsaver.LLMSaverError)  # noqa: PT017 - it must not be ours
        assert shop.fake.calls == 2
        values_of(shop, way)
        assert shop.fake.calls == 2
        assert balanced.recent(1)[0].hit_kind == "exact"

    def test_half_a_stream_is_not_kept(self, shop: Any, balanced: Any, stream_way: Any) -> None:
        if stream_way.asynchronous:

            async def go() -> None:
                async with shop.client(stream_way, balanced) as client:
                    await shop.aconsume(stream_way, client, stream_way.arguments(), 1)

            asyncio.run(go())
        else:
            with shop.client(stream_way, balanced) as client:
                shop.consume(stream_way, client, stream_way.arguments(), 1)
        values_of(shop, stream_way)
        assert shop.fake.calls == 2

    def test_deterministic_calls_only(self, shop: Any, plain_way: Any) -> None:
        saver = shop.saver(stack=[ExactCache(when="deterministic"), ...])
        for _ in range(2):
            values_of(shop, plain_way, saver=saver)
        assert shop.fake.calls == 2
        if plain_way.dialect == "chat":
            for _ in range(2):
                values_of(shop, plain_way, saver=saver, model="gpt-4o-mini", temperature=0)
            assert shop.fake.calls == 3

    def test_an_answer_is_kept_across_programs(self, shop: Any, balanced: Any, plain_way: Any) -> None:
        values_of(shop, plain_way)
        balanced.close()
        other = shop.saver(mode="balanced")
        values_of(shop, plain_way, saver=other)
        assert shop.fake.calls == 1
        assert other.recent(1)[0].hit_kind == "exact"

    def test_it_ends_with_its_ttl_however_often_it_is_served(self, shop: Any, way_of: Any) -> None:
        saver = shop.saver(stack=[ExactCache(ttl=3_600), ...])
        way = way_of("chat")
        for _ in range(5):
            values_of(shop, way, saver=saver)
        assert shop.fake.calls == 1
        for stored in [saver.cache.get(each["key"]) for each in saver.cache.export()]:
            assert stored.expires_at == stored.created_at + 3_600
            stored.created_at, stored.expires_at, stored.drop_at = (stored.created_at - 2,) * 3
        values_of(shop, way, saver=saver)
        assert shop.fake.calls == 2


class TestApart:
    @pytest.mark.parametrize("other", [{"client": {"api_key": "sk-other"}}, {"prompt": "Hi"}])
    def test_another_account_or_text_is_another_call(self, shop: Any, balanced: Any, way: Any, other: Any) -> None:
        values_of(shop, way)
        values_of(shop, way, **other)
        assert shop.fake.calls == 2
        assert balanced.recent(1)[0].hit_kind is None

    def test_tenants_never_share(self, shop: Any, balanced: Any, plain_way: Any) -> None:
        for tenant in ("a", "b", "a"):
            with llmsaver.options(tenant=tenant):
                values_of(shop, plain_way)
        assert shop.fake.calls == 2
        assert balanced.cache.invalidate(tenant="a") == 1

    def test_not_even_where_a_store_says_otherwise(self, shop: Any, balanced: Any, way_of: Any) -> None:
        values_of(shop, way_of("chat"))
        balanced.cache.drain()
        balanced.cache.memory.clear()
        with sqlite3.connect(shop.path.with_name("cache.db")) as connection:
            connection.execute("UPDATE cache_entries SET tenant = ?", (json.dumps("other"),))
        connection.close()
        values_of(shop, way_of("chat"))
        assert shop.fake.calls == 2

    def test_a_layer_beneath_that_changes_calls_has_answers_of_its_own(self, shop: Any, way_of: Any) -> None:
        async def shorten(request: Request, call_next: Any) -> Response:
            answer: Response = await call_next(request)
            return answer

        for stack in ([ExactCache(), ...], [ExactCache(), shorten, ...]):
            values_of(shop, way_of("chat"), saver=shop.saver(stack=stack))
        assert shop.fake.calls == 2

    def test_headers_and_queries_count(self, shop: Any, balanced: Any, way_of: Any) -> None:
        way = way_of("chat")
        for more in ({}, {"extra_headers": {"x-route": "b"}}, {"extra_query": {"api-version": "2"}}):
            values_of(shop, way, **more)
        assert shop.fake.calls == 3
        assert balanced.cache.stats()["entries"] == 3


class TestControl:
    def test_no_cache_wants_its_own_and_leaves_the_stored(self, shop: Any, balanced: Any, plain_way: Any) -> None:
        shop.fake.script([Answer("first"), Answer("second")])
        values_of(shop, plain_way)
        values = values_of(shop, plain_way, extra_body={"llmsaver": {"cache": "no-cache"}})
        assert text_of(plain_way, values) == "second"
        assert text_of(plain_way, values_of(shop, plain_way)) == "first"
        assert balanced.recent(1)[0].hit_kind == "exact"

    def test_no_store_may_be_served_but_keeps_nothing(self, shop: Any, balanced: Any, plain_way: Any) -> None:
        no_store = {"extra_headers": {"X-LLMSaver-Cache": "no-store"}}
        values_of(shop, plain_way, **no_store)
        values_of(shop, plain_way)
        assert shop.fake.calls == 2
        values_of(shop, plain_way, **no_store)
        assert shop.fake.calls == 2
        assert balanced.recent(1)[0].hit_kind == "exact"

    def test_refresh_replaces_what_is_stored(self, shop: Any, balanced: Any, way: Any) -> None:
        shop.fake.script([Answer("first"), Answer("second")])
        values_of(shop, way)
        with llmsaver.options(cache="refresh"):
            assert text_of(way, values_of(shop, way)) == "second"
        assert text_of(way, values_of(shop, way)) == "second"
        assert balanced.recent(1)[0].hit_kind == "exact"

    def test_both_at_once_pass_every_cache(self, shop: Any, balanced: Any, plain_way: Any) -> None:
        values_of(shop, plain_way, extra_body={"llmsaver": {"cache": "no-cache, no-store"}})
        assert balanced.cache.stats()["entries"] == 0

    def test_only_if_cached_never_leaves(self, shop: Any, balanced: Any, way: Any) -> None:
        only: Any = {"extra_body": {"llmsaver": {"cache": "only-if-cached"}}}
        with pytest.raises(CacheMiss, match=r"there is none under [0-9a-f]{32}") as caught:
            values_of(shop, way, **only)
        assert caught.value.key is not None
        assert shop.fake.calls == 0
        values_of(shop, way)
        assert text_of(way, values_of(shop, way, **only)) == "one two three four five six"
        assert balanced.cache.inspect(caught.value.key) is not None

    def test_only_if_cached_for_a_call_that_cannot_be(self, shop: Any, balanced: Any, way_of: Any) -> None:
        with pytest.raises(CacheMiss, match="run at the provider"), llmsaver.options(cache="only-if-cached"):
            values_of(shop, way_of("responses"), tools=[{"type": "web_search"}])
        assert balanced.recent(1)[0].error is not None
        assert shop.fake.calls == 0

    def test_what_is_too_old_for_a_caller_is_replaced(self, shop: Any, balanced: Any, plain_way: Any) -> None:
        values_of(shop, plain_way)
        with llmsaver.options(cache={"max_age": 0}):
            time.sleep(0.01)
            values_of(shop, plain_way)
        with llmsaver.options(cache="max-age=60"):
            values_of(shop, plain_way)
        assert shop.fake.calls == 2
        assert balanced.recent(1)[0].hit_kind == "exact"

    def test_tags_are_what_invalidate_finds(self, shop: Any, balanced: Any, plain_way: Any) -> None:
        values_of(shop, plain_way, extra_body={"llmsaver": {"cache": {"tags": ["prices-v3"]}}})
        assert balanced.cache.invalidate(tag="prices-v2") == 0
        assert balanced.cache.invalidate(tag="prices-v3") == 1
        values_of(shop, plain_way)
        assert shop.fake.calls == 2

    def test_what_cannot_be_meant_is_refused_before_anything_is_sent(self, shop: Any, balanced: Any, way: Any) -> None:
        with pytest.raises(ConfigurationError, match='write "no-cache"'):
            values_of(shop, way, extra_body={"llmsaver": {"cache": "sometimes"}})
        assert shop.fake.calls == 0
        assert not balanced.bypassed


class TestStale:
    def test_a_stale_answer_is_served_while_a_new_one_is_fetched(self, shop: Any, way: Any) -> None:
        shop.fake.script([Answer("first"), Answer("second")])
        saver = shop.saver(stack=[ExactCache(ttl=0.05, stale="1h"), ...])
        values_of(shop, way, saver=saver)
        time.sleep(0.06)
        assert text_of(way, values_of(shop, way, saver=saver)) == "first"
        until = time.monotonic() + 60
        while shop.fake.calls < 2 and time.monotonic() < until:
            time.sleep(0.01)
        saver.background.drain()
        saver.cache.drain()
        assert text_of(way, values_of(shop, way, saver=saver)) == "second"
        saver.background.drain()
        refreshes = [row for row in shop.rows() if row["feature"] == "cache-refresh"]
        assert refreshes
        assert refreshes[-1]["cost_nano"] > 0

    def test_one_of_those_who_get_it_fetches(self, shop: Any, way_of: Any) -> None:
        way, go = way_of("chat"), threading.Event()
        saver = shop.saver(stack=[ExactCache(ttl=0.01, stale="1h"), ...])
        values_of(shop, way, saver=saver)
        time.sleep(0.02)
        saver.background.submit(lambda: go.wait(60))
        for _ in range(5):
            values_of(shop, way, saver=saver)
        assert shop.fake.calls == 1
        go.set()
        saver.background.drain()
        assert shop.fake.calls == 2

    def test_where_nothing_can_fetch_it_is_not_served(self, balanced: Any) -> None:
        layer = ExactCache(ttl=0.01, stale="1h")
        layer.use_caches(balanced.cache, [])
        message = {"choices": [{"finish_reason": "stop", "message": {"content": "x"}}]}

        async def upstream(_: Request) -> Response:
            calls.append(1)
            return Response.of(message)

        calls: list[int] = []
        for _ in range(2):
            body = {"model": "m"}
            request = Request("chat", body, "https://x.test/", Entry("chat", "m"), balanced.sync_runtime)
            drive(layer(request, upstream))
            time.sleep(0.02)
        assert len(calls) == 2

    def test_a_refresh_that_fails_leaves_the_old(self, shop: Any, way_of: Any) -> None:
        saver = shop.saver(stack=[ExactCache(ttl=0.01, stale="1h"), ...])
        way = way_of("chat")
        shop.fake.script([Answer("first"), Answer("cut", finish="length"), Answer("third")])
        values_of(shop, way, saver=saver)
        time.sleep(0.02)
        for _ in range(2):
            assert text_of(way, values_of(shop, way, saver=saver)) == "first"
            saver.background.drain()
        saver.cache.drain()
        assert text_of(way, values_of(shop, way, saver=saver)) == "third"


class TestRobust:
    def test_a_store_that_cannot_be_used_costs_nobody_a_call(
        self, shop: Any, tmp_path: Path, way: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "file").touch()
        saver = shop.saver(mode="balanced", cache=str(tmp_path / "file" / "cache.db"))
        values_of(shop, way)
        assert text_of(way, values_of(shop, way)) == "one two three four five six"
        assert saver.cache.counts["failed"] >= 1
        assert caplog.text.count("the cache cannot be used") == 1

    def test_a_store_of_a_later_version_costs_nobody_a_call(
        self, shop: Any, balanced: Any, plain_way: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        values_of(shop, plain_way)
        balanced.close()
        with sqlite3.connect(shop.path.with_name("cache.db")) as connection:
            connection.execute("UPDATE cache_meta SET value = '9' WHERE key = 'schema'")
        connection.close()
        values_of(shop, plain_way, saver=shop.saver(mode="balanced"))
        assert shop.fake.calls == 2
        assert "upgrade llmsaver" in caplog.text

    def test_a_broken_row_is_dropped(self, shop: Any, balanced: Any, plain_way: Any) -> None:
        values_of(shop, plain_way)
        balanced.cache.drain()
        key = next(balanced.cache.export())["key"]
        stored = balanced.cache.get(key)
        stored.body, stored._content = b"{", None
        values_of(shop, plain_way)
        assert shop.fake.calls == 2
        values_of(shop, plain_way)
        assert shop.fake.calls == 2

    @pytest.mark.parametrize(
        "prompt", ["\0", "\U0001f600" * 100, "x" * 1_000_000, "a\ud800b"], ids=["NUL", "emoji", "long", "lone"]
    )
    def test_odd_prompts_are_kept_like_others(self, shop: Any, balanced: Any, prompt: str) -> None:
        body = json.dumps({"model": "gpt-5-mini", "messages": [{"role": "user", "content": prompt}]})
        headers = {"authorization": "Bearer k", "content-type": "application/json"}
        with llmsaver.http_client(transport=shop.fake.transport(), saver=balanced) as client:
            for _ in range(2):
                answer = client.post("https://api.openai.com/v1/chat/completions", content=body, headers=headers)
                assert answer.status_code == 200, answer.text
        assert shop.fake.calls == 1
        assert balanced.recent(1)[0].hit_kind == "exact"

    def test_hits_can_take_as_long_as_the_answer_did(self, shop: Any, way_of: Any) -> None:
        shop.fake.delivery = replace(shop.fake.delivery, delay=0.1)
        saver = shop.saver(stack=[ExactCache(hide_hits=True), ...])
        values_of(shop, way_of("chat"), saver=saver)
        began = time.monotonic()
        values_of(shop, way_of("chat"), saver=saver)
        assert time.monotonic() - began >= 0.09
        assert shop.fake.calls == 1


class TestConfiguration:
    def test_balanced_and_max_have_it_and_safe_has_not(self, shop: Any) -> None:
        names = {mode: [getattr(x, "name", "") for x in shop.saver(mode=mode).layers] for mode in ("safe", "balanced")}
        assert names["safe"] == ["record", "prompt cache", "budget"]
        assert names["balanced"] == ["record", "exact cache", "compress", "prompt cache", "budget"]
        assert "exact cache" in [getattr(layer, "name", "") for layer in shop.saver(mode="max").layers]

    def test_one_of_ones_own_takes_its_place(self, shop: Any) -> None:
        own = ExactCache(ttl="1h")
        saver = shop.saver(mode="balanced", stack=[own, ...])
        assert [layer for layer in saver.layers if isinstance(layer, ExactCache)] == [own]

    @pytest.mark.parametrize(
        ("wrong", "fix"),
        [({"when": "often"}, '"always"'), ({"ttl": "soon"}, "write seconds"), ({"stale": -1}, "write")],
    )
    def test_what_cannot_work_is_refused(self, wrong: Any, fix: str) -> None:
        with pytest.raises(ConfigurationError, match=fix):
            ExactCache(**wrong)

    def test_alone_it_says_where_it_belongs(self) -> None:
        with pytest.raises(ConfigurationError, match=r"Saver\(stack=\[\.\.\., ExactCache\(\)\]\)"):
            drive(ExactCache()(Request("chat", {}, "u", Entry("chat", None), Saver(mode="off").sync_runtime), None))  # type: ignore[arg-type]  # not reached

    def test_a_saver_that_stores_nothing_makes_no_file(self, shop: Any, way_of: Callable[..., Any]) -> None:
        values_of(shop, way_of("chat"), saver=shop.saver())
        assert not shop.path.with_name("cache.db").exists()
