"""Batches and background responses through the real SDKs: booked when fetched, once, to the provider's own sum."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest

from llmsaver import BudgetExceeded, Saver, budget, feature, options
from llmsaver.core.runtime import drive
from llmsaver.testing import Answer, FakeProvider, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Nano-dollars per token at half price, from the vendors' pages: input and output.
HALF = {"gpt-5-mini": (125, 1_000), "claude-haiku-4-5": (500, 2_500), "text-embedding-3-small": (10, 0)}
PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "embeddings": "/v1/embeddings"}
BODIES: dict[str, dict[str, Any]] = {
    "chat": {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hi there"}]},
    "responses": {"model": "gpt-5-mini", "input": "hi there"},
    "embeddings": {"model": "text-embedding-3-small", "input": ["one two three", "four"]},
    "messages": {"model": "claude-haiku-4-5", "max_tokens": 50, "messages": [{"role": "user", "content": "hi there"}]},
}
RUN = {"model": "gpt-5-mini", "input": "hi there", "background": True, "max_output_tokens": 100}


async def told(value: Any) -> Any:
    """Return what a synchronous or an asynchronous SDK returns."""
    return await value if inspect.isawaitable(value) else value


def batch_cost(fake: FakeProvider) -> int:
    """Return what the provider charges for the lines of batches, in half nano-dollars made whole."""
    bills = [bill for bill in fake.billed if bill.batch]
    return sum(b.input_tokens * HALF[b.model][0] + b.output_tokens * HALF[b.model][1] for b in bills)


class Job:
    """A batch that has ended, whose results may be fetched in several ways."""

    def __init__(self, client: Any, dialect: str) -> None:
        self.client = client
        self.dialect = dialect
        self.results = ""

    async def run(self, bodies: list[dict[str, Any]]) -> Job:
        """Upload, start and wait."""
        client = self.client
        if self.dialect == "messages":
            requests = [{"custom_id": f"c{i}", "params": body} for i, body in enumerate(bodies)]
            batch = await told(client.messages.batches.create(requests=requests))
            for _ in range(2):
                batch = await told(client.messages.batches.retrieve(batch.id))
            self.results = batch.id
            return self
        path = PATHS[self.dialect]
        rows = [{"custom_id": f"c{i}", "method": "POST", "url": path, "body": body} for i, body in enumerate(bodies)]
        content = b"\n".join(json.dumps(row).encode() for row in rows)
        file = await told(client.files.create(file=("in.jsonl", content), purpose="batch"))
        batch = await told(client.batches.create(input_file_id=file.id, endpoint=path, completion_window="24h"))
        for _ in range(2):
            batch = await told(client.batches.retrieve(batch.id))
        self.results = batch.output_file_id
        return self

    async def fetch(self, client: Any = None, *, stream: bool = False) -> Any:
        """Read the results; a file's bytes, or the custom ids of a message batch."""
        client = client or self.client
        if self.dialect == "messages":
            found = await told(client.messages.batches.results(self.results))
            if hasattr(found, "__aiter__"):
                return [line.custom_id async for line in found]
            return [line.custom_id for line in found]
        if not stream:
            answer = await told(client.files.content(self.results))
            return answer.content
        opened = client.files.with_streaming_response.content(self.results)
        if hasattr(opened, "__aenter__"):
            async with opened as response:
                return b"".join([piece async for piece in response.iter_bytes(7)])
        with opened as response:
            return b"".join(response.iter_bytes(7))


def run(way: Any, work: Callable[[], Any]) -> Any:
    """Run a coroutine as the client's kind needs it."""
    import asyncio

    return asyncio.run(work()) if way.asynchronous else drive(work())


KINDS = [
    pytest.param(dialect, asynchronous, stream, gzip, id=f"{dialect}-{asynchronous:d}{stream:d}{gzip:d}")
    for dialect in ("chat", "responses", "embeddings", "messages")
    for asynchronous in (False, True)
    for stream in (False, True)
    for gzip in (False, True)
    if dialect == "chat" or not (stream and gzip)
]


