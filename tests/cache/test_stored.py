"""An answer as it is kept and handed out, and what a hit books."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from llmsaver.cache.stored import book_hit, costs_of, json_bytes, respond
from llmsaver.core.entry import Entry
from llmsaver.core.runtime import drive

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver.cache.stored import Stored


def test_it_is_served_as_cached_and_kept_as_given(stored: Callable[..., Stored]) -> None:
    one = stored()
    assert one.usage == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    response = respond(one)
    message = drive(response.json())
    assert message["usage"]["prompt_tokens_details"] == {"cached_tokens": 3}
    assert message["choices"] == one.message["choices"]
    assert one.content is one.content
    outcome = response.outcome
    assert outcome is not None
    assert outcome.complete
    assert outcome.usage is None
    assert outcome.message == outcome.facts == message
    assert response.meter is not None
    assert not response.meter.feed(b"")


def test_an_answer_without_usage_has_none(stored: Callable[..., Stored]) -> None:
    one = stored()
    one.body = b'{"usage": 3}'
    assert one.usage is None


def test_it_lives_from_its_making_to_its_end(stored: Callable[..., Stored], now: float) -> None:
    one = stored(drop_at=now + 200)
    assert [one.live(now + after) for after in (-301, -299, 0, 99, 100)] == [False, True, True, True, False]
    assert [one.live(now + after, stale=True) for after in (-301, 100, 199, 200)] == [False, True, True, False]
    assert stored().drop_at == stored().expires_at


def test_the_digest_covers_whose_answer_it_is(stored: Callable[..., Stored]) -> None:
    digests = {stored().digest, stored("k2").digest, stored(tenant="t").digest, stored(said="other").digest}
    assert len(digests) == 4


def test_any_text_is_json() -> None:
    assert json_bytes("é") == '"é"'.encode()
    assert json.loads(json_bytes("\ud800\0")) == "\ud800\0"


def test_a_hit_costs_nothing_and_would_have_cost_what_it_cost_then(stored: Callable[..., Stored]) -> None:
    entry = Entry("chat", "asked")
    book_hit(entry, stored(), "exact")
    assert (entry.hit_kind, entry.model) == ("exact", "m")
    assert (entry.cost_nano, entry.cost_low, entry.cost_high) == (0, 0, 0)
    assert (entry.baseline_nano, entry.baseline_low, entry.baseline_high) == (1000, 900, 1100)
    assert entry.saved_usd == "0.000001"


def test_a_failed_try_before_a_hit_is_still_paid_for(stored: Callable[..., Stored]) -> None:
    entry = Entry("chat", "asked", cost_nano=7, cost_low=7, cost_high=7)
    book_hit(entry, stored(model=None, cost_nano=None), "exact")
    assert (entry.cost_nano, entry.model, entry.saved_usd) == (7, None, None)


def test_what_a_hit_saves_is_known_only_where_the_price_was() -> None:
    assert costs_of(Entry("chat", "m", baseline_nano=3, baseline_low=2, baseline_high=4)) == (3, 2, 4)
    assert costs_of(Entry("chat", "m")) == (None, None, None)
    assert costs_of(Entry("chat", "m", baseline_nano=3, unpriced=True)) == (None, None, None)
