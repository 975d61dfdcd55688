"""Runs from beginning to end: whatever goes wrong, every request is answered once and paid once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.batch import BatchInterrupted, BatchTooDear, cancel
from llmsaver.batch.anthropic_jobs import AnthropicJobs
from llmsaver.batch.lane import Lane
from llmsaver.batch.openai_jobs import OpenAIJobs
from llmsaver.batch.spool import Spool, folder_of
from llmsaver.errors import ConfigurationError
from llmsaver.ledger.batches import Batches
from llmsaver.saver import Saver
from llmsaver.testing import Answer, BatchTroubles, Fault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from llmsaver.batch import Progress
    from llmsaver.testing import Received

VENDORS = pytest.mark.parametrize("via", ["openai", "anthropic"])
ROUGH = {"refused": 0.05, "lost": 0.3, "cut": 0.2, "expired": 0.2, "limited": 0.2, "line": 0.05, "late": 0.05}


def echo(received: Received) -> Answer:
    return Answer(f"re {received.json['messages'][0]['content']}")


def text(line: dict[str, Any]) -> str:
    if "result" in line:
        return str(line["result"]["message"]["content"][0]["text"])
    return str(line["response"]["body"]["choices"][0]["message"]["content"])


@VENDORS
def test_answers_come_in_the_order_of_the_requests_at_half_price(bench: Callable[..., Any], via: str) -> None:
    b = bench(echo)
    seen: list[Progress] = []
    done = b.run(b.bodies(7, via), via=via, part_requests=3, out=b.folder / "out.jsonl", progress=seen.append)
    assert (done.ok, done.state, done.answered, done.total) == (True, "finished", 7, 7)
    assert [text(line) for line in done.answers()] == [f"re q{n}" for n in range(7)]
    assert (b.folder / "out.jsonl").stat().st_mode & 0o777 == 0o600
    assert 0 < done.spent_nano == b.paid() == b.booked()
    assert seen[-1].doing == "done"
    assert [step.answered for step in seen] == sorted(step.answered for step in seen)
    assert seen[-1].expected_nano == done.spent_nano
    assert not list(folder_of(b.saver.ledger).glob("*.rows"))
    jobs = [each for each in b.fake.requests if each.method == "POST" and each.path.endswith("batches")]
    assert len(jobs) == 3


@VENDORS
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_or_paid_twice_at_a_bad_provider(bench: Callable[..., Any], via: str, seed: int) -> None:
    b = bench(echo, troubles=BatchTroubles(seed, **ROUGH))
    done = b.run(b.bodies(60, via), part_requests=15, retries=30)
    assert done.state == "finished"
    assert [text(line) for line in done.answers()] == [f"re q{n}" for n in range(60)]
    assert len(b.fake.billed) == 60
    assert done.spent_nano == b.paid() == b.booked()


class Died(BaseException):
    """Stands for kill -9: nothing after it is run, as far as the run can tell."""


@VENDORS
@pytest.mark.parametrize("moment", ["create", "look", "told"])
def test_a_run_that_died_is_gone_on_with(
    bench: Callable[..., Any], via: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = bench(echo)
    kind: Any = OpenAIJobs if via == "openai" else AnthropicJobs
    real = getattr(kind, moment)
    times = 0

    def dying(self: Any, *arguments: Any) -> Any:
        nonlocal times
        found = real(self, *arguments)
        times += 1
        if times == 2:
            if moment == "told":
                next(found)
            raise Died
        return found

    monkeypatch.setattr(kind, moment, dying)
    with pytest.raises(Died):
        b.run(b.bodies(9, via), part_requests=3)
    monkeypatch.undo()
    done = b.run(b.bodies(9, via), part_requests=3)
    assert done.ok
    assert [text(line) for line in done.answers()] == [f"re q{n}" for n in range(9)]
    assert len(b.fake.billed) == 9
    assert done.spent_nano == b.paid() == b.booked()


@VENDORS
def test_what_is_finished_is_not_paid_again(bench: Callable[..., Any], via: str) -> None:
    b = bench(echo)
    first, second = b.folder / "1.jsonl", b.folder / "2.jsonl"
    done = b.run(b.bodies(3, via), out=first)
    calls = b.fake.calls
    again = b.run(b.bodies(3, via), out=second)
    assert b.fake.calls == calls
    assert second.read_bytes() == first.read_bytes()
    assert (again.batch, again.spent_nano, again.ok) == (done.batch, done.spent_nano, True)
    first.unlink()
    second.unlink()
    fetched = b.run(b.bodies(3, via), out=first)
    assert [text(line) for line in fetched.answers()] == ["re q0", "re q1", "re q2"]
    assert len(b.fake.billed) == 3
    assert b.booked() == b.paid()
    anew = b.run(b.bodies(3, via), out=first, again=True)
    assert anew.batch == f"{done.batch}-2"
    assert len(b.fake.billed) == 6
    assert b.run(b.bodies(3, via), out=first).batch == anew.batch


def test_failed_requests_are_retried_then_listed_and_retried_by_the_next_run(bench: Callable[..., Any]) -> None:
    broken = True

    def answer(received: Received) -> Answer | Fault:
        said = received.json["messages"][0]["content"]
        if said == "q1":
            return Fault(400, message="never")
        return Fault(503) if said == "q2" and broken else echo(received)

    b = bench(answer)
    done = b.run(b.bodies(4), retries=1)
    assert (done.state, done.answered, done.ok) == ("incomplete", 3 - 1, False)
    assert [(each.number, each.reason[:3]) for each in done.failures] == [(2, "400"), (3, "503")]
    lines = list(done.answers())
    assert lines[1]["response"]["body"]["error"]["message"] == "never"
    broken = False
    done = b.run(b.bodies(4), retries=0)
    assert [each.number for each in done.failures] == [2]
    assert len(b.fake.billed) == 3
    assert b.booked() == b.paid()


def test_a_limit_is_kept_before_anything_is_sent(bench: Callable[..., Any]) -> None:
    b = bench(echo)
    with pytest.raises(BatchTooDear, match=r"may cost up to \$.*nothing was sent"):
        b.run(b.bodies(10), max_usd="0.0001")
    with pytest.raises(BatchTooDear, match="no upper bound"):
        b.run([{"model": "nobody-knows-it", "messages": [{"role": "user", "content": "x"}]}], max_usd=5)
    assert b.fake.calls == 0
    assert b.run(b.bodies(10), max_usd="5").ok


def test_partly_does_what_fits_and_goes_on_under_a_higher_limit(bench: Callable[..., Any]) -> None:
    b = bench(echo)
    done = b.run(b.bodies(40), max_usd="0.00008", partly=True, part_requests=5)
    assert done.state == "stopped"
    assert "leaves no room" in done.why
    assert 0 < done.answered < 40
    assert done.spent_nano <= 80_000
    assert done.failures[-1].reason == "it was not sent"
    assert b.run(b.bodies(40), max_usd="1").ok
    assert len(b.fake.billed) == 40


@VENDORS
def test_cancelling_books_what_was_answered(bench: Callable[..., Any], via: str) -> None:
    b = bench(echo, polls=1)
    with pytest.raises(Died):
        b.run(b.bodies(6, via), part_requests=3, pace=b.pace(sleep=died))
    batch = Batches(b.saver.ledger).latest()[0]
    assert batch.state == "open"
    gone = cancel(b.saver, batch.id, client=b.client, pace=b.pace())
    assert gone.state == "cancelled"
    done = b.run(b.bodies(6, via), part_requests=3)
    assert done.ok
    assert b.booked() == b.paid()
    assert cancel(b.saver, batch.id, client=b.client).state == "finished"
    with pytest.raises(ConfigurationError, match="no batch 'bnone'"):
        cancel(b.saver, "bnone", client=b.client)


def died(_seconds: float) -> None:
    raise Died


def test_cancelling_what_was_never_sent(bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    b = bench(echo)

    def die(*_: object) -> None:
        raise Died

    monkeypatch.setattr(Lane, "_send", die)
    with pytest.raises(Died):
        b.run(b.bodies(2))
    monkeypatch.undo()
    batch = Batches(b.saver.ledger).latest()[0]
    assert cancel(b.saver, batch.id, client=b.client, pace=b.pace()).answered == 0
    assert [part.state for part in Batches(b.saver.ledger).parts(batch.id)] == ["refused"]
    moved = b.client.copy(base_url="http://elsewhere/v1")
    Batches(b.saver.ledger).note(batch, state="open")
    with pytest.raises(ConfigurationError, match="this client talks to"):
        cancel(b.saver, batch.id, client=moved)


def test_a_job_that_the_provider_does_not_know_is_not_sent_again(bench: Callable[..., Any]) -> None:
    b = bench(echo)
    with pytest.raises(Died):
        b.run(b.bodies(2), pace=b.pace(sleep=died))
    books = Batches(b.saver.ledger)
    (part,) = books.parts(books.latest()[0].id)
    books.mark(part, job="batch_gone")
    with pytest.raises(BatchInterrupted, match="does not know job batch_gone"):
        b.run(b.bodies(2))


def test_a_job_that_is_refused_for_good_says_why(bench: Callable[..., Any]) -> None:
    b = bench(echo)
    b.fake.fail("batches", [Fault(401)])
    with pytest.raises(BatchInterrupted, match="did not take a job"):
        b.run(b.bodies(2))
    b.fake.fail("batches", [Fault(429), Fault(429)])
    assert b.run(b.bodies(2)).ok
    b.fake.fail("batches", [Fault(500)] * 50)
    with pytest.raises(BatchInterrupted, match="kept failing"):
        b.run(b.bodies(3), pace=b.pace(attempts=3))


def test_a_job_whose_creation_always_fails_is_given_up(
    bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmsaver.batch.provider import Found

    b = bench(echo)
    b.fake.fail("batches", [Fault(500)] * 50)
    monkeypatch.setattr(OpenAIJobs, "find", lambda *_: Found())
    with pytest.raises(BatchInterrupted, match="kept failing"):
        b.run(b.bodies(3), pace=b.pace(attempts=3))


def test_a_second_job_of_the_same_requests_is_cancelled(
    bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:

    b = bench(echo, polls=5)
    real = OpenAIJobs.create

    def twice(self: Any, *arguments: Any) -> str:
        real(self, *arguments)
        real(self, *arguments)
        raise Died

    monkeypatch.setattr(OpenAIJobs, "create", twice)
    with pytest.raises(Died):
        b.run(b.bodies(3))
    monkeypatch.undo()
    assert b.run(b.bodies(3)).ok
    assert "is a second one of the same requests" in caplog.text
    assert len(b.fake.billed) == 3


def test_a_changed_file_is_not_taken_for_the_run_that_was_begun(bench: Callable[..., Any]) -> None:
    b = bench(echo)
    file = b.folder / "requests.jsonl"
    file.write_text("".join(json.dumps(body) + "\n" for body in b.bodies(3)))
    with pytest.raises(Died):
        b.run(file, pace=b.pace(sleep=died))
    file.write_text("".join(json.dumps(body) + "\n" for body in b.bodies(4)))
    with pytest.raises(ConfigurationError, match="has changed since batch"):
        b.run(file)
    file.write_text("".join(json.dumps(body) + "\n" for body in b.bodies(3)))
    assert b.run(file, out=b.folder / "deep" / "out.jsonl").ok
    file.write_text("".join(json.dumps(body) + "\n" for body in b.bodies(4)))
    assert b.run(file).ok


def test_only_one_program_runs_a_batch(bench: Callable[..., Any]) -> None:
    b = bench(echo)
    with pytest.raises(Died):
        b.run(b.bodies(2), pace=b.pace(sleep=died))
    spool = Spool(folder_of(b.saver.ledger), Batches(b.saver.ledger).latest()[0].id)
    with pytest.raises(ConfigurationError, match="another program is running batch"):
        b.run(b.bodies(2))
    spool.close()
    assert b.run(b.bodies(2)).ok


def test_an_openai_job_that_fails_its_validation_is_told(
    bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmsaver.batch.provider import Look

    b = bench(echo)
    monkeypatch.setattr(OpenAIJobs, "look", lambda *_: Look(ended=True, refused="a bad line"))
    done = b.run(b.bodies(2))
    assert [each.reason for each in done.failures] == ["a bad line"] * 2


@pytest.mark.parametrize("asked", [{"concurrency": 0}, {"retries": -1}, {"part_requests": 0}, {"max_usd": 0.5}])
@pytest.mark.parametrize("more", [{}, {"max_usd": "nan"}, {"max_usd": "much"}])
def test_terms_that_cannot_be(bench: Callable[..., Any], asked: dict[str, Any], more: dict[str, Any]) -> None:
    b = bench(echo)
    with pytest.raises(ConfigurationError):
        b.run(b.bodies(1), **{**asked, **more})


def test_a_batch_needs_the_ledger(tmp_path: Path) -> None:
    with Saver(mode="off", ledger=str(tmp_path / "l.db")) as saver, pytest.raises(ConfigurationError, match="ledger"):
        saver.batch([{"model": "m", "messages": []}])


def test_a_bar_that_breaks_breaks_no_batch(bench: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    b = bench(echo)

    def broken(_: object) -> None:
        raise ZeroDivisionError

    assert b.run(b.bodies(1), progress=broken).ok
    assert "could not be shown" in caplog.text


def test_strange_lines_are_left_out(
    bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from llmsaver.batch.provider import Told

    b = bench(echo)
    monkeypatch.setattr(OpenAIJobs, "told", lambda *_: iter([Told("other-1", b"{}", ok=True)]))
    done = b.run(b.bodies(1), retries=0)
    assert done.failures[0].reason == "the provider gave no answer"
    assert "not in it" in caplog.text