@pytest.mark.parametrize(("dialect", "asynchronous", "stream", "gzip"), KINDS)
def test_a_batch_is_booked_as_it_is_billed(
    shop: Any, way_of: Any, dialect: str, asynchronous: bool, stream: bool, gzip: bool
) -> None:
    shop.fake = FakeProvider("one two three", gzip=gzip)
    shop.fake.script(["one", "two words", Fault(429), "three words here", Fault(drop="reset")])
    way = way_of("messages" if dialect == "messages" else "chat", asynchronous)
    other = shop.saver()

    async def work() -> None:
        job = await Job(shop.client(way), dialect).run([BODIES[dialect]] * 5)
        assert shop.rows() == []
        with feature("nightly", user="u1", tenant="acme", tags={"env": "prod"}):
            first = await job.fetch(stream=stream)
        with feature("again"):
            assert await job.fetch(stream=stream) == first
            assert await job.fetch(shop.client(way, other), stream=stream) == first
        if dialect != "messages":
            ids = {json.loads(line)["custom_id"] for line in first.splitlines()}
            assert ids == {"c0", "c1", "c3"} if dialect != "embeddings" else {f"c{i}" for i in range(5)}

    run(way, work)
    rows = shop.rows()
    assert len(rows) == len([bill for bill in shop.fake.billed if bill.batch]) > 2
    assert sum(row["cost_nano"] for row in rows) == batch_cost(shop.fake) > 0
    for row in rows:
        assert (row["route"], row["dialect"], row["feature"]) == ("batch", dialect, "nightly")
        assert (row["user"], row["tenant"], row["tags"]) == ("u1", "acme", {"env": "prod"})
        assert row["cost_low"] == row["cost_nano"] == row["baseline_nano"]
        if dialect == "embeddings":  # the table has no price of a batch for them: half, and flagged
            assert (row["cost_high"], row["flags"]) == (2 * row["cost_nano"], ["batch"])
        else:
            assert (row["cost_high"], row["estimated"]) == (row["cost_nano"], 0)
        assert not row["unpriced"]
        assert (row["status"], row["upstream"], row["error"]) == (200, row["attempts"][0]["upstream"], None)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("cap", [None, "hard", "soft"])
def test_a_background_run_is_put_right_when_it_is_fetched(
    shop: Any, way_of: Any, asynchronous: bool, stream: bool, cap: str | None
) -> None:
    way, other = way_of("responses", asynchronous), shop.saver()
    terms: dict[str, Any] = {"usd": 1, "hard": cap == "hard", "max_call_usd": "0.25"}

    async def get(client: Any, run_id: str) -> Any:
        if not stream:
            return await told(client.responses.retrieve(run_id))
        events = await told(client.responses.retrieve(run_id, stream=True))
        found = [event async for event in events] if way.asynchronous else list(events)
        return found[-1].response

    async def work() -> None:
        client, again = shop.client(way), shop.client(way, other)
        with feature("research", user="u7"):
            made = (
                client.responses.create(**RUN)
                if cap is None
                else budget("cap", **terms)(client.responses.create)(**RUN)
            )
            response = await told(made)
        assert (response.status, response.usage) == ("queued", None)
        row = shop.row()
        assert (row["estimated"], row["cost_low"], row["flags"]) == (1, 0, ["background:pending"])
        assert row["cost_high"] >= row["cost_nano"] >= 100 * 2_000
        assert row["id"] == (await told(again.responses.with_raw_response.retrieve(response.id))).headers.get(
            "x-llmsaver-entry", row["id"]
        )
        if cap is not None:
            pot = shop.budgets()["cap"]
            assert pot["spent_nano"] == (250_000_000 if cap == "hard" else row["cost_nano"])
            assert pot["held_nano"] == 0
        if not stream:
            assert (await get(client, response.id)).status in ("in_progress", "completed")
        with feature("elsewhere"), budget("late", usd=1):
            for each in (client, again, client):
                done = await get(each, response.id)
        assert done.status == "completed"
        assert done.output_text == "one two three four five six"

    run(way, work)
    row = shop.row()
    assert row["cost_nano"] == row["cost_low"] == row["cost_high"] == row["baseline_nano"] == shop.billed() > 0
    assert (row["route"], row["user"], row["estimated"], row["unpriced"]) == ("background", "u7", 0, 0)
    assert row["feature"] == ("research" if cap is None else "cap")
    assert [attempt["cost_nano"] for attempt in row["attempts"]] == [row["cost_nano"]]
    assert shop.holds() == []
    spent = {name: (pot["spent_nano"], pot["low_nano"], pot["spent_calls"]) for name, pot in shop.budgets().items()}
    assert spent.get("late", (0, 0, 0)) == (0, 0, 0)
    assert cap is None or spent["cap"] == (shop.billed(), shop.billed(), 1)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_run_that_was_started_elsewhere_is_booked_where_it_is_fetched(
    shop: Any, way_of: Any, asynchronous: bool
) -> None:
    way = way_of("responses", asynchronous)
    other = shop.saver()

    async def work() -> None:
        client = shop.client(way)
        with options(bypass=True):
            response = await told(client.responses.create(**RUN))
        assert shop.rows() == []
        with feature("reader"), budget("late", usd=1):
            for each in (client, shop.client(way, other)) * 2:
                await told(each.responses.retrieve(response.id))

    run(way, work)
    row = shop.row()
    assert (row["route"], row["feature"], row["cost_nano"]) == ("background", "late", shop.billed())
    pot = shop.budgets()["late"]
    assert (pot["spent_nano"], pot["spent_calls"], pot["spent_tokens"]) == (
        shop.billed(),
        1,
        row["input_tokens"] + row["output_tokens"],
    )


