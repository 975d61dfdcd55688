"""The composition root: which layers, in which order, and what a wrong one is told."""

import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llmsaver import local
from llmsaver import saver as saver_module
from llmsaver.core.entry import Entry
from llmsaver.core.request import Request
from llmsaver.core.response import Response
from llmsaver.core.runtime import drive
from llmsaver.core.stack import CallNext, layer_name
from llmsaver.errors import ConfigurationError
from llmsaver.local.models import LocalModel
from llmsaver.saver import Saver, default_saver


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of this machine's take part."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LLMSAVER_MODE", raising=False)
    monkeypatch.delenv("LLMSAVER_DISABLED", raising=False)


async def passing(request: Request, call_next: CallNext) -> Response:
    return await call_next(request)


class Named:
    def __init__(self, name: str) -> None:
        self.name = name

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        request.entry.act(self.name, "seen")
        return await call_next(request)


async def upstream(_: Request) -> Response:
    return Response(200, content=b"{}")


def names_of(saver: Saver) -> list[str]:
    return [layer_name(layer) for layer in saver.layers]


def asked(saver: Saver) -> Request:
    return Request("chat", {"model": "m"}, "https://x.test/", Entry("chat", "m"), saver.sync_runtime)


class TestStack:
    def test_without_layers_of_its_own_it_records_and_budgets(self) -> None:
        assert names_of(Saver(mode="observe")) == ["record", "budget"]
        assert names_of(Saver()) == ["record", "prompt cache", "budget"]

    def test_layers_keep_their_order_under_the_record(self) -> None:
        saver = Saver(stack=[Named("a"), ..., passing, Named("b")])
        assert names_of(saver) == ["record", "a", "passing", "b", "prompt cache", "budget"]
        request = asked(saver)
        drive(saver.over(upstream)(request))  # type: ignore[arg-type]  # a coroutine
        assert [act.name for act in request.entry.layers] == ["a", "b"]

    @pytest.mark.parametrize("stack", [[], [...], ()])
    def test_the_record_and_the_budget_are_always_there(self, stack: Any) -> None:
        assert [name for name in names_of(Saver(stack=stack)) if name != "prompt cache"] == ["record", "budget"]

    def test_dots_twice_are_refused(self) -> None:
        with pytest.raises(ConfigurationError, match=r"Saver\(stack=\) holds \.\.\. more than once; keep one"):
            Saver(stack=[..., passing, ...])

    @pytest.mark.parametrize("wrong", [Named, None, "cache", 3])
    def test_what_is_no_layer_is_refused_with_what_would_be(self, wrong: Any) -> None:
        with pytest.raises(ConfigurationError) as caught:
            Saver(stack=[..., wrong])
        assert repr(wrong) in str(caught.value)
        assert "which is no layer: pass an async function or an object with async def __call__" in str(caught.value)

    @pytest.mark.parametrize("wrong", [passing, Named("a"), 3])
    def test_a_layer_instead_of_a_list_is_refused(self, wrong: Any) -> None:
        with pytest.raises(ConfigurationError, match=r"Saver\(stack=\) must be a list of layers; it is"):
            Saver(stack=wrong)

    def test_layers_that_compare_strangely_do_not_matter(self) -> None:
        class Equal(Named):
            def __eq__(self, other: object) -> bool:
                return True

            __hash__ = None  # type: ignore[assignment]  # as any class that defines equality alone

        assert names_of(Saver(stack=[Equal("a"), Equal("b"), ...])) == ["record", "a", "b", "prompt cache", "budget"]

    def test_the_callers_list_is_left_alone(self) -> None:
        stack: list[Any] = [passing, ...]
        saver = Saver(stack=stack)
        stack.append(Named("late"))
        assert names_of(saver) == ["record", "passing", "prompt cache", "budget"]

    def test_composing_is_done_once_per_upstream(self) -> None:
        async def other(_: Request) -> Response:
            return Response(500)

        saver = Saver()
        composed = saver.over(upstream)
        assert saver.over(upstream) is composed
        answer: Response = drive(saver.over(other)(asked(saver)))  # type: ignore[arg-type]  # a coroutine
        assert answer.status == 500


class TestConfiguration:
    def test_arguments_become_settings(self) -> None:
        saver = Saver(mode="observe", annotate=False, feature="f", local_parallel=2)
        assert (saver.settings.mode, saver.settings.annotate) == ("observe", False)
        assert (saver.settings.feature, saver.settings.local_parallel) == ("f", 2)

    @pytest.mark.parametrize("mode", ["observe", "safe", "balanced", "max"])
    def test_modes_that_act(self, mode: str) -> None:
        assert Saver(mode=mode).bypassed is False

    def test_off_and_disabled_go_past_every_layer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert Saver(mode="off").bypassed is True
        assert Saver(disabled=True).bypassed is True
        monkeypatch.setenv("LLMSAVER_DISABLED", "1")
        assert Saver(mode="max").bypassed is True

    @pytest.mark.parametrize("arguments", [{"mode": "fast"}, {"mdoe": "safe"}, {"local_context": "x"}])
    def test_a_wrong_one_is_refused_at_the_start(self, arguments: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match=rf"Saver\({next(iter(arguments))}=\)"):
            Saver(**arguments)

    def test_a_ledger_in_memory_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="a ledger in memory is lost with its program"):
            Saver(ledger="sqlite://")

    def test_a_bad_price_is_refused_by_name(self) -> None:
        with pytest.raises(ConfigurationError, match="my-model"):
            Saver(prices={"my-model": {"input": "a lot"}})

    def test_no_books_are_kept_where_every_call_goes_past_them(self) -> None:
        assert Saver(mode="off").ledger is None
        assert Saver(mode="safe").ledger is not None


