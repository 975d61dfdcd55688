"""Threads and memory, read from files that may be anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmsaver.local import machine

NOWHERE = Path("/does/not/exist")


def cores(root: Path, *siblings: str) -> Path:
    for cpu, each in enumerate(siblings):
        folder = root / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(each + "\n", encoding="utf-8")
    return root


def test_two_threads_of_a_core_count_once(tmp_path: Path) -> None:
    root = cores(tmp_path, "0,2", "1,3", "0,2", "1,3")
    assert machine.threads({0, 1, 2, 3}, root, NOWHERE) == 2
    assert machine.threads({0, 2}, root, NOWHERE) == 1


def test_without_topology_every_cpu_counts() -> None:
    assert machine.threads({0, 1, 2}, NOWHERE, NOWHERE) == 3
    assert machine.threads(set(), NOWHERE, NOWHERE) == 1


@pytest.mark.parametrize(
    ("quota", "expected"), [("max 100000", 4), ("200000 100000", 2), ("50000 100000", 1), ("x", 4), ("1 0", 4)]
)
def test_a_containers_quota_bounds_it(tmp_path: Path, quota: str, expected: int) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota, encoding="utf-8")
    assert machine.threads({0, 1, 2, 3}, NOWHERE, file) == expected


def test_this_machine_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= machine.threads() <= len(machine.usable_cpus())
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    assert machine.usable_cpus()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(text=st.binary(max_size=80))
def test_any_meminfo_is_survived(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "meminfo"
    file.write_bytes(text)
    assert (machine.free_memory_mib(file, file, tmp_path) or 0) >= 0
    assert machine.threads({0}, NOWHERE, file) == 1


def test_free_memory_is_in_mib(tmp_path: Path) -> None:
    file = tmp_path / "meminfo"
    file.write_text("MemTotal:  9999360 kB\nMemAvailable:   2048000 kB\n", encoding="utf-8")
    assert machine.free_memory_mib(file, NOWHERE) == 2000
    assert machine.total_memory_mib(file, NOWHERE) == 9765
    assert machine.free_memory_mib(NOWHERE, NOWHERE) is None
    assert (machine.total_memory_mib(NOWHERE, NOWHERE) or 0) > 100


def test_where_nothing_is_known_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sysconf_names", {})
    assert machine.total_memory_mib(NOWHERE, NOWHERE) is None


MIB = 1 << 20


@pytest.mark.parametrize(
    ("line", "folder", "names", "droppable"),
    [
        ("0::/box", "box", ("memory.max", "memory.current"), "inactive_file"),
        ("0::/not/there", "", ("memory.max", "memory.current"), "inactive_file"),
        (
            "4:memory:/box/inner",
            "memory/box",
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
            "total_inactive_file",
        ),
    ],
    ids=["v2", "inside a container", "v1, a group above"],
)
def test_a_containers_memory_is_less(
    tmp_path: Path, line: str, folder: str, names: tuple[str, str], droppable: str
) -> None:
    meminfo, membership, group = tmp_path / "meminfo", tmp_path / "cgroup", tmp_path / "groups" / folder
    meminfo.write_text("MemTotal:  9999360 kB\nMemAvailable:   2048000 kB\n", encoding="utf-8")
    membership.write_text(f"9:name=systemd:/\n{line}\n", encoding="utf-8")
    group.mkdir(parents=True)
    (group / names[0]).write_text(f"{500 * MIB}\n", encoding="utf-8")
    (group / names[1]).write_text(f"{300 * MIB}\n", encoding="utf-8")
    assert machine.free_memory_mib(meminfo, membership, tmp_path / "groups") == 200
    (group / "memory.stat").write_text(f"anon 1\n{droppable} {100 * MIB}\n", encoding="utf-8")
    assert machine.free_memory_mib(meminfo, membership, tmp_path / "groups") == 300
    assert machine.total_memory_mib(meminfo, membership, tmp_path / "groups") == 500


@pytest.mark.parametrize("limit", ["max", "9223372036854771712"])
def test_no_limit_is_none(tmp_path: Path, limit: str) -> None:
    (tmp_path / "cgroup").write_text("0::/\n", encoding="utf-8")
    (tmp_path / "memory.max").write_text(limit, encoding="utf-8")
    (tmp_path / "memory.current").write_text("1", encoding="utf-8")
    assert machine.free_memory_mib(NOWHERE, tmp_path / "cgroup", tmp_path) is None


def test_a_gpu_is_seen_by_its_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    assert not machine.has_gpu((tmp_path / "nvidia0",))
    assert machine.has_gpu((tmp_path / "nvidia0", tmp_path))
    monkeypatch.setattr("sys.platform", "darwin")
    assert machine.has_gpu(())


def test_the_prompt_cache_is_a_tenth_and_a_gigabyte_at_most() -> None:
    assert machine.prompt_cache_mib(2000) == 200
    assert machine.prompt_cache_mib(64_000) == 1024
    assert machine.prompt_cache_mib(None) == 256
    assert machine.prompt_cache_mib(-5) == 0
