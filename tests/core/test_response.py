"""An answer: read or iterated in any order, and settled exactly once however it ends."""

import asyncio
import gc
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from llmsaver.core.outcome import Outcome
from llmsaver.core.response import Response
from llmsaver.core.runtime import AsyncRuntime, drive
from llmsaver.core.usage import Usage

SOON = 60.0
Run = Callable[[Any], Any]


class Chunks:
    """A body of the given chunks; an exception among them is raised where it stands."""

    def __init__(self, *chunks: bytes | BaseException, close_error: Exception | None = None) -> None:
        self.left = list(chunks)
        self.closed = 0
        self.close_error = close_error

    def __aiter__(self) -> "Chunks":
        return self

    async def __anext__(self) -> bytes:
        if not self.left:
            raise StopAsyncIteration
        chunk = self.left.pop(0)
        if isinstance(chunk, BaseException):
            raise chunk
        return chunk

    async def aclose(self) -> None:
        self.closed += 1
        if self.close_error is not None:
            raise self.close_error


class Ending:
    """A meter whose terminal event is the chunk ``END`` and whose failures can be chosen."""

    def __init__(self, *fails: str) -> None:
        self.fed: list[bytes] = []
        self.fails = fails

    def _may_fail(self, part: str) -> None:
        if part in self.fails:
            raise ValueError(part)

    def feed(self, chunk: bytes) -> bool:
        self.fed.append(chunk)
        self._may_fail("feed")
        return chunk in {b"END", b"FAILED"}

    @property
    def finished(self) -> bool:
        self._may_fail("finished")
        return b"END" in self.fed

    def usage(self) -> Usage | None:
        self._may_fail("usage")
        return Usage(1, len(self.fed))

    def message(self) -> dict[str, Any] | None:
        self._may_fail("message")
        return {"text": b"".join(self.fed).decode()}

    def facts(self) -> dict[str, Any] | None:
        self._may_fail("facts")
        return {"model": "m"}


def outcome_of(response: Response) -> Outcome:
    assert response.outcome is not None
    return response.outcome


async def chunks_of(response: Response) -> list[bytes]:
    return [chunk async for chunk in response]


async def first_of(response: Response) -> bytes:
    return await response.__anext__()


SSE = {"content-type": "text/event-stream; charset=utf-8"}


class TestReading:
    def test_a_read_body_is_there_and_replayed_to_everyone(self, run: Run) -> None:
        response = Response(200, content=b"abc")
        assert response.content == b"abc"
        assert run(chunks_of(response)) == [b"abc"]
        assert run(chunks_of(response)) == [b"abc"]
        assert run(response.read()) == b"abc"
        assert response.intact

    def test_no_body_at_all_is_an_empty_one(self, run: Run) -> None:
        assert run(Response(204).read()) == b""

    def test_reading_buffers_closes_and_replays(self, run: Run) -> None:
        body = Chunks(b"a", b"b", b"END")
        response = Response(200, body=body, meter=Ending())
        assert (response.content, response.intact) == (None, True)
        assert run(response.read()) == b"abEND"
        assert body.closed == 1
        assert response.content == b"abEND"
        assert response.intact
        assert run(chunks_of(response)) == [b"abEND"]
        assert run(chunks_of(response)) == [b"abEND"]
        assert run(response.read()) == b"abEND"
        run(response.aclose())
        assert run(chunks_of(response)) == [b"abEND"]
        assert body.closed == 1

    def test_iterating_hands_on_each_chunk_as_it_came(self, run: Run) -> None:
        response = Response(200, body=Chunks(b"a", b"", b"b"))
        assert run(chunks_of(response)) == [b"a", b"", b"b"]
        assert response.content is None
        assert not response.intact

    @pytest.mark.parametrize("spend", [chunks_of, first_of, Response.aclose])
    def test_what_was_iterated_or_closed_unread_is_never_taken_for_a_whole_body(
        self, run: Run, spend: Callable[[Response], Awaitable[Any]]
    ) -> None:
        response = Response(200, body=Chunks(b"a", b"b"))
        run(spend(response))
        assert not response.intact
        with pytest.raises(RuntimeError, match=r"iterated or closed before; read\(\) it first"):
            run(response.read())

    def test_an_error_while_reading_is_raised_and_settles(self, run: Run) -> None:
        response = Response(200, body=Chunks(b"a", OSError("cut")), meter=Ending())
        with pytest.raises(OSError, match="cut"):
            run(response.read())
        assert not response.intact
        outcome = outcome_of(response)
        assert (outcome.complete, outcome.error, outcome.usage) == (False, "OSError: cut", Usage(1, 1))

    def test_a_close_that_fails_after_reading_keeps_what_was_read(self, run: Run) -> None:
        response = Response(200, body=Chunks(b"a", close_error=OSError("close")))
        with pytest.raises(OSError, match="close"):
            run(response.read())
        assert response.intact
        assert run(response.read()) == b"a"
        assert run(chunks_of(response)) == [b"a"]

    def test_json_of_a_body(self, run: Run) -> None:
        assert run(Response(200, body=Chunks(b'{"a"', b":1}")).json()) == {"a": 1}
        assert run(Response(200, content=b"[1]").json()) == [1]
        with pytest.raises(ValueError, match="Expecting value"):
            run(Response(200, content=b"<html>").json())

    def test_json_of_a_stream_is_assembled_from_its_events(self, run: Run) -> None:
        response = Response(200, SSE, body=Chunks(b"a", b"END"), meter=Ending())
        assert run(response.json()) == {"text": "aEND"}
        assert run(response.json()) == {"text": "aEND"}
        assert run(chunks_of(response)) == [b"aEND"]

    def test_json_of_a_stream_nobody_can_assemble_is_none(self, run: Run) -> None:
        assert run(Response(200, SSE, content=b"data: 1\n\n").json()) is None


