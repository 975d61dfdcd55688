"""Calls on tiers of one's own through the whole stack: what their time costs, and what budgets make of that."""

from __future__ import annotations

import json
import logging
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver import BudgetExceeded, Saver, budget
from llmsaver.core.background import Background
from llmsaver.core.entry import Attempt, Entry
from llmsaver.core.options import current_options
from llmsaver.core.request import Request
from llmsaver.core.response import Response
from llmsaver.core.runtime import drive
from llmsaver.errors import UpstreamError
from llmsaver.local.busy import ServerTime
from llmsaver.local.endpoint import Load, Share
from llmsaver.local.models import LocalModel
from llmsaver.middleware.local_time import LocalTime
from llmsaver.middleware.own_tiers import OwnTiers
from llmsaver.wire import detect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

URL = "https://api.openai.com/v1/chat/completions"
# $3.60 an hour is a tenth of a cent a second.
TIER = LocalModel("small", path="small.gguf", hourly_usd="3.6", max_queue=0, spill_to="gpt-5-mini", parallel=1)
USAGE = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}
MILLI = 1_000_000


class Used:
    """A use whose share is known beforehand; ended as often as anybody likes."""

    def __init__(self, share: Share) -> None:
        self.share = share
        self.ended = 0

    def end(self) -> Share:
        self.ended += 1
        return self.share


class Server:
    """What is under the stack: a local server and a vendor, each with an answer or a failure."""

    def __init__(self, *shares: Share, status: int = 200, fails: BaseException | None = None) -> None:
        self.uses = [Used(share) for share in shares]
        self.status = status
        self.fails = fails
        self.seen: list[Request] = []

    async def __call__(self, request: Request) -> Response:
        self.seen.append(request)
        entry = request.entry
        local = (request.model or "").startswith("local/")
        entry.tier = "local" if local else "api"
        for use in self.uses if local else [None]:
            entry.begin(Attempt("h", request.model, self.status, tier=entry.tier, local=use and TIER, use=use))
        entry.model = request.model
        if self.fails is not None and local:
            raise self.fails
        message = {"model": (request.model or "").removeprefix("local/"), "choices": [], "usage": USAGE}
        status = self.status if local else 200
        dialect = detect("POST", "/v1/chat/completions")
        assert dialect is not None
        return Response(
            status, content=json.dumps(message).encode(), meter=dialect.meter(False) if status == 200 else None
        )


@pytest.fixture
def saver(tmp_path: Path) -> Iterator[Saver]:
    made = Saver(ledger=str(tmp_path / "l.db"), local_models=[TIER])
    yield made
    made.close()


@pytest.fixture
def ask(saver: Saver) -> Callable[..., Entry]:
    def go(
        server: Callable[[Request], Awaitable[Response]], model: str = "local/small", saver: Saver = saver, **body: Any
    ) -> Entry:
        entry = Entry("chat", model)
        options = current_options.get()
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **body}
        request = Request("chat", body, URL, entry, saver.sync_runtime, options=options)

        async def call() -> None:
            await (await saver.over(server)(request)).settled()

        drive(call())
        return entry

    return go


def row_of(saver: Saver) -> dict[str, Any]:
    assert saver.ledger is not None
    with saver.ledger.open().reader() as reader:
        (row,) = reader.calls(limit=9)
    return row


def test_a_call_costs_its_share_of_the_busy_seconds(saver: Saver, ask: Callable[..., Entry]) -> None:
    server = Server(Share(2.5))
    entry = ask(server)
    assert (entry.cost_nano, entry.cost_low, entry.cost_high) == (2_500_000,) * 3
    assert (entry.baseline_nano, entry.saved_usd) == (2_500_000, "0")
    assert (entry.flags, entry.estimated, entry.unpriced, entry.busy_s) == (("local:time",), False, False, 2.5)
    row = row_of(saver)
    assert (row["cost_nano"], row["busy_s"], row["spilled"], row["estimated"]) == (2_500_000, 2.5, False, False)
    assert row["energy_low_wh"] == entry.energy_wh[0] > 0  # type: ignore[index]  # an estimate at least
    assert entry.energy_source is not None