def test_a_streamed_run_that_was_heard_out_is_booked_once(shop: Any, way_of: Any) -> None:
    client = shop.client(way_of("responses"))
    with budget("cap", usd=1, max_call_usd="0.25"):
        *_, last = client.responses.create(**RUN, stream=True)
    assert shop.row()["cost_nano"] == shop.billed() > 0
    with budget("late", usd=1):
        assert client.responses.retrieve(last.response.id).status == "completed"
    assert shop.row()["cost_nano"] == shop.billed()
    assert shop.budgets()["cap"]["spent_nano"] == shop.billed()
    assert shop.budgets().get("late", {"spent_nano": 0})["spent_nano"] == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_stream_that_is_left_is_put_right_by_whoever_resumes_it(shop: Any, way_of: Any, stream: bool) -> None:
    client = shop.client(way_of("responses"))
    with budget("cap", usd=1, max_call_usd="0.25"), client.responses.create(**RUN, stream=True) as events:
        for event in events:
            if event.type == "response.output_text.delta":
                break
    row = shop.row()
    assert (row["flags"], row["estimated"], row["complete"]) == (["background:pending"], 1, 0)
    assert shop.budgets()["cap"]["spent_nano"] == 250_000_000
    run_id = json.loads(
        httpx2.Client(transport=shop.fake.transport())
        .post("https://x/v1/responses", json={"model": "m", "input": "x"}, headers={"authorization": "Bearer k"})
        .content
    )["id"]
    assert run_id  # another's: the fake names them by number
    mine = [key for key in shop.fake._endpoints.stored._kept if key != run_id]
    got: Any = client.responses.retrieve(mine[0], stream=True, starting_after=3) if stream else None
    if got is None:
        client.responses.retrieve(mine[0])
    else:
        assert next(iter(got)).sequence_number == 4
        got.close()
        assert shop.row()["flags"] == ["background:pending"]
        list(client.responses.retrieve(mine[0], stream=True, starting_after=3))
    own = next(bill for bill in shop.fake.billed if bill.model == "gpt-5-mini")
    expected = own.input_tokens * 250 + own.output_tokens * 2_000
    assert (shop.row()["cost_nano"], shop.row()["complete"]) == (expected, 1)
    assert shop.budgets()["cap"]["spent_nano"] == expected


def test_a_run_whose_usage_is_never_told_stays_at_its_bound(shop: Any, way_of: Any) -> None:
    client = shop.client(way_of("responses"))
    with budget("cap", usd=1, max_call_usd="0.25"):
        response = client.responses.create(**RUN)
    assert client.responses.cancel(response.id).status == "cancelled"
    assert client.responses.retrieve(response.id).status == "cancelled"
    row = shop.row()
    assert (row["cost_low"], row["estimated"]) == (0, 1)
    assert row["cost_nano"] > 0
    assert shop.budgets()["cap"]["spent_nano"] == 250_000_000
    assert shop.fake.billed == ()
    with options(bypass=True):
        unseen = client.responses.create(**RUN)
    client.responses.cancel(unseen.id)
    latest = shop.rows()[0]
    assert (latest["route"], latest["estimated"], latest["cost_nano"] > 0) == ("background", 1, True)