class TestFacts:
    @pytest.mark.parametrize(
        ("status", "ok"), [(199, False), (200, True), (204, True), (299, True), (300, False), (429, False)]
    )
    def test_ok(self, status: int, ok: bool) -> None:
        response = Response(status)
        assert response.ok is ok
        assert outcome_of(response).complete is ok
        assert outcome_of(response).status == status

    def test_header_names_are_found_in_any_case(self) -> None:
        response = Response(200, {"Content-Type": "Text/Event-Stream", "Retry-After": "3"})
        assert response.streamed
        assert response.retry_after == 3.0

    def test_a_clients_own_headers_are_kept_as_they_are(self) -> None:
        class Headers(dict[str, str]):
            pass

        headers = Headers()
        assert Response(200, headers).headers is headers

    @pytest.mark.parametrize("headers", [None, {}, {"content-type": "application/json"}])
    def test_anything_else_is_not_streamed(self, headers: dict[str, str] | None) -> None:
        assert Response(200, headers).streamed is False

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({}, None),
            ({"retry-after": "2"}, 2.0),
            ({"retry-after": "0.5"}, 0.5),
            ({"retry-after": "-7"}, 0.0),
            ({"retry-after-ms": "1500"}, 1.5),
            ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
            ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
            ({"retry-after-ms": "inf", "retry-after": "9"}, 9.0),
            ({"retry-after": "soon"}, None),
            ({"retry-after": ""}, None),
            ({"retry-after": "nan"}, None),
            ({"retry-after": "inf"}, None),
            ({"retry-after": "1e400"}, None),
            ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ],
    )
    def test_retry_after(self, headers: dict[str, str], seconds: float | None) -> None:
        assert Response(429, headers).retry_after == seconds

    @pytest.mark.parametrize("text", ["plain", "grüß", "a lone surrogate: \ud800"])
    def test_of_makes_a_json_answer(self, run: Run, text: str) -> None:
        response = Response.of({"text": text}, status=201)
        assert (response.status, response.headers) == (201, {"content-type": "application/json"})
        assert response.content is not None
        assert response.content.decode("utf-8")  # valid UTF-8, whatever is in it
        assert run(response.json()) == {"text": text}

    def test_of_keeps_letters_readable(self) -> None:
        assert "grüß".encode() in (Response.of({"text": "grüß"}).content or b"")


