"""Watt-hours: measured where a counter can be read, else a range that says it is one."""

from __future__ import annotations

import os
import sys
import time
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.core.entry import Attempt, Entry
from llmsaver.local import energy as energy_module
from llmsaver.local.endpoint import Share
from llmsaver.local.energy import Energy
from llmsaver.local.energy_sources import Counter, counters, nvml, rapl
from llmsaver.local.models import Attach, LocalModel, Tier, Vllm

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMALL = LocalModel("small", path="s.gguf")
HERE = Attach("ollama", base_url="http://localhost:11434/v1", model="qwen3:8b")
AWAY = Attach("tgi", base_url="http://gpu-host:8080/v1", model="meta-llama/Llama-3.1-8B-Instruct")


def attempt(
    tier: Tier | None = SMALL, seconds: float = 2.0, *, wall: float | None = None, exact: bool = True
) -> Attempt:
    began = time.monotonic() - (seconds if wall is None else wall)
    return Attempt("h", "m", tier="local", local=tier, share=Share(seconds, exact), began=began)


def noted(energy: Energy, tried: Attempt, tokens: int | None = 100) -> tuple[Any, str | None]:
    entry = Entry("chat", "m")
    energy(entry, tried, tokens)
    return entry.energy_wh, entry.energy_source


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Energy]:
    """Make an ``Energy`` with readings of the last minute: each source draws so many watts. Time stands still."""
    moment = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: moment)

    def make(**watts: float) -> Energy:
        energy = Energy(lambda: ())
        energy._counters = [Counter(name.rstrip("0123456789"), lambda: 0.0) for name in watts]
        now = time.monotonic()
        for ago in range(60, -1, -1):
            energy._samples.append((now - ago, tuple(each * (60 - ago) for each in watts.values())))
        return energy

    return make


def test_a_call_alone_took_what_the_machine_drew(measured: Callable[..., Energy]) -> None:
    wh, source = noted(measured(rapl=36.0), attempt(seconds=10.0))
    assert source == "rapl"
    assert wh == pytest.approx((0.1, 0.1), rel=1e-3)


def test_calls_side_by_side_divide_it(measured: Callable[..., Energy]) -> None:
    wh, _ = noted(measured(rapl=36.0), attempt(seconds=2.5, wall=10.0))
    assert wh == pytest.approx((0.025, 0.025), rel=1e-3)
    wh, _ = noted(measured(rapl=36.0), attempt(seconds=2.5, wall=10.0, exact=False))
    assert wh == pytest.approx((0.0, 0.025), rel=1e-3)


@pytest.mark.parametrize(
    ("tier", "watts", "source"),
    [
        (SMALL, 460.0, "nvml+rapl"),
        (None, 460.0, "nvml+rapl"),
        (HERE, 460.0, "nvml+rapl"),
        (LocalModel("cpu", path="c.gguf", gpu_layers=0), 60.0, "rapl"),
        (Vllm("org/x", gpus=1), 160.0, "nvml+rapl"),
    ],
)
def test_a_tier_counts_what_it_runs_on(
    measured: Callable[..., Energy], tier: Tier | None, watts: float, source: str
) -> None:
    wh, told = noted(measured(rapl=60.0, nvml1=100.0, nvml2=300.0), attempt(tier, seconds=10.0))
    assert (wh[1], told) == (pytest.approx(watts / 360, rel=1e-3), source)


def test_what_nobody_read_in_time_is_a_range(measured: Callable[..., Energy]) -> None:
    energy = measured(rapl=36.0)
    assert noted(energy, attempt(seconds=100.0))[1] == "estimate"
    energy._samples.clear()
    assert noted(energy, attempt())[1] == "estimate"


def test_cores_at_work_are_a_range_of_watts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy_module, "threads_here", lambda: 4)
    wh, source = noted(Energy(), attempt(seconds=3600.0))
    assert (wh, source) == ((8.0, 80.0), "estimate")
    wh, source = noted(Energy(), attempt(Vllm("org/x", gpus=2), seconds=3600.0))
    assert (wh, source) == ((140.0, 2_000.0), "estimate")


def test_of_a_server_elsewhere_nothing_is_claimed() -> None:
    assert noted(Energy(), attempt(AWAY)) == (None, None)
    assert noted(Energy(), attempt(HERE)) == (None, None)


