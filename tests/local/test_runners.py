"""vLLM and servers elsewhere behind an endpoint, with stand-ins for what starts and probes them."""

from __future__ import annotations

import logging
import sys
import threading
from dataclasses import replace
from decimal import Decimal
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import llmsaver.local
from llmsaver.errors import LocalModelError
from llmsaver.local import Attach, Endpoint, LocalServers, Vllm, slots
from llmsaver.local import servers as servers_module
from llmsaver.local.endpoint import Load
from llmsaver.local.models import Tier

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[..., LocalServers]

LOAD = Load(1, 2, 3, 0.5)
ELSEWHERE = Attach("tgi", base_url="http://gpu:8080/v1", hourly_usd=4.5)


class Started:
    """What starts vLLM, counted."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.up = True
        self.stopped = threading.Event()

    def start(self, tier: Vllm, **settings: Any) -> Any:
        self.calls.append((tier, settings))
        endpoint = Endpoint(f"http://127.0.0.1:{len(self.calls)}", "k", tier.name, tier, runner="vllm")
        return SimpleNamespace(endpoint=endpoint, alive=lambda: self.up, stop=self.stopped.set, load=lambda: LOAD)


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> Started:
    started = Started()
    module: Any = ModuleType("llmsaver.local.vllm_run")
    module.start = started.start
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(llmsaver.local, "vllm_run", module, raising=False)
    return started


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> list[Attach]:
    """Return the tiers that were probed."""
    found: list[Attach] = []
    module: Any = ModuleType("llmsaver.local.attach")

    def endpoint(tier: Attach) -> Endpoint:
        found.append(tier)
        return Endpoint("http://gpu:8080", "k", "theirs", tier, runner="attach")

    module.endpoint = endpoint
    module.load = lambda _tier: LOAD
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(llmsaver.local, "attach", module, raising=False)
    return found


def test_vllm_is_started_once_counted_here_and_stopped_at_the_end(vllm: Started, servers: Make) -> None:
    tier = Vllm("org/Big", lora={"triage": "/t"}, hourly_usd="2")
    local = servers(models={"big": tier}, start_timeout=7.0)
    endpoint = local.endpoint("big")
    assert local.endpoint("big") is endpoint
    assert local.endpoint("big:triage") == replace(endpoint, model="triage")
    with pytest.raises(LocalModelError, match="no adapter 'x'; there are triage"):
        local.endpoint("big:x")
    assert [settings["timeout"] for _, settings in vllm.calls] == [7.0]
    assert not local.use(endpoint).end().exact
    assert local.load("big") == LOAD
    (time,) = local.usage()
    assert (time.hourly_usd, time.name) == (Decimal(2), "big")
    assert time.up_s >= time.busy_s
    with pytest.raises(LocalModelError, match="not ours to keep"):
        local.keep("big")
    local.close()
    assert vllm.stopped.is_set()


def test_vllm_that_ended_is_started_again(vllm: Started, servers: Make) -> None:
    local = servers(models={"big": Vllm("org/Big")})
    first = local.endpoint("big")
    vllm.up = False
    second = local.endpoint("big")
    assert second != first
    assert vllm.stopped.is_set()
    assert len(vllm.calls) == 2


def test_a_fork_uses_its_parents_vllm_and_does_not_stop_it(vllm: Started, servers: Make) -> None:
    local = servers(models={"big": Vllm("org/Big")})
    endpoint = local.endpoint("big")
    servers_module._after_fork()
    assert local.endpoint("big") is endpoint
    assert local.load("big") is None
    assert not local.use(endpoint).end().exact
    local.close()
    assert not vllm.stopped.is_set()


def test_a_server_elsewhere_is_probed_once_and_again_after_a_failure(
    probed: list[Attach], servers: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = servers(models={"tgi": ELSEWHERE})
    endpoint = local.endpoint("tgi")
    assert local.endpoint("tgi") is endpoint
    assert local.load("tgi") == LOAD
    assert not local.use(endpoint).end().exact
    assert local.usage() == []
    monkeypatch.setattr(slots, "answers", lambda _: True)
    local.failed(endpoint)
    assert local.endpoint("tgi") is endpoint
    monkeypatch.setattr(slots, "answers", lambda _: False)
    local.failed(endpoint)
    assert local.endpoint("tgi") == endpoint
    assert probed == [ELSEWHERE] * 2
    servers_module._after_fork()
    assert local.endpoint("tgi") == endpoint
    assert len(probed) == 2
    local.close()


def test_a_tier_of_no_known_kind_is_refused(servers: Make, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(LocalModelError, match="Tier is no tier that can be run"):
        servers(models={"odd": Tier()}).endpoint("odd")