class TestOutcome:
    def test_a_read_answer_has_ended_and_says_what_it_used(self) -> None:
        outcome = outcome_of(Response(200, content=b"END", meter=Ending()))
        assert (outcome.complete, outcome.error) == (True, None)
        assert outcome.usage == Usage(1, 1)
        assert outcome.message == {"text": "END"}

    def test_without_a_meter_nothing_is_known_but_the_end(self, run: Run) -> None:
        response = Response(200, body=Chunks(b"a"))
        run(chunks_of(response))
        outcome = outcome_of(response)
        assert (outcome.complete, outcome.usage, outcome.message) == (True, None, None)

    def test_the_terminal_event_settles_before_its_bytes_are_handed_on(self, run: Run) -> None:
        response = Response(200, body=Chunks(b"a", b"END", b"tail"), meter=Ending())
        run(first_of(response))
        assert response.outcome is None
        settled: list[bool] = []
        response.on_complete(lambda outcome: settled.append(outcome.complete))
        assert run(first_of(response)) == b"END"
        assert settled == [True]
        assert run(chunks_of(response)) == [b"tail"]
        assert settled == [True]

    def test_a_stream_that_ends_with_the_providers_error_is_not_complete(self, run: Run) -> None:
        response = Response(200, body=Chunks(b"a", b"FAILED"), meter=Ending())
        assert run(chunks_of(response)) == [b"a", b"FAILED"]
        outcome = outcome_of(response)
        assert (outcome.complete, outcome.error) == (False, "ended without a whole answer")

    @pytest.mark.parametrize("read", [True, False])
    def test_a_body_that_stops_early_is_not_complete(self, run: Run, read: bool) -> None:
        if read:
            response = Response(200, content=b"a", meter=Ending())
        else:
            response = Response(200, body=Chunks(b"a"), meter=Ending())
            run(response.read())
        outcome = outcome_of(response)
        assert (outcome.complete, outcome.error) == (False, "ended without a whole answer")
        assert outcome.message == {"text": "a"}

    def test_an_error_status_is_never_complete_and_needs_no_explanation(self, run: Run) -> None:
        response = Response(500, body=Chunks(b"{}"))
        run(response.read())
        assert (outcome_of(response).complete, outcome_of(response).error) == (False, None)

    @pytest.mark.parametrize("taken", [0, 1])
    def test_closing_early_settles_with_what_there_was(self, run: Run, taken: int) -> None:
        body = Chunks(b"a", b"b")
        response = Response(200, body=body, meter=Ending())
        for _ in range(taken):
            run(first_of(response))
        run(response.aclose())
        outcome = outcome_of(response)
        assert (outcome.complete, outcome.error) == (False, "closed before the end")
        assert outcome.usage == Usage(1, taken)
        assert body.closed == 1

    def test_closing_after_the_end_changes_nothing(self, run: Run) -> None:
        response = Response(200, body=Chunks(b"END"), meter=Ending())
        run(chunks_of(response))
        ended = response.outcome
        run(response.aclose())
        run(response.aclose())
        assert response.outcome is ended

    def test_a_close_that_fails_still_settles(self, run: Run) -> None:
        response = Response(200, body=Chunks(b"a", close_error=OSError("close")))
        with pytest.raises(OSError, match="close"):
            run(response.aclose())
        assert outcome_of(response).error == "closed before the end"
        assert not response.intact

    @pytest.mark.parametrize("error", [OSError("cut"), KeyboardInterrupt("now"), asyncio.CancelledError("now")])
    def test_whatever_the_body_raises_is_raised_and_settles(self, error: BaseException) -> None:
        response = Response(200, body=Chunks(b"a", error), meter=Ending())
        drive(first_of(response))
        with pytest.raises(type(error)):
            drive(first_of(response))
        assert outcome_of(response).error == f"{type(error).__name__}: {error}"
        assert not outcome_of(response).complete


class TestMetersThatFail:
    def test_a_meter_that_cannot_read_costs_nobody_the_answer_and_is_asked_once(
        self, run: Run, caplog: pytest.LogCaptureFixture
    ) -> None:
        meter = Ending("feed")
        response = Response(200, body=Chunks(b"a", b"b", b"END"), meter=meter)
        assert run(chunks_of(response)) == [b"a", b"b", b"END"]
        assert meter.fed == [b"a"]
        assert outcome_of(response).complete is False
        assert [r.message for r in caplog.records] == ["llmsaver: a provider's payload could not be read"]

    @pytest.mark.parametrize("part", ["feed", "finished"])
    def test_a_whole_answer_its_meter_fails_on_is_not_called_complete(self, run: Run, part: str) -> None:
        for response in (
            Response(200, content=b"END", meter=Ending(part)),
            Response(200, body=Chunks(b"END"), meter=Ending(part)),
        ):
            assert run(response.read()) == b"END"
            if part == "finished":
                assert outcome_of(response).complete is False

    def test_usage_and_message_that_fail_are_unknown(self, run: Run) -> None:
        response = Response(200, body=Chunks(b"END"), meter=Ending("usage", "message"))
        assert run(chunks_of(response)) == [b"END"]
        outcome = outcome_of(response)
        assert (outcome.complete, outcome.usage, outcome.message) == (True, None, None)