@pytest.fixture
def ecologits(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Install a stand-in for EcoLogits and return what it is asked."""
    asked: list[dict[str, Any]] = []

    def compute(**given: Any) -> Any:
        asked.append(given)
        return SimpleNamespace(energy=SimpleNamespace(value=1e-5 * given["datacenter_pue"]))

    for name in ("ecologits", "ecologits.impacts", "ecologits.impacts.llm"):
        module = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
    module.compute_llm_impacts = compute  # type: ignore[attr-defined]  # a stand-in
    return asked


def test_ecologits_knows_a_models_draw_by_its_size(ecologits: list[dict[str, Any]]) -> None:
    energy = Energy(lambda: ())
    energy.watch()
    until = time.monotonic() + 60
    while energy._ecologits is None and time.monotonic() < until:
        time.sleep(0.005)
    wh, source = noted(energy, attempt(AWAY), tokens=200)
    assert (wh, source) == (pytest.approx((0.01, 0.0156)), "ecologits")
    assert (ecologits[0]["model_total_parameter_count"], ecologits[0]["output_token_count"]) == (8.0, 200)
    noted(energy, attempt(Vllm("Qwen/Qwen2.5-500M-Instruct")))
    assert ecologits[-1]["model_active_parameter_count"] == 0.5
    assert noted(energy, attempt(AWAY), tokens=None) == (None, None)
    assert noted(energy, attempt(Attach("x", base_url="http://gpu:1/v1"))) == (None, None)
    assert noted(energy, attempt(Vllm("org/gpt-4x8bit")))[1] == "estimate"


def test_attempts_of_one_call_add_up() -> None:
    energy, entry = Energy(), Entry("chat", "m")
    energy(entry, attempt(Vllm("org/x"), seconds=36.0), None)
    energy(entry, attempt(Vllm("org/x"), seconds=36.0), None)
    assert entry.energy_wh == pytest.approx((1.4, 20.0))
    assert entry.energy_source == "estimate"
    entry.energy_source = "nvml"
    energy(entry, attempt(), None)
    assert entry.energy_source == "nvml, estimate"


def wait_for(done: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not done() and time.monotonic() < until:
        time.sleep(0.002)
    assert done()


def test_counters_are_read_while_there_are_calls_and_no_longer() -> None:
    sums = iter(range(100_000))
    energy = Energy(lambda: [Counter("rapl", lambda: float(next(sums)))], every=0.01, linger=600)
    energy.watch()
    wait_for(lambda: len(energy._samples) >= 3)
    began = time.monotonic()
    tried = attempt(seconds=0.05, wall=0.0)
    wait_for(lambda: time.monotonic() > began + 0.05)
    wait_for(lambda: noted(energy, tried)[1] == "rapl")  # a reading is good for a moment only
    energy._linger = 0.0
    wait_for(lambda: energy._thread is None)
    energy._linger = 600
    kept = len(energy._samples)
    energy.watch()
    wait_for(lambda: len(energy._samples) > kept)
    child = os.fork()
    if child == 0:
        os._exit(0 if energy._thread is None and not energy._samples else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    energy._linger = 0.0
    wait_for(lambda: energy._thread is None)


def test_where_nothing_can_be_read_no_thread_stays() -> None:
    for find in (lambda: (), lambda: 1 / 0):
        energy = Energy(find)  # type: ignore[arg-type]  # the second is a bug
        energy.watch()
        wait_for(lambda energy=energy: energy._counters == () and energy._thread is None)  # type: ignore[misc]  # a default binds it
        energy.watch()
        assert energy._thread is None


def test_a_counter_that_stops_is_given_up() -> None:
    energy = Energy(lambda: [Counter("rapl", lambda: 1 / 0)], every=0.001)
    energy.watch()
    wait_for(lambda: energy._counters == () and energy._thread is None)


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """Write what the kernel shows of a machine with one package, its cores and memory."""
    for zone, name, joules in (
        ("intel-rapl:0", "package-0", 5_000_000),
        ("intel-rapl:0:0", "core", 3_000_000),
        ("intel-rapl:0:1", "dram", 1_000_000),
        ("intel-rapl:1", "psys", 9_000_000),
        ("intel-rapl:2", "package-1", None),
        ("intel-rapl-mmio:0", "package-0", 5_000_000),
    ):
        folder = tmp_path / zone
        folder.mkdir()
        (folder / "name").write_text(name + "\n")
        (folder / "max_energy_range_uj").write_text("262143328850\n")
        if joules is not None:
            (folder / "energy_uj").write_text(f"{joules}\n")
    return tmp_path


def test_rapl_counts_packages_and_memory_once_and_goes_on_when_it_wraps(powercap: Path) -> None:
    package, dram = rapl(powercap)
    assert [package.joules(), dram.joules()] == [5.0, 1.0]
    (powercap / "intel-rapl:0" / "energy_uj").write_text("2000000\n")
    assert package.joules() == pytest.approx(2.0 + 262143.32885)
    assert list(rapl(powercap / "none")) == []


class Nvml:
    """A stand-in for pynvml: three GPUs, of which the second is too old to count."""

    class NVMLError(Exception):
        """What it raises."""

    def __init__(self, *, driver: bool = True) -> None:
        self.driver = driver
        self.milli = 7_000

    def nvmlInit(self) -> None:  # noqa: N802 - its name
        if not self.driver:
            raise self.NVMLError

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - its name
        return 3

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802 - its name
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:  # noqa: N802 - its name
        if handle == 1:
            raise self.NVMLError
        return self.milli + handle * 1_000


@pytest.mark.parametrize(
    ("visible", "joules"), [(None, [7.0, 9.0]), ("2, 0", [9.0, 7.0]), ("0,7", [7.0]), ("GPU-1f2e", [7.0, 9.0])]
)
def test_nvml_counts_the_gpus_that_may_be_used(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, joules: list[float]
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    library = Nvml()
    found = list(nvml(library))
    assert [each.joules() for each in found] == joules
    assert {each.source for each in found} == {"nvml"}
    library.milli = 0  # a driver that was loaded anew
    assert found[0].joules() >= joules[0]


def test_nvml_without_a_driver_or_its_package_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(nvml(Nvml(driver=False))) == []
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert list(nvml()) == []
    assert all(each.source == "rapl" for each in counters())


def test_the_real_ecologits_is_asked_as_it_wants_to_be() -> None:
    pytest.importorskip("ecologits")
    energy = Energy(lambda: ())
    energy._ecologits = energy_module._ecologits()
    wh, source = noted(energy, attempt(AWAY, seconds=4.0), tokens=200)
    assert source == "ecologits"
    assert 0.001 < wh[0] < wh[1] < 1.0