def test_a_finished_run_that_is_cancelled_is_booked(shop: Any, way_of: Any) -> None:
    shop.fake = FakeProvider("one two", polls=0)
    client = shop.client(way_of("responses"))
    response = client.responses.create(**RUN)
    client.responses.retrieve(response.id)
    assert client.responses.cancel(response.id).status == "completed"
    assert shop.row()["cost_nano"] == shop.billed()


def test_a_hard_budget_refuses_what_it_cannot_bound(shop: Any, way_of: Any) -> None:
    client = shop.client(way_of("responses"))
    with budget("cap", usd=1), pytest.raises(BudgetExceeded, match="background"):
        client.responses.create(**RUN)
    assert shop.fake.calls == 0


def test_a_run_that_was_refused_costs_nothing(shop: Any, way_of: Any) -> None:
    shop.fake.script([Fault(429), "one"])
    client = shop.client(way_of("responses"), max_retries=1)
    with budget("cap", usd=1, max_call_usd="0.25"):
        response = client.responses.create(**RUN)
        for _ in range(2):
            client.responses.retrieve(response.id)
    assert shop.row()["cost_nano"] == shop.budgets()["cap"]["spent_nano"] == shop.billed()
    shop.fake.script([Fault(429)])
    with budget("cap", usd=1, max_call_usd="0.25"), pytest.raises(openai.RateLimitError):
        client.with_options(max_retries=0).responses.create(**RUN)
    assert shop.budgets()["cap"]["spent_nano"] == shop.billed()


def test_an_earlier_attempt_of_the_call_stays_in_its_sum(shop: Any, way_of: Any) -> None:
    shop.fake.script([Fault(drop="read timeout"), "one two"])
    client = shop.client(way_of("responses"), max_retries=1)
    response = client.responses.create(**RUN)
    for _ in range(2):
        client.responses.retrieve(response.id)
    row = shop.row()
    lost, last = row["attempts"]
    answered = next(bill for bill in shop.fake.billed if bill.number > 0)
    assert last["cost_nano"] == answered.input_tokens * 250 + answered.output_tokens * 2_000
    assert row["cost_nano"] == lost["cost_nano"] + last["cost_nano"]
    assert row["estimated"]


def test_an_ordinary_response_is_not_booked_again(shop: Any, way_of: Any) -> None:
    client = shop.client(way_of("responses"))
    response = client.responses.create(model="gpt-5-mini", input="hi")
    before = shop.row()
    assert client.responses.retrieve(response.id).id == response.id
    list(client.responses.retrieve(response.id, stream=True))
    with pytest.raises(Exception, match="synchronous"):
        client.responses.cancel(response.id)
    assert shop.row() == before


def test_what_a_batch_cost_counts_though_it_does_not_fit(shop: Any, way_of: Any) -> None:
    way, told_of = way_of("chat"), list[Any]()
    client = shop.client(way)
    job = drive(Job(client, "chat").run([BODIES["chat"]] * 3))
    terms: Any = {"usd": "0.000005", "on_threshold": [0.5], "alert": told_of.append}
    with budget("small", **terms):
        drive(job.fetch())
        pot = shop.budgets()["small"]
        assert pot["spent_nano"] == batch_cost(shop.fake) > 5_000
        assert (pot["spent_calls"], pot["held_nano"]) == (3, 0)
        with pytest.raises(BudgetExceeded):
            client.chat.completions.create(**way.arguments())
        drive(job.fetch())
    assert shop.budgets()["small"]["spent_nano"] == batch_cost(shop.fake)
    shop.first.background.drain(60)
    assert [facts["budget"] for facts in told_of] == ["small"]


