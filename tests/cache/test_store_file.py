"""The cache's file: private, and whatever becomes of it, the next answer finds a store."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING

import pytest

from llmsaver.cache import store_file
from llmsaver.cache.schema import StoreUnavailable
from llmsaver.cache.store import Store
from llmsaver.cache.store_file import StoreFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from llmsaver.cache.stored import Stored


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(StoreFile(tmp_path / "deep" / "cache.db"), max_bytes=1 << 30)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "cache.db"


def test_it_is_its_owners_alone(store: Store, stored: Callable[..., Stored], path: Path) -> None:
    store.put(stored())
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("garbage", [b"this is no database" * 500, b"SQLite format 3\0" + b"\xff" * 8_000])
def test_a_file_that_is_no_database_is_moved_aside(
    store: Store,
    stored: Callable[..., Stored],
    path: Path,
    garbage: bytes,
    now: float,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path.parent.mkdir()
    path.write_bytes(garbage)
    assert store.get("k", now) is None
    assert store.put(stored())
    assert store.get("k", now) is not None
    assert len(list(path.parent.glob("cache.db.broken-*"))) == 1
    assert "the cache is broken" in caplog.text
    store.purge()
    assert not list(path.parent.glob("cache.db.broken-*"))


def test_a_file_cut_in_half_costs_what_was_stored(
    store: Store, stored: Callable[..., Stored], path: Path, now: float
) -> None:
    store.put_all([(stored(f"{at:032}", "x" * 500), True) for at in range(300)])
    store.place.close()
    os.truncate(path, path.stat().st_size // 2)
    found = [store.get(f"{at:032}", now) for at in range(300)]
    assert all(each is None or each.key == f"{at:032}" for at, each in enumerate(found))
    assert store.put(stored("new"))
    assert store.get("new", now) is not None


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_one_that_is_gone_in_mid_call_begins_anew(
    store: Store, stored: Callable[..., Stored], path: Path, now: float, how: str
) -> None:
    store.put(stored())
    assert store.get("k", now) is not None
    for file in list(path.parent.iterdir()):
        file.unlink()
    if how == "replaced":
        path.touch(0o600)
    assert store.get("k", now) is None
    assert store.put(stored())
    assert store.get("k", now) is not None


def test_a_folder_that_cannot_be_made_is_a_clear_failure(tmp_path: Path, now: float) -> None:
    (tmp_path / "file").touch()
    store = Store(StoreFile(tmp_path / "file" / "cache.db"), max_bytes=1 << 20)
    with pytest.raises(StoreUnavailable, match=r"file/cache\.db"):
        store.get("k", now)


def test_another_writer_is_not_waited_for_long(
    store: Store, stored: Callable[..., Stored], path: Path, now: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_file, "PATIENCE_SECONDS", 0.05)
    store.put(stored())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        store.put(stored("other"))
    assert store.get("k", now) is not None
    other.execute("ROLLBACK")
    other.close()
    assert store.put(stored("other"))


def test_a_broken_file_that_cannot_be_moved_is_a_clear_failure(
    store: Store, path: Path, now: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 500)

    def refuse(*_: object) -> None:
        raise OSError("read-only")

    monkeypatch.setattr("pathlib.Path.replace", refuse)
    with pytest.raises(StoreUnavailable, match="cannot be moved aside: read-only"):
        store.get("k", now)


def test_one_that_another_process_has_mended_is_left(store: Store, stored: Callable[..., Stored], path: Path) -> None:
    store.put(stored())
    place = store.place
    assert isinstance(place, StoreFile)
    place._set_aside(StoreUnavailable("broken", broken=True))
    path.unlink()
    place._set_aside(StoreUnavailable("broken", broken=True))
    assert not list(path.parent.glob("cache.db.broken-*"))


def test_a_failure_in_between_changes_nothing(store: Store, stored: Callable[..., Stored], now: float) -> None:
    store.put(stored())

    def half(transaction: object) -> None:
        store._drop_all(transaction, ["k"])  # type: ignore[arg-type]  # as it is given
        raise KeyError

    with pytest.raises(KeyError):
        store.place.transact(half)
    assert store.get("k", now) is not None


def test_a_forked_child_uses_connections_of_its_own(tmp_path: Path) -> None:
    source = """
        import os, sys, time
        from pathlib import Path
        from llmsaver.cache.store import Store
        from llmsaver.cache.store_file import StoreFile
        from llmsaver.cache.stored import Stored
        store = Store(StoreFile(Path(sys.argv[1])), max_bytes=1 << 30)
        one = lambda key: Stored(key, "chat", b"{}", 1e9, 2e9)
        store.put(one("a"))
        child = os.fork()
        if not child:
            store.place.after_fork()
            store.put(one("b"))
            assert store.get("a", 1.5e9) is not None
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        store.put(one("c"))
        print("".join(each.key for each in store.export()))"""
    done = subprocess.run(  # noqa: S603 - our own interpreter and source
        [sys.executable, "-c", textwrap.dedent(source), tmp_path / "c.db"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "abc"


def test_many_threads_read_and_write(store: Store, stored: Callable[..., Stored], now: float) -> None:
    failures: list[BaseException] = []

    def work(name: int) -> None:
        try:
            for at in range(40):
                store.put(stored(f"{name}-{at}"))
                assert store.get(f"{name}-{at}", now) is not None
        except BaseException as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert store.stats(now)["entries"] == 160