class TestCallbacks:
    def test_each_runs_once_in_order_with_the_outcome(self, run: Run) -> None:
        response, seen = Response(200, body=Chunks(b"a", b"END"), meter=Ending()), list[tuple[str, Outcome]]()
        response.on_complete(lambda outcome: seen.append(("first", outcome)))
        response.on_complete(lambda outcome: seen.append(("second", outcome)))
        run(response.read())
        run(response.aclose())
        outcome = outcome_of(response)
        assert seen == [("first", outcome), ("second", outcome)]

    def test_one_that_comes_late_runs_at_once(self) -> None:
        response, seen = Response(200, content=b"x"), list[Outcome]()
        response.on_complete(seen.append)
        assert seen == [response.outcome]

    def test_one_that_registers_another(self, run: Run) -> None:
        response, seen = Response(200, body=Chunks(b"a")), list[str]()
        response.on_complete(lambda _: response.on_complete(lambda _: seen.append("inner")))
        run(response.read())
        assert seen == ["inner"]

    def test_what_they_return_is_awaited_before_the_terminal_bytes(self, run: Run) -> None:
        response, seen = Response(200, body=Chunks(b"a", b"END"), meter=Ending()), list[str]()

        async def write(outcome: Outcome) -> None:
            seen.append(f"complete={outcome.complete}")

        async def consume() -> None:
            async for chunk in response:
                seen.append(chunk.decode())

        response.on_complete(write)
        run(consume())
        assert seen == ["a", "complete=True", "END"]

    @pytest.mark.parametrize("how", [Response.read, Response.aclose])
    def test_what_they_return_is_awaited_at_the_end_however_it_comes(
        self, run: Run, how: Callable[[Response], Awaitable[Any]]
    ) -> None:
        response, seen = Response(200, body=Chunks(b"a")), list[bool]()

        async def write(outcome: Outcome) -> None:
            seen.append(outcome.complete)

        response.on_complete(write)
        run(how(response))
        assert seen == [how is Response.read]

    def test_a_read_answer_owes_its_callbacks_until_settled(self, run: Run) -> None:
        response, seen = Response(200, content=b"x"), list[str]()

        async def write(_: Outcome) -> None:
            seen.append("written")

        response.on_complete(write)
        response.on_complete(write)
        assert seen == []
        run(response.settled())
        run(response.settled())
        assert seen == ["written", "written"]

    def test_one_that_fails_is_logged_and_costs_neither_answer_nor_the_others(
        self, run: Run, caplog: pytest.LogCaptureFixture
    ) -> None:
        response, seen = Response(200, body=Chunks(b"END"), meter=Ending()), list[str]()

        def fail(_: Outcome) -> None:
            raise KeyError("mine")

        async def fail_later(_: Outcome) -> None:
            raise KeyError("later")

        for callback in (fail, fail_later, lambda _: seen.append("ran")):
            response.on_complete(callback)
        assert run(response.read()) == b"END"
        assert seen == ["ran"]
        assert [r.message for r in caplog.records if r.levelno == logging.WARNING] == [
            "llmsaver: a completion callback failed"
        ] * 2

    def test_those_that_wait_for_a_loop_under_a_synchronous_client_cost_no_answer(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        response, seen = Response(200, body=Chunks(b"a", b"END"), meter=Ending()), list[str]()

        async def waits(_: Outcome) -> None:
            await asyncio.sleep(0)
            seen.append("not reached")

        async def writes(_: Outcome) -> None:
            seen.append("written")

        for callback in (waits, waits, writes):
            response.on_complete(callback)
        assert drive(chunks_of(response)) == [b"a", b"END"]
        assert seen == ["written"]
        assert caplog.text.count("needs an event loop") == 2

    async def test_under_asyncio_they_may_wait(self) -> None:
        response, seen = Response(200, body=Chunks(b"END"), meter=Ending()), list[str]()

        async def waits(_: Outcome) -> None:
            await asyncio.sleep(0.001)
            seen.append("waited")

        response.on_complete(waits)
        assert await chunks_of(response) == [b"END"]
        assert seen == ["waited"]


class TestCollection:
    """An answer nobody reads to its end is settled when the collector takes it."""

    def test_settles_with_what_arrived(self, run: Run) -> None:
        seen: list[Outcome] = []

        async def drop() -> None:
            response = Response(200, body=Chunks(b"a", b"END"), meter=Ending())
            response.on_complete(seen.append)
            await first_of(response)

        run(drop())
        gc.collect()
        (outcome,) = seen
        assert (outcome.complete, outcome.error, outcome.usage) == (False, "never read to the end", Usage(1, 1))

    def test_in_a_reference_cycle_too(self) -> None:
        seen: list[str | None] = []

        def drop() -> None:
            response = Response(200, body=Chunks(b"a"))
            held = [response]
            response.on_complete(lambda outcome: seen.extend([outcome.error] * len(held)))

        gc.disable()
        try:
            drop()
            assert seen == []
            gc.collect()
        finally:
            gc.enable()
        assert seen == ["never read to the end"]

    def test_one_that_ended_is_not_settled_again(self, run: Run) -> None:
        seen: list[Outcome] = []
        response = Response(200, body=Chunks(b"a"))
        response.on_complete(seen.append)
        run(response.read())
        del response
        gc.collect()
        assert len(seen) == 1

    def test_awaitable_callbacks_run_inline_where_there_is_no_loop(self) -> None:
        threads: list[int] = []

        async def write(_: Outcome) -> None:
            threads.append(await AsyncRuntime().offload(threading.get_ident))

        response = Response(200, body=Chunks(b"a"))
        response.on_complete(write)
        del response
        gc.collect()
        assert threads == [threading.get_ident()]

    async def test_awaitable_callbacks_run_beside_a_running_loop(self) -> None:
        written = threading.Event()

        async def write(_: Outcome) -> None:
            await AsyncRuntime().offload(written.is_set)
            written.set()

        for body in ({"body": Chunks(b"a")}, {"content": b"read, never settled"}):
            response = Response(200, **body)
            response.on_complete(write)
            del response
            gc.collect()
            assert await asyncio.to_thread(written.wait, SOON)
            written.clear()

    def test_those_that_cannot_finish_without_their_loop_are_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        async def waits(_: Outcome) -> None:
            await asyncio.Event().wait()

        response = Response(200, body=Chunks(b"a"))
        response.on_complete(waits)
        del response
        gc.collect()
        assert "a completion callback failed" in caplog.text

    def test_a_response_that_could_not_be_made_is_collected_in_silence(self) -> None:
        with pytest.raises(TypeError):
            Response(200, bogus=True)  # type: ignore[call-arg]  # what is under test
        gc.collect()  # an exception there would be a warning, and a warning is an error


def test_a_coroutine_closed_while_it_waits_settles_and_leaves_the_rest_to_collection() -> None:
    written: list[str] = []

    class Stalled(Chunks):
        async def __anext__(self) -> bytes:
            await asyncio.sleep(SOON)
            return b""

    async def write(outcome: Outcome) -> None:
        written.append(str(outcome.error))

    response = Response(200, body=Stalled())
    response.on_complete(write)
    step = response.__anext__()
    asyncio.run(_start(step))
    step.close()
    assert outcome_of(response).error == "abandoned before the end"
    assert written == []
    del response, step
    gc.collect()
    assert written == ["abandoned before the end"]


async def _start(step: Any) -> None:
    step.send(None)


def test_facts_come_from_the_meter_and_fail_quietly() -> None:
    assert outcome_of(Response(200, content=b"END", meter=Ending())).facts == {"model": "m"}
    assert outcome_of(Response(200, content=b"END", meter=Ending("facts"))).facts is None
    assert outcome_of(Response(200, content=b"END")).facts is None
    assert outcome_of(Response.of({"model": "mine"})).facts == {"model": "mine"}