@pytest.mark.parametrize("how", ["off", "disabled", "bypass"])
def test_past_the_layers_nothing_is_booked(shop: Any, way_of: Any, how: str) -> None:
    modes: dict[str, dict[str, Any]] = {"off": {"mode": "off"}, "disabled": {"disabled": True}}
    settings = modes.get(how, {})
    watcher = shop.saver()
    saver = shop.saver(**settings) if settings else watcher
    client = shop.client(way_of("responses"), saver)
    shop.savers = [watcher]
    with options(bypass=how == "bypass"):
        response = client.responses.create(**RUN)
        for _ in range(2):
            client.responses.retrieve(response.id)
        job = drive(Job(client, "chat").run([BODIES["chat"]]))
        assert drive(job.fetch())
    assert shop.rows() == []


def test_observed_budgets_are_charged(shop: Any, way_of: Any) -> None:
    client = shop.client(way_of("responses"), shop.saver(mode="observe"))
    with budget("cap", usd="0.000001"):
        response = client.responses.create(**RUN)
        assert shop.budgets()["cap"]["spent_nano"] == shop.row()["cost_nano"] > 0
        for _ in range(2):
            client.responses.retrieve(response.id)
        assert shop.budgets()["cap"]["spent_nano"] == shop.billed() > 0
        job = drive(Job(client, "chat").run([BODIES["chat"]] * 2))
        drive(job.fetch())
    run_cost = sum(row["cost_nano"] for row in shop.rows() if row["route"] == "background")
    assert shop.budgets()["cap"]["spent_nano"] == run_cost + batch_cost(shop.fake)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "content",
    [b"", b"\n\n", b"%PDF-1.7\n{}", b'{"custom_id":"a","method":"POST","body":{}}\n', b'{"a":1}\n', b"{" * 300_000],
)
def test_other_files_pass(shop: Any, way_of: Any, content: bytes, stream: bool) -> None:
    client = shop.client(way_of("chat"))
    file = client.files.create(file=("x", content), purpose="user_data")
    job = Job(client, "chat")
    job.results = file.id
    assert drive(job.fetch(stream=stream)) == content
    assert shop.rows() == []


def test_scopes_may_be_set_by_headers(shop: Any, way_of: Any) -> None:
    client = shop.client(way_of("chat"))
    job = drive(Job(client, "chat").run([BODIES["chat"]]))
    client.files.content(job.results, extra_headers={"X-LLMSaver-Feature": "imports"})
    assert shop.row()["feature"] == "imports"
    assert not any(name.startswith("x-llmsaver") for name in shop.fake.requests[-1].headers)