def test_what_others_use_unseen_makes_it_the_most_of_a_range(ask: Callable[..., Entry]) -> None:
    entry = ask(Server(Share(2.0, exact=False)))
    assert (entry.cost_low, entry.cost_nano, entry.cost_high) == (0, 2 * MILLI, 2 * MILLI)
    assert (entry.flags, entry.estimated) == (("local:time", "local:shared"), True)


def test_a_tier_without_a_price_is_declared_free_and_its_time_noted(
    ask: Callable[..., Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "TIER", LocalModel("small", path="small.gguf"))
    entry = ask(Server(Share(2.0)), "local/free")
    assert (entry.cost_nano, entry.flags, entry.busy_s) == (0, ("declared",), 2.0)


@pytest.mark.parametrize("status", [200, 400])
def test_time_is_booked_whatever_the_server_answered(saver: Saver, ask: Callable[..., Entry], status: int) -> None:
    with budget("b", usd=1):
        entry = ask(Server(Share(1.0), status=status))
    assert entry.cost_nano == MILLI
    assert spent(saver) == (MILLI, 30 if status == 200 else 0)


def test_a_call_that_fails_costs_the_time_it_had(saver: Saver, ask: Callable[..., Entry]) -> None:
    server = Server(Share(3.0), fails=KeyboardInterrupt())
    with budget("b", usd=1), pytest.raises(KeyboardInterrupt):
        ask(server)
    assert server.uses[0].ended == 1  # whoever was cancelled could not say so itself
    assert spent(saver)[0] == 3 * MILLI


def test_the_try_before_a_restart_is_paid_too(saver: Saver, ask: Callable[..., Entry]) -> None:
    server = Server(Share(4.0), Share(1.0))
    server.uses[0].end()

    async def twice(request: Request) -> Response:
        response = await server(request)
        request.entry.attempts[0].share = server.uses[0].share
        return response

    with budget("b", usd=1):
        entry = ask(twice)
    assert entry.busy_s == 5.0
    assert entry.cost_nano == 5 * MILLI == spent(saver)[0]


def spent(saver: Saver) -> tuple[int, int]:
    assert saver.ledger is not None
    with saver.ledger.open().reader() as reader:
        (found,) = reader.budgets(time.time())
    assert found["held_nano"] == 0
    return found["spent_nano"], found["spent_tokens"]


def test_a_hard_budget_holds_the_time_that_a_call_may_take(saver: Saver, ask: Callable[..., Entry]) -> None:
    server = Server(Share(1.0))
    with budget("b", usd=1):
        ask(server)  # no max-tokens value needed: time bounds it
    deadline = server.seen[0].deadline
    assert deadline is not None
    assert 560 < deadline - time.monotonic() <= 570  # less what ending it takes
    assert spent(saver) == (MILLI, 30)


def test_what_is_left_of_a_budget_shortens_the_time(ask: Callable[..., Entry]) -> None:
    server = Server(Share(1.0))
    with budget("b", usd="0.06"):
        entry = ask(server)
    deadline = server.seen[0].deadline
    assert deadline is not None
    assert 50 < deadline - time.monotonic() <= 57
    assert [(act.name, act.action) for act in entry.layers] == [("budget", "clamped")]
    with budget("c", usd="0.005"), pytest.raises(BudgetExceeded, match=r"could cost up to \$0.60"):
        ask(server)


def test_free_local_calls_pass_a_spent_budget_without_a_cap(tmp_path: Path, ask: Callable[..., Entry]) -> None:
    with Saver(ledger=str(tmp_path / "m.db")) as free, budget("b", usd=0):
        entry = ask(Server(Share(9.0)), "local/smol", free)
    assert entry.status == 200
    with (
        Saver(ledger=str(tmp_path / "n.db"), prices={"local/smol": {"input": "1", "output": "2"}}) as priced,
        budget("b", usd=0),
        pytest.raises(BudgetExceeded, match="no-max-tokens"),
    ):
        ask(Server(Share(9.0)), "local/smol", priced)


def test_a_budget_of_tokens_still_needs_a_cap(ask: Callable[..., Entry]) -> None:
    with budget("b", tokens=1000):
        with pytest.raises(BudgetExceeded, match="no-max-tokens"):
            ask(Server(Share(1.0)))
        assert ask(Server(Share(1.0)), max_tokens=100).status == 200
        entry = ask(Server(Share(1.0)), max_tokens=950)
        assert entry.clamped_to is not None


def test_a_spilled_call_is_booked_at_the_paid_price_beside_what_waiting_had_cost(
    saver: Saver, ask: Callable[..., Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Saver, "_load_of", lambda *_: Load(1, 0, 1, mean_s=4.0))
    with Saver(ledger=saver.settings.ledger, local_models=[TIER]) as busy:
        entry = ask(Server(), saver=busy)
    assert entry.spilled
    assert (entry.model_asked, entry.model, entry.tier) == ("local/small", "gpt-5-mini", "api")
    assert entry.cost_nano == 20 * 250 + 10 * 2_000
    assert (entry.baseline_nano, entry.saved_usd) == (25_000, "0")  # $0.004 not spent on an idle machine is no saving
    assert entry.flags == ("baseline:spilled",)
    row = row_of(saver)
    assert (row["spilled"], row["tier"], row["busy_s"]) == (True, "api", None)


def test_the_peak_that_an_api_takes_shows_as_what_it_cost_more(
    saver: Saver, ask: Callable[..., Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Saver, "_load_of", lambda *_: Load(1, 0, 1, mean_s=2.0**-6))
    with Saver(ledger=saver.settings.ledger, local_models=[TIER]) as busy:
        entry = ask(Server(), saver=busy)
    assert (entry.baseline_nano, entry.saved_usd) == (15_625, "-0.000009375")


def test_a_tier_that_is_down_costs_nothing_more_than_who_stands_in(ask: Callable[..., Entry]) -> None:
    entry = ask(Server(fails=UpstreamError(ConnectionError())))
    assert entry.spilled
    assert (entry.baseline_nano, entry.cost_nano) == (25_000, 25_000)


def test_the_layer_is_there_only_where_a_tier_spills(saver: Saver, tmp_path: Path) -> None:
    assert [layer.name for layer in saver.layers] == ["record", "spill", "prompt cache", "budget"]  # type: ignore[attr-defined]  # ours have one
    with Saver(ledger=str(tmp_path / "k.db"), local_models=[LocalModel("a", path="a.gguf")], mode="observe") as plain:
        assert [layer.name for layer in plain.layers] == ["record", "budget"]  # type: ignore[attr-defined]  # the same
    assert saver._load_of("small") is None  # nothing was started to find out


def test_servers_time_is_written_at_the_end_and_in_between(
    saver: Saver, ask: Callable[..., Entry], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = ServerTime("s1", "small", 5.0, up_s=100.0, busy_s=40.0, hourly_usd=Decimal("3.6"))
    other = ServerTime("s2", "free", 5.0, up_s=7.0, busy_s=0.0)
    written: list[Any] = []
    assert saver.ledger is not None
    monkeypatch.setattr(saver.ledger, "write_server", written.append)
    saver._time._usage = lambda: [server, other]
    ask(Server(Share(1.0)))
    saver.background.drain()
    assert written == []  # not at every call
    saver._time._every = 0.0
    ask(Server(Share(1.0)))
    saver.background.drain()
    assert [(row.id, row.up_s, row.busy_s, row.hourly_nano) for row in written] == [
        ("s1", 100.0, 40.0, 3_600_000_000),
        ("s2", 7.0, 0.0, None),
    ]
    saver.close()
    assert len(written) == 4
    saver._time._usage = lambda: 1 / 0  # type: ignore[assignment, return-value]  # a bug
    with caplog.at_level(logging.WARNING):
        saver._time.write()
    assert "could not be written" in caplog.text


def test_without_a_ledger_energy_is_noted_all_the_same() -> None:
    local = LocalTime(None, Background(), list)
    entry = Entry("chat", "m")
    attempt = Attempt("h", "m", tier="local", local=TIER, share=Share(1.0))
    local.ended(entry, attempt, 1)
    assert entry.energy_wh is None
    local.begins()
    local.after_fork()
    local.begins()
    local.ended(entry, attempt, 1)
    local.write()
    assert entry.energy_wh is not None


def test_tiers_are_found_with_their_adapters() -> None:
    own = OwnTiers({"small": TIER})
    assert own.of("local/small") is own.of("local/small:triage") is TIER
    assert (own.of("small"), own.of(None), own.of("local/large"), list(own)) == (None, None, None, [("small", TIER)])
