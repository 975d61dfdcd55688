"""``saver.cache``: memory before the store, writes behind the caller's back, and never a failure of a call."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.cache import caches as caches_module
from llmsaver.cache.caches import Caches
from llmsaver.cache.schema import StoreUnavailable
from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from llmsaver.cache.stored import Stored


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Caches]]:
    made: list[Caches] = []

    def build(**settings: Any) -> Caches:
        made.append(Caches(str(tmp_path / "cache.db"), **settings))
        return made[-1]

    yield build
    for each in made:
        each.close()


@pytest.fixture
def caches(make: Callable[..., Caches]) -> Caches:
    return make()


@pytest.fixture
def fresh(stored: Callable[..., Stored]) -> Callable[..., Stored]:
    """Make answers of this moment."""

    def build(key: str = "k", **more: Any) -> Stored:
        return stored(key, created_at=time.time(), **more)

    return build


def test_it_is_found_at_once_here_and_soon_elsewhere(
    make: Callable[..., Caches], fresh: Callable[..., Stored], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches_module, "TRUST_SECONDS", 3_600.0)
    here, there = make(), make()
    flight = here.put(fresh())
    assert here.held("k") is None  # nobody has asked the store yet who else deletes
    assert here.get("k") is not None
    assert here.held("k") is not None
    assert flight.block(60)
    assert there.get("k") is not None
    assert there.get("none") is None
    assert set(there.get_many(["k", "none"])) == {"k"}


def test_what_is_not_to_replace_does_not(caches: Caches, fresh: Callable[..., Stored]) -> None:
    caches.put(fresh(said="first"))
    caches.put(fresh(said="second"), replace=False)
    caches.drain()
    found = caches.get("k")
    assert found is not None
    assert found.message["choices"][0]["message"]["content"] == "first"
    caches.put(fresh("old", expires_at=time.time() - 1))
    caches.put(fresh("old", said="second"), replace=False)
    found = caches.get("old")
    assert found is not None
    assert found.message["choices"][0]["message"]["content"] == "second"


def test_hits_are_counted_in_the_store(caches: Caches, fresh: Callable[..., Stored]) -> None:
    caches.put(fresh())
    for _ in range(450):
        caches.note_hit("k")
    stats = caches.stats()
    assert (stats["hits"], stats["saved_nano"], stats["here"]["hits"]) == (450, 450_000, 450)
    assert stats["here"]["stored"] == stats["memory"]["entries"] == 1


def test_what_another_program_deletes_is_forgotten_here(
    make: Callable[..., Caches], fresh: Callable[..., Stored], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches_module, "TRUST_SECONDS", 3_600.0)
    here, there = make(), make()
    here.put(fresh())
    here.drain()
    assert here.get("k") is not None
    assert there.purge() == 1
    assert here.held("k") is not None
    monkeypatch.setattr(caches_module, "TRUST_SECONDS", 0.0)
    assert here.held("k") is None
    assert here.get("k") is None


def test_what_users_do(caches: Caches, fresh: Callable[..., Stored]) -> None:
    assert caches.stats()["entries"] == 0
    assert caches.inspect("k") is None
    assert list(caches.export()) == []
    assert caches.purge() == 0
    caches.put(fresh(tags=("x",)))
    caches.put(fresh("other", text="why", vector=b"v"))
    found = caches.inspect("k")
    assert found is not None
    assert found["message"]["choices"][0]["message"]["content"] == "hello"
    assert "vector" not in found
    assert [each["key"] for each in caches.export()] == ["k", "other"]
    assert caches.invalidate(tag="x") == 1
    assert caches.get("k") is None
    assert caches.get("other") is not None
    assert caches.purge() == 1
    assert caches.get("other") is None


@pytest.mark.parametrize(
    ("before", "gone"),
    [
        (lambda: time.time() + 5, 1),
        (lambda: datetime.now(UTC) + timedelta(seconds=5), 1),
        (lambda: datetime.now(UTC) - timedelta(days=1), 0),
        (lambda: date.today() + timedelta(days=2), 1),  # noqa: DTZ011 - a user's date is local
        (lambda: 0, 0),
    ],
)
def test_moments(caches: Caches, fresh: Callable[..., Stored], before: Callable[[], Any], gone: int) -> None:
    caches.put(fresh())
    assert caches.invalidate(before=before()) == gone


@pytest.mark.parametrize("before", ["yesterday", True])
def test_what_is_no_moment_is_refused(caches: Caches, before: Any) -> None:
    with pytest.raises(ConfigurationError, match="before= must be"):
        caches.invalidate(before=before)


def test_invalidating_nothing_in_particular_is_refused(caches: Caches) -> None:
    with pytest.raises(ConfigurationError, match=r"needs one of tag=.*see purge"):
        caches.invalidate()


class TestBroken:
    @pytest.fixture
    def broken(self, caches: Caches, monkeypatch: pytest.MonkeyPatch) -> Caches:
        def fail(*_: Any, **__: Any) -> None:
            raise OSError("the disk is on fire")

        for name in ("get_many", "put_all", "generation", "note_hits", "delete"):
            monkeypatch.setattr(caches.store, name, fail)
        return caches

    def test_every_failure_is_a_miss_that_is_told_once(
        self,
        broken: Caches,
        fresh: Callable[..., Stored],
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(caches_module, "REST_SECONDS", 0.0)
        assert broken.get("k") is None
        flight = broken.put(fresh())
        assert flight.block(60)
        broken.note_hit("k")
        broken.drain()
        broken.forget(["other"])
        assert broken.get("k") is not None  # memory goes on
        assert broken.counts["failed"] >= 5
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "calls go on without it: OSError: the disk is on fire" in caplog.text

    def test_a_store_that_failed_is_left_alone_for_a_moment(
        self, broken: Caches, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(caches_module, "REST_SECONDS", 3_600.0)
        broken.get("k")
        failed = broken.counts["failed"]
        broken.get("k")
        assert broken.counts["failed"] == failed == 1


def test_forgetting_takes_an_answer_out_of_both(caches: Caches, fresh: Callable[..., Stored]) -> None:
    caches.put(fresh())
    caches.drain()
    caches.forget(["k"])
    assert caches.get("k") is None


def test_more_waits_than_can_be_written_is_refused(
    caches: Caches, fresh: Callable[..., Stored], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = threading.Event(), threading.Event()
    put_all = caches.store.put_all

    def slowly(answers: Any) -> list[bool]:
        begun.set()
        go.wait(60)
        return put_all(answers)

    monkeypatch.setattr(caches.store, "put_all", slowly)
    monkeypatch.setattr(caches_module, "_WAITING", 3)
    flights = [caches.put(fresh("first"))]
    assert begun.wait(60)
    flights += [caches.put(fresh(str(at))) for at in range(20)]
    assert flights[-1].landed
    assert caches.counts["refused"] >= 10
    go.set()
    caches.drain()
    assert all(flight.landed for flight in flights)


def test_a_forked_child_writes_its_own(tmp_path: Path) -> None:
    source = """
        import os, sys, time
        from llmsaver.cache.caches import Caches
        from llmsaver.cache.stored import Stored
        caches = Caches(sys.argv[1])
        one = lambda key: Stored(key, "chat", b"{}", time.time(), time.time() + 100)
        caches.put(one("a"))
        caches.drain()
        child = os.fork()
        if not child:
            caches.put(one("b"))
            assert caches.get("a") is not None
            caches.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        caches.put(one("c"))
        print("".join(sorted(each["key"] for each in caches.export())))
        caches.put(one("at exit"))"""
    path = str(tmp_path / "c.db")
    done = subprocess.run(  # noqa: S603 - our own interpreter and source
        [sys.executable, "-c", textwrap.dedent(source), path],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert done.stdout.strip() == "abc"
    later = Caches(path)
    assert later.get("at exit") is not None
    later.close()


class Busy:
    """A store's write that others keep out for a while."""

    def __init__(self, caches: Caches, times: int) -> None:
        self._put, self._left = caches.store.put_all, times

    def __call__(self, answers: Any) -> list[bool]:
        self._left -= 1
        if self._left >= 0:
            raise StoreUnavailable("locked", busy=True)
        return self._put(answers)


def test_an_answer_waits_for_other_writers(
    caches: Caches, fresh: Callable[..., Stored], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches_module, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(caches.store, "put_all", Busy(caches, caches_module.TRIES - 1))
    assert caches.put(fresh()).block(60)
    assert caches.drain()
    assert (caches.counts["stored"], caches.counts["failed"]) == (1, 0)
    assert caches.counts["tried again"] == caches_module.TRIES - 1


def test_but_not_for_ever(caches: Caches, fresh: Callable[..., Stored], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches_module, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(caches.store, "put_all", Busy(caches, 100))
    assert caches.put(fresh()).block(60)
    assert caches.drain()
    assert (caches.counts["stored"], caches.counts["failed"]) == (0, 1)


def test_a_caller_never_waits_for_writers(caches: Caches) -> None:
    def busy() -> int:
        raise StoreUnavailable("locked", busy=True)

    assert caches.guarded(busy, 7) == 7
    assert caches.counts["tried again"] == 0