def test_a_download_that_breaks_books_what_came(shop: Any, way_of: Any) -> None:
    client = shop.client(way_of("chat"))
    job = drive(Job(client, "chat").run([BODIES["chat"]] * 4))
    whole = drive(job.fetch())
    assert len(shop.rows()) == 4
    lines = whole.splitlines(keepends=True)

    class Breaks(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield lines[0] + lines[1][:40]
            raise httpx2.ReadError("gone")

    class Fresh(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield whole

    streams: Iterator[httpx2.SyncByteStream] = iter([Breaks(), Fresh()])
    wire = httpx2.MockTransport(lambda _: httpx2.Response(200, stream=next(streams)))
    saver = shop.saver(ledger=str(shop.path.with_name("second.db")))
    broken = shop.client(way_of("chat"), saver, transport=wire)
    with pytest.raises(httpx2.ReadError), broken.files.with_streaming_response.content("f") as response:
        response.read()
    saver.ledger.drain(60)
    with saver.ledger.reader() as reader:
        assert len(reader.calls(limit=10)) == 1
    with broken.files.with_streaming_response.content("f") as response:
        assert response.read() == whole
    with saver.ledger.reader() as reader:
        assert len(reader.calls(limit=10)) == 4


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_a_ledger_that_fails_costs_nobody_the_file(
    shop: Any, way_of: Any, tmp_path: Any, asynchronous: bool, stream: bool
) -> None:
    way = way_of("chat", asynchronous)
    place = tmp_path / "folder.db"
    place.mkdir()
    saver = Saver(ledger=str(place))

    async def work() -> None:
        job = await Job(shop.client(way), "chat").run([BODIES["chat"]] * 2)
        good = await job.fetch(stream=stream)
        with budget("cap", usd=1):
            assert await job.fetch(shop.client(way, saver), stream=stream) == good

    run(way, work)
    assert saver.ledger is not None
    assert saver.ledger.lost == 2
    saver.close()


def test_threads_that_fetch_together_book_once(shop: Any, way_of: Any) -> None:
    client = shop.client(way_of("chat"))
    job = drive(Job(client, "chat").run([BODIES["chat"]] * 40))
    response = client.responses.create(**RUN)
    clients = [shop.client(way_of("chat"), shop.saver()) for _ in range(6)]
    gate = threading.Barrier(len(clients))

    def fetch(each: Any) -> None:
        gate.wait()
        with budget("all", usd=1):
            for _ in range(2):
                drive(job.fetch(each, stream=True))
                each.responses.retrieve(response.id)

    threads = [threading.Thread(target=fetch, args=(each,)) for each in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = shop.rows()
    assert len(rows) == 41
    run_cost = sum(bill.input_tokens * 250 + bill.output_tokens * 2_000 for bill in shop.fake.billed if not bill.batch)
    assert sum(row["cost_nano"] for row in rows) == batch_cost(shop.fake) + run_cost
    assert shop.budgets()["all"]["spent_nano"] == batch_cost(shop.fake)


def test_terms_and_missing_usage_are_told(shop: Any, way_of: Any) -> None:
    shop.fake.script([Answer("one", usage="missing"), Answer("two", extra={"model": "nobody-knows-it"})])
    client = shop.client(way_of("chat"))
    job = drive(Job(client, "chat").run([BODIES["chat"]] * 2))
    with budget("cap", usd=1):
        drive(job.fetch())
    rows = {row["model_answered"]: row for row in shop.rows()}
    missing, unknown = rows["gpt-5-mini"], rows["nobody-knows-it"]
    assert missing["estimated"]
    assert missing["cost_nano"] > 0
    assert unknown["unpriced"]
    assert unknown["cost_nano"] > 0
    pot = shop.budgets()["cap"]
    assert pot["spent_nano"] == missing["cost_high"] + unknown["cost_high"]
    assert pot["low_nano"] == missing["cost_low"] + unknown["cost_low"]


PROGRAM = """
import sys
import llmsaver
url, ledger, file_id, run_id, batch_id = sys.argv[1:]
with llmsaver.Saver(ledger=ledger, price_hosts={"127.0.0.1:*": "openai", "localhost:*": "anthropic"}) as saver:
    client = llmsaver.OpenAI(api_key="k", base_url=url + "/v1", saver=saver)
    claude = llmsaver.Anthropic(api_key="k", base_url=url.replace("127.0.0.1", "localhost"), saver=saver)
    with llmsaver.budget("all", usd=1):
        for _ in range(3):
            client.files.content(file_id)
            client.responses.retrieve(run_id)
            list(claude.messages.batches.results(batch_id))
"""


def test_programs_that_fetch_together_book_once(shop: Any, way_of: Any) -> None:
    hosts = {"price_hosts": {"127.0.0.1:*": "openai", "localhost:*": "anthropic"}}
    with shop.fake.serve() as url:
        saver = shop.saver(**hosts)
        client = shop.client(way_of("chat"), saver, base_url=url + "/v1")
        job = drive(Job(client, "chat").run([BODIES["chat"]] * 30))
        claude_client = shop.client(way_of("messages"), saver, base_url=url.replace("127.0.0.1", "localhost"))
        claude = drive(Job(claude_client, "messages").run([BODIES["messages"]] * 5))
        with budget("cap", usd=1, max_call_usd="0.25"):
            run_id = client.responses.create(**RUN).id
        arguments = [url, str(shop.path), job.results, run_id, claude.results]
        programs = [subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments]) for _ in range(2)]  # noqa: S603
        assert [program.wait(240) for program in programs] == [0, 0]
    rows = shop.rows()
    run_cost = sum(bill.input_tokens * 250 + bill.output_tokens * 2_000 for bill in shop.fake.billed if not bill.batch)
    assert len(rows) == 36
    assert sum(row["cost_nano"] for row in rows) == batch_cost(shop.fake) + run_cost
    assert shop.budgets()["all"]["spent_nano"] == batch_cost(shop.fake)
    assert shop.budgets()["cap"]["spent_nano"] == run_cost