class TestEntries:
    def test_an_entry_is_found_by_its_id(self) -> None:
        saver = Saver()
        request = asked(saver)
        assert saver.entry(request.entry.id) is None
        drive(saver.over(upstream)(request))  # type: ignore[arg-type]  # a coroutine
        assert saver.entry(request.entry.id) is request.entry
        assert request.entry.complete is True

    def test_there_is_no_latest_entry_before_the_first_call(self) -> None:
        assert Saver().last is None

    def test_the_latest_entry_is_this_threads_own(self) -> None:
        saver, seen = Saver(), list[Entry | None]()
        entry = Entry("chat", "m")
        saver.latest.set(entry)
        thread = threading.Thread(target=lambda: seen.append(saver.last))
        thread.start()
        thread.join()
        assert seen == [None]
        assert saver.last is entry
        assert Saver().last is None


class Servers:
    """Stands in for the local servers, whose own tests are elsewhere."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class TestClosing:
    @pytest.fixture(autouse=True)
    def servers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(local, "LocalServers", Servers)

    def test_local_servers_are_made_once_from_the_settings(self) -> None:
        saver = Saver(
            local_context=512,
            local_parallel=3,
            local_idle_s=7,
            local_exit_idle_s=9,
            local_memory_mib=800,
            local_models={"own": "/own.gguf"},
        )
        with ThreadPoolExecutor(4) as pool:
            made = set(pool.map(lambda _: saver.local, range(8)))
        (servers,) = made
        assert isinstance(servers, Servers)
        assert servers.settings == {
            "models": {"own": LocalModel("own", path="/own.gguf")},
            "context": 512,
            "parallel": 3,
            "sleep_idle_seconds": 7,
            "exit_idle_seconds": 9,
            "memory_mib": 800,
        }

    def test_the_rate_of_local_tiers_is_theirs_where_they_have_none(self) -> None:
        saver = Saver(local_hourly_usd="0.5", local_models=[LocalModel("own", path="/own.gguf", hourly_usd=2)])
        servers: Any = saver.local
        models = servers.settings["models"]
        assert models["own"].hourly_usd == 2
        assert models["qwen3-4b"].hourly_usd == Decimal("0.5")

    def test_closing_stops_them_and_may_be_repeated(self) -> None:
        saver = Saver()
        servers: Any = saver.local
        saver.close()
        saver.close()
        assert servers.closed == 1
        assert saver.local is not servers

    def test_closing_waits_for_background_work(self) -> None:
        done: list[int] = []
        with Saver() as saver:
            gate = threading.Timer(0.02, lambda: done.append(1))
            gate.start()
            saver.background.submit(gate.join)
        assert done == [1]

    def test_both_runtimes_share_one_background(self) -> None:
        saver = Saver()
        assert saver.sync_runtime.background is saver.background
        assert saver.async_runtime.background is saver.background


class TestDefault:
    @pytest.fixture(autouse=True)
    def fresh(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(saver_module, "_default", None)

    def test_it_is_made_once_whoever_asks(self) -> None:
        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(lambda _: default_saver(), range(16)))) == 1

    def test_a_wrong_configuration_is_told_each_time_and_can_be_repaired(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LLMSAVER_MODE", "fast")
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="LLMSAVER_MODE"):
                default_saver()
        monkeypatch.setenv("LLMSAVER_MODE", "observe")
        assert default_saver().settings.mode == "observe"


def test_a_forked_child_goes_on_with_its_parents_saver() -> None:
    source = """
        import os, warnings
        warnings.simplefilter("ignore")
        from llmsaver.core.entry import Entry
        from llmsaver.core.request import Request
        from llmsaver.core.response import Response
        from llmsaver.core.runtime import drive
        from llmsaver.saver import default_saver

        async def upstream(request):
            request.runtime.detach(lambda: print(os.getpid(), flush=True))
            return Response(200, content=b"{}")

        def call():
            saver = default_saver()
            request = Request("chat", {"model": "m"}, "https://x.test/", Entry("chat", "m"), saver.sync_runtime)
            answer = drive(saver.over(upstream)(request))
            assert answer.status == 200 and saver.entry(request.entry.id).complete
            assert saver.background.drain()

        call()
        child = os.fork()
        call()
        if child:
            raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    done = subprocess.run(  # noqa: S603 - our own interpreter and source
        [sys.executable, "-c", textwrap.dedent(source)], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stderr == ""
    assert len(done.stdout.split()) == 3
    assert len(set(done.stdout.split())) == 2
