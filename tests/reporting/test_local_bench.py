"""How fast a local tier is, against the fake provider's server and, once, against the real one."""

import io
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from llmsaver.errors import LocalModelError
from llmsaver.local.models import LocalModel
from llmsaver.local.weights import installed
from llmsaver.reporting import local_bench, local_bench_view
from llmsaver.reporting.local_bench import Bench, FirstToken, Rate, as_json, bench, usd_per_million
from llmsaver.saver import Saver
from llmsaver.testing import FakeProvider

MODEL = "local/smollm2-135m"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_FULL", "_QUICK"):
        monkeypatch.setattr(local_bench, name, (0.2, 20, 2))


@pytest.fixture
def lenient(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> FakeProvider:
    """Take ``ignore_eos`` out before the fake, which is as strict as a vendor, sees it."""
    receive = provider.receive

    def without(method: str, url: str, headers: Any, body: bytes) -> Any:
        asked = json.loads(body) if body else None
        if isinstance(asked, dict):
            asked.pop("ignore_eos", None)
            body = json.dumps(asked).encode()
        return receive(method, url, headers, body)

    monkeypatch.setattr(provider, "receive", without)
    return provider


@pytest.fixture
def tier(lenient: FakeProvider, local: Any) -> Any:
    """Let the stand-in say what it is, and take the fields that only real servers know."""
    assert lenient.calls == 0  # it comes first, since the server takes what it serves from it
    local.tier = lambda name: LocalModel(name, hourly_usd="0.40")
    return local


@pytest.fixture
def states(tier: Any, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    state = SimpleNamespace(address=tier.url, slots=4, context=30, rss_mib=300)
    monkeypatch.setattr(local_bench, "running", lambda: [state])
    return state


@pytest.mark.usefixtures("short", "states")
def test_measures_every_level(lenient: FakeProvider) -> None:
    heard: list[str] = []
    made = bench("smollm2-135m", told=heard.append)
    assert heard == [f"starting {MODEL}", "first token of a long prompt", *(f"{n} at once" for n in (1, 2, 4, 8))]
    assert [rate.concurrent for rate in made.rates] == [1, 2, 4, 8]
    assert all(rate.tokens > 0 and rate.tokens_per_s == rate.tokens / rate.seconds for rate in made.rates)
    assert made.first is not None
    assert made.first.tokens > 0
    assert (made.slots, made.context, made.memory_mib, made.was_running) == (4, 30, 300, True)
    assert made.hourly_usd == Decimal("0.40")
    assert lenient.calls > 10


@pytest.mark.usefixtures("short")
def test_elsewhere_and_priced_by_hand(lenient: FakeProvider, tier: Any) -> None:
    tier.tier = lambda _: None
    with Saver(mode="observe") as saver:
        made = bench(MODEL, saver=saver, hourly_usd=Decimal(2), quick=True, longest_s=0.0)
        assert {entry.feature for entry in saver.recent()} == {"bench"}
    assert (made.slots, made.memory_mib, made.was_running) == (None, None, False)
    assert made.hourly_usd == Decimal(2)
    assert made.rates == []
    assert made.skipped == ["1 at once", "2 at once", "4 at once", "8 at once"]
    assert lenient.calls > 0


@pytest.mark.usefixtures("short", "states", "lenient")
def test_ctrl_c_keeps_what_there_is() -> None:
    def told(what: str) -> None:
        if what == "2 at once":
            raise KeyboardInterrupt

    made = bench(MODEL, told=told)
    assert (made.stopped, len(made.rates), made.memory_mib) == (True, 1, 300)


@pytest.mark.usefixtures("short", "states", "tier")
def test_an_answer_without_text(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    assert provider.calls == 0

    def nothing(*_: object) -> Iterator[tuple[float, Any]]:
        yield 0.0, SimpleNamespace(choices=[], usage=None)

    monkeypatch.setattr(local_bench._Bench, "_stream", nothing)
    made = bench(MODEL)
    assert made.rates[0].first_token_s is None
    assert made.rates[0].tokens == 0
    assert made.first is not None
    assert made.first.cached is None


def test_only_local_models() -> None:
    with pytest.raises(LocalModelError, match="gpt-5 is no local model"):
        bench("gpt-5")


def test_usd_per_million() -> None:
    assert usd_per_million(Decimal("8.84"), 2400 * 0.7) == pytest.approx(Decimal("1.4616"), abs=Decimal("0.0001"))
    assert usd_per_million(Decimal(1), 0.0) is None


def made_of(**more: Any) -> Bench:
    rates = [Rate(1, 50.0, 0.05, 500, 10.0), Rate(8, 100.0, None, 1000, 10.0)]
    first = FirstToken(1500, 9.8, 0.49, 1480)
    return Bench(MODEL, "llama.cpp", was_running=False, ready_s=1.2, rates=rates, first=first, **more)


def view(made: Bench) -> str:
    out = io.StringIO()
    local_bench_view.as_text(made, Console(file=out, width=80))
    return out.getvalue()


def test_as_json() -> None:
    told = json.loads(as_json(made_of(hourly_usd=Decimal("0.4"), memory_mib=300)))
    assert told["hourly_usd"] == "0.4"
    assert told["rates"][0]["usd_per_million"] == "2.222222"
    assert told["first"]["times"] == pytest.approx(20.0)
    bare = json.loads(as_json(Bench(MODEL, "attach", was_running=True, ready_s=0.0)))
    assert (bare["first"], bare["rates"], bare["hourly_usd"]) == (None, [], None)
    assert json.loads(as_json(made_of()))["rates"][0]["usd_per_million"] is None


def test_view() -> None:
    text = view(made_of(hourly_usd=Decimal("0.40"), memory_mib=300, slots=4, context=4096, skipped=["8 at once"]))
    assert max(map(len, text.splitlines())) <= 80
    for part in (
        "local/smollm2-135m, llama.cpp, 4 slots x 4,096 tokens, 315 MB, ready in 1.2 s",
        "$2.22",
        "1,500 tokens: 9.8 s cold, 490 ms warm, 20.0x (1,480 cached)",
        "at $0.4 an hour",
        "more than 4 at once",
        "no time for: 8 at once",
    ):
        assert part in text


def test_view_of_little() -> None:
    text = view(Bench(MODEL, "attach", was_running=True, ready_s=0.0))
    assert text.splitlines()[0] == "local/smollm2-135m, attach, was running"
    assert "--hourly" in text
    none = Bench(MODEL, "attach", was_running=True, ready_s=0.0, hourly_usd=Decimal(1))
    none.rates = [Rate(1, 0.0, None, 0, 1.0)]
    none.first = FirstToken(9, 1.0, 0.0, None)
    assert view(none).splitlines()[2].split() == ["1", "0.0", "0.0", "-", "-"]
    none.rates = []
    assert "$/1M" not in view(none)


def test_watched() -> None:
    out = io.StringIO()
    with local_bench_view.watched(MODEL, Console(file=out, force_terminal=True, width=80)) as told:
        told("2 at once")
    assert MODEL in out.getvalue()


@pytest.mark.local
def test_the_real_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    if installed("smollm2-135m") is None:
        pytest.skip("the weights of smollm2-135m are not installed")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(local_bench, "CONCURRENT", (1, 2))
    for seconds in (0.5, 5.0, 20.0, 60.0):  # on a busy machine no token may come in less, or one moment be the odd one
        monkeypatch.setattr(local_bench, "_QUICK", (seconds, 200, 1))
        with Saver(mode="observe", local_context=512) as saver:
            made = bench(MODEL, saver=saver, quick=True)
        assert made.first is not None
        if made.first.cold_s > made.first.warm_s and all(rate.tokens > 0 for rate in made.rates):
            break
    assert all(rate.tokens > 0 for rate in made.rates)
    assert made.first is not None
    assert 100 < made.first.tokens <= 400
    assert (made.first.cached or 0) > made.first.tokens / 2
    assert made.first.cold_s > made.first.warm_s
    assert (made.memory_mib or 0) > 50
