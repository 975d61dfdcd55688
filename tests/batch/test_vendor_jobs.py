"""What is read of the two providers' jobs: pages of them, whose they are, and odd lines."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.batch import BatchResult, anthropic_jobs, cancel, openai_jobs
from llmsaver.batch.anthropic_jobs import AnthropicJobs
from llmsaver.batch.openai_jobs import OpenAIJobs, told_of
from llmsaver.batch.provider import Found
from llmsaver.ledger.batches import Batches, BatchPart, BatchRun

if TYPE_CHECKING:
    from collections.abc import Callable


def part_of(token: str, file: str | None = None) -> BatchPart:
    return BatchPart("b", 0, token, "0-1", "/v1/chat/completions", "sending", 2, file=file)


def sent(jobs: Any, b: Any, via: str, token: str) -> str:
    bodies = [(f"{token}-{n}", body) for n, body in enumerate(b.bodies(2, via))]
    part = part_of(token)
    return str(jobs.create(part_of(token, jobs.upload(part, bodies)), bodies))


@pytest.mark.parametrize("via", ["openai", "anthropic"])
def test_a_job_is_found_among_others_on_any_page(
    bench: Callable[..., Any], via: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = bench("ok", polls=0)
    b.saver.ledger.open()
    module: Any = openai_jobs if via == "openai" else anthropic_jobs
    monkeypatch.setattr(module, "_PAGE", 1)
    jobs: Any = OpenAIJobs(b.client.openai) if via == "openai" else AnthropicJobs(b.client.anthropic)
    names = {token: sent(jobs, b, via, token) for token in ("one", "two", "three")}
    since, none = time.time() - 60, frozenset[str]()
    for token, name in names.items():
        for _ in range(2):
            found = jobs.find(part_of(token), since, none)
            while found.wait:
                found = jobs.find(part_of(token), since, none)
            assert found == Found(name)
        assert jobs.find(part_of(token), since, frozenset({name})) == Found()
    assert jobs.find(part_of("four"), since, none) == Found()
    assert jobs.find(part_of("one"), time.time() + 60, none) == Found()
    assert b.booked() == 0  # whose a job is was looked for past the books
    twin = sent(jobs, b, via, "one")
    assert jobs.find(part_of("one"), since, frozenset(names.values())).job in {twin, None}


def test_a_job_under_way_is_waited_for_where_it_cannot_be_told_whose_it_is(bench: Callable[..., Any]) -> None:
    b = bench("ok", polls=2)
    jobs = AnthropicJobs(b.client.anthropic)
    sent(jobs, b, "anthropic", "one")
    assert jobs.find(part_of("other"), time.time() - 60, frozenset()) == Found(wait=True)


def test_times_that_cannot_be_read_are_long_ago() -> None:
    assert anthropic_jobs._seconds("soon") == 0.0
    assert anthropic_jobs._seconds("1970-01-01T00:01:00") == 60.0


def test_an_answer_that_is_free_is_an_answer() -> None:
    line = b'{"custom_id": "t-0", "response": {"status_code": 200, "body": {"results": []}}, "error": null}'
    assert (told_of(line).ok, told_of(line).answered) == (True, None)
    assert told_of(b"{}").why == "no answer"


def test_cancelling_waits_until_the_jobs_have_ended(bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    b = bench("ok", polls=3)
    books = Batches(b.saver.ledger.open())
    jobs = OpenAIJobs(b.client.openai)
    books.begin(BatchRun("b", 1.0, 1.0, "openai", jobs.host, "open", "f", 2))
    books.plan([BatchPart("b", 0, "t", "0-1", "/u", "sent", 2, job=sent(jobs, b, "openai", "t"))])
    monkeypatch.setattr(OpenAIJobs, "cancel", lambda *_: None)  # one that the provider takes its time for
    assert cancel(b.saver, "b", client=b.client, pace=b.pace()).answered == 2
    assert b.booked() == b.paid()
    assert [part.state for part in books.parts("b")] == ["fetched"]


def test_a_local_run_has_nothing_to_cancel_elsewhere(
    bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    b = bench("ok")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    Batches(b.saver.ledger.open()).begin(BatchRun("b", 1.0, 1.0, "local", "local", "open", "f", 2))
    assert cancel(b.saver, "b").state == "cancelled"


def test_money_is_exact() -> None:
    assert BatchResult("b", "openai", "finished", 1, 1, (), 125).spent_usd == Decimal("0.000000125")
