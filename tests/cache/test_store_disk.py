"""The same answers in diskcache's form: the same promises, and no pickle is ever read."""

from __future__ import annotations

import json
import pickle
import sqlite3
import sys
import time
from contextlib import closing
from importlib import import_module
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

import llmsaver
from llmsaver import ConfigurationError, Saver
from llmsaver.cache import store_disk
from llmsaver.cache.caches import Caches
from llmsaver.cache.schema import StoreUnavailable
from llmsaver.cache.store_disk import DiskStore
from llmsaver.testing import FakeProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from llmsaver.cache.stored import Stored

pytest.importorskip("diskcache")
ROOM = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    made = DiskStore(tmp_path / "folder", max_bytes=ROOM)
    yield made
    made.place.close()


@pytest.fixture
def fresh(stored: Callable[..., Stored]) -> Callable[..., Stored]:
    """Make answers of this moment."""

    def build(key: str = "k", **more: Any) -> Stored:
        return stored(key, **{"created_at": time.time(), **more})

    return build


def put(store: DiskStore, *answers: Stored, replace: bool = True) -> list[bool]:
    return store.put_all([(each, replace) for each in answers])


def test_what_is_put_is_found_whole_until_its_end(store: DiskStore, fresh: Callable[..., Stored]) -> None:
    first = fresh(tags=("a",), tenant="t", vector=b"\0\1", text="q", namespace="n", embedder="e", group=3)
    assert put(store, first) == [True]
    now = time.time()
    assert store.get_many(["k", "none"], now) == {"k": first}
    assert store.get_many(["k"], now + 101) == {}
    assert store.inspect("k") == first
    assert first.seq == 1
    old = fresh("old", created_at=now - 500, expires_at=now - 400, drop_at=now + 50)
    put(store, old)
    assert store.get_many(["old"], now) == {}
    assert store.get_many(["old"], now, stale=True) == {"old": old}


def test_a_live_one_stays_where_it_is_not_to_be_replaced(store: DiskStore, fresh: Callable[..., Stored]) -> None:
    put(store, fresh())
    assert put(store, fresh(said="other"), replace=False) == [False]
    assert put(store, fresh(said="other")) == [True]
    assert b"other" in store.get_many(["k"], time.time())["k"].body
    assert put(store, fresh(said="x" * ROOM)) == [False]
    assert store.inspect("k") is None


def test_an_index_can_follow(store: DiskStore, fresh: Callable[..., Stored]) -> None:
    for key in "abc":
        put(store, fresh(key, namespace="n", vector=b"1234", text=key))
    put(store, fresh("plain"), fresh("bare", namespace="n"))
    assert [each.key for each in store.newer("n", 0)] == ["a", "b", "c"]
    assert [each.key for each in store.newer("n", 2)] == ["c"]
    store.delete(["c"])
    assert [each.key for each in store.newer("n", 0)] == ["a", "b"]
    assert store.newer("other", 0) == []


def test_deleting_is_seen_by_others(store: DiskStore, fresh: Callable[..., Stored]) -> None:
    put(store, fresh("a", tags=("x",), tenant="t"), fresh("b", model="n"), fresh("c", created_at=time.time() - 50))
    before = store.generation()
    assert store.delete(["none"]) == 0
    assert store.generation() == before
    assert store.invalidate(tag="x", tenant="t") == 1
    assert store.invalidate(before=time.time() - 10) == 1
    assert store.generation() > before
    assert [each.key for each in store.export()] == ["b"]
    assert store.invalidate(model="m") == 0
    at = store.generation()
    assert store.purge() == 1
    assert store.generation() > at
    store.place.wipe()


def test_hits_and_verdicts_are_counted(store: DiskStore, fresh: Callable[..., Stored]) -> None:
    put(store, fresh(cost_nano=5), fresh("other", model="n"))
    store.note_hits(["k", "k", "none"])
    store.note_verdict("k", right=True)
    store.note_verdict("k", right=False)
    found = store.inspect("k")
    assert found is not None
    assert (found.hits, found.right, found.wrong) == (2, 1, 1)
    told = store.stats(time.time())
    assert (told["entries"], told["live"], told["hits"], told["saved_nano"]) == (2, 2, 2, 10)
    assert [row["model"] for row in told["models"]] == ["m", "n"]


def test_what_was_learned_is_kept(store: DiskStore) -> None:
    store.set_state("one:a", {"x": 1})
    store.set_state("two:a", {"x": 2})
    assert store.state("one:a") == {"x": 1}
    assert store.state("none") is None
    assert store.states("one:") == {"one:a": {"x": 1}}


def test_a_changed_answer_is_none(store: DiskStore, fresh: Callable[..., Stored]) -> None:
    put(store, fresh())
    key = "a:k"
    value = store.place.cache.get(key)
    store.place.cache.set(key, {**value, "body": json.dumps({"choices": []})})
    assert store.inspect("k") is None
    for broken in ("text", {"body": 1}, {**value, "more": 1}, None):
        store.place.cache.set(key, broken)
        assert store.inspect("k") is None


class Trap:
    """What a pickle could do: anything."""

    def __reduce__(self) -> Any:
        return (sys.exit, ("unpickled",))


def planted(store: DiskStore, statement: str) -> None:
    """Change the first row as somebody could who may write to the folder."""
    store.place.close()
    with closing(sqlite3.connect(store.place.path / "cache.db")) as connection, connection:
        connection.execute(statement, (pickle.dumps(Trap()),))


def test_a_planted_pickle_is_not_read(store: DiskStore, fresh: Callable[..., Stored]) -> None:
    put(store, fresh())
    planted(store, "UPDATE Cache SET mode = 4, value = ?")
    with pytest.raises(StoreUnavailable, match="is not read"):
        store.inspect("k")


def test_nor_is_one_planted_as_a_key(store: DiskStore, fresh: Callable[..., Stored]) -> None:
    put(store, fresh())
    planted(store, "UPDATE Cache SET raw = 0, key = ? WHERE rowid = 1")
    with pytest.raises(StoreUnavailable, match="is not read"):
        list(store.export())


def test_others_writing_is_told_from_a_broken_folder(store: DiskStore) -> None:
    diskcache: Any = import_module("diskcache")

    def busy(_: Any) -> None:
        raise diskcache.Timeout

    with pytest.raises(StoreUnavailable) as told:
        store._guarded(busy)
    assert told.value.busy
    with pytest.raises(StoreUnavailable, match="no tables"):
        store.place.transact(lambda _: None)
    store.place.after_fork()


def test_what_it_cannot_do_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="no bounds by tenant"):
        Caches(f"diskcache:{tmp_path}", tenant_bytes=5)
    monkeypatch.setattr(store_disk, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match="pip install diskcache"):
        Caches(f"diskcache:{tmp_path}")


def test_a_saver_serves_from_it(tmp_path: Path) -> None:
    fake, turns = FakeProvider(), [{"role": "user", "content": "hi"}]
    for _ in range(2):
        with Saver(mode="balanced", ledger=str(tmp_path / "l.db"), cache=f"diskcache:{tmp_path / 'd'}") as saver:
            http = httpx2.Client(transport=fake.transport())
            client = llmsaver.OpenAI(api_key="sk-test", saver=saver, http_client=http)
            asked: Any = {"model": "gpt-5-mini", "messages": turns}
            client.chat.completions.create(**asked)
            stats = saver.cache.stats()
            assert (stats["entries"], stats["place"]) == (1, f"diskcache:{tmp_path / 'd'}")
    assert fake.calls == 1
    assert saver.recent(1)[0].hit_kind == "exact"
