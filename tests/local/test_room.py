"""Room in memory for one more server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.errors import LocalModelError
from llmsaver.local import LocalModel, LocalServers, machine, room
from llmsaver.local.room import Need, make_room, need_of
from llmsaver.local.status import running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[..., LocalServers]
    Model = Callable[[str], Path]

MIB = 1 << 20
NEED = Need("big", files_mib=100, token_bytes=MIB, context=1000, parallel=2)


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """Return the servers that there seem to be, by key; those stopped are taken out, least used first."""
    found: dict[str, dict[str, Any]] = {}
    monkeypatch.setattr("llmsaver.local.folder.keys", lambda _: list(found))
    monkeypatch.setattr(room, "look", lambda _, key: found.get(key, {}))
    monkeypatch.setattr(room, "evict", lambda _, key: bool(found.pop(key, None)))
    monkeypatch.setattr(machine, "total_memory_mib", lambda: 10_000)
    monkeypatch.setattr(machine, "free_memory_mib", lambda: 9_000)
    return found


def server(memory_mib: int, quiet_s: float = 0.0, **fields: Any) -> dict[str, Any]:
    key = f"{memory_mib}-{quiet_s}"
    known = {"key": key, "name": f"m{memory_mib}", "memory_mib": memory_mib, "quiet_s": quiet_s}
    return {**known, "base_url": "http://x", "kept": False, "calls": 0, **fields}


def put(found: dict[str, dict[str, Any]], *servers: dict[str, Any]) -> None:
    found.update({each["key"]: each for each in servers})


def test_what_is_needed_is_files_cache_and_buffers() -> None:
    assert (NEED.cache_mib, NEED.mib) == (2000, 2196)


def test_the_files_say_what_a_token_takes(tmp_path: Path) -> None:
    weights, adapter = tmp_path / "w.gguf", tmp_path / "a.gguf"
    weights.write_bytes(b"x" * (2 * MIB + 1))
    adapter.write_bytes(b"x" * MIB)
    known = LocalModel("m", path=weights, kv_bytes=1024, lora={"a": adapter})
    assert need_of(known, weights, 512, 4) == Need("m", 4, 1024, 512, 4)
    assert need_of(LocalModel("m", path=weights), weights, 512, 4) == Need("m", 3, 0, 512, 4)


def test_the_real_weights_are_read(smollm2: Path) -> None:
    need = need_of(LocalModel("m", path=smollm2), smollm2, 4096, 4)
    assert need.token_bytes == 23_040
    assert (need.files_mib, need.cache_mib) == (94, 360)


def test_there_is_room(others: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    assert make_room(tmp_path, NEED, None) == 8000
    assert make_room(tmp_path, NEED, 2500) == 2500
    put(others, server(3000, base_url=None))
    assert make_room(tmp_path, NEED, None) == 5000
    assert others


def test_where_the_system_says_nothing_nothing_is_refused(
    others: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "total_memory_mib", lambda: None)
    monkeypatch.setattr(machine, "free_memory_mib", lambda: None)
    assert make_room(tmp_path, NEED, None) is None
    assert not others


def test_the_least_recently_used_makes_way_and_no_more_than_needed(
    others: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    young, old, called, kept = (
        server(2000, 5.0),
        server(2001, 50.0),
        server(500, 99.0, calls=1),
        server(501, 99.0, kept=True),
    )
    put(others, young, old, called, kept)
    assert make_room(tmp_path, NEED, 6000) == 6000 - 2000 - 1001
    assert sorted(others) == sorted([young["key"], called["key"], kept["key"]])


def test_nobody_makes_way_in_vain(others: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    put(others, server(1000, 5.0), server(900, calls=1))
    words = (
        r"local/big does not fit into memory: it needs 2,196 MiB \(100 for its weights, 2,000 for 2 x 1,000 tokens of "
        r"context\), 1,600 MiB can be had \(of 2,500 MiB for all local models: memory_mib\), besides what local/m900 "
        r"\(900 MiB\) may take: 596 MiB are missing; context=512 or parallel=1 would fit"
    )
    with pytest.raises(LocalModelError, match=words):
        make_room(tmp_path, NEED, 2500)
    assert len(others) == 2


def test_one_that_is_called_meanwhile_stays(
    others: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(others, server(2000, 5.0))
    monkeypatch.setattr(room, "evict", lambda *_: False)
    with pytest.raises(LocalModelError, match=r"besides what local/m2000 \(2,000 MiB\) may take"):
        make_room(tmp_path, NEED, 3000)


def test_a_gpu_has_its_own_memory_but_a_budget_is_a_budget(
    others: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "free_memory_mib", lambda: 300)
    assert make_room(tmp_path, NEED, None, anyway=True) == 300
    with pytest.raises(LocalModelError, match="1,896 MiB are missing"):
        make_room(tmp_path, NEED, 1000, anyway=True)
    assert not others


@pytest.mark.parametrize(
    ("left", "words"),
    [(100, "choose smaller weights"), (500, "choose smaller weights"), (1300, "context=512 or parallel=1 would fit")],
)
def test_what_would_fit_is_said(left: int, words: str) -> None:
    assert NEED.fitting(left) == words
    assert Need("x", 1, 0, 1, 1).fitting(10_000) == "choose smaller weights"


@given(st.integers(0, 50_000), st.integers(1, 1 << 20), st.integers(1, 40_000), st.integers(1, 64))
def test_what_is_proposed_does_fit(left: int, token_bytes: int, context: int, parallel: int) -> None:
    need = Need("x", 100, token_bytes, context, parallel)
    words = need.fitting(left)
    for name, number in re.findall(r"(context|parallel)=(\d+)", words):
        changed = {"context": context, "parallel": parallel} | {name: int(number)}
        assert Need("x", 100, token_bytes, **changed).mib <= left


def test_real_servers_make_way_for_each_other(model: Model, servers: Make, tmp_path: Path) -> None:
    small = {name: tmp_path / f"{name}.gguf" for name in ("one", "two")}
    for path in small.values():
        path.write_bytes(model("ok").read_bytes())
    tiers = {name: LocalModel(name, path=path, kv_bytes=1024) for name, path in small.items()}
    local = servers(models=tiers, memory_mib=200)
    first = local.endpoint("one")
    local.endpoint("two")
    assert {state.model for state in running()} == {"two"}
    assert local.endpoint("one") != first
    assert not local._slots["one"].crashes
    with pytest.raises(LocalModelError, match="does not fit into memory"):
        servers(models=tiers, memory_mib=50).endpoint("two")
