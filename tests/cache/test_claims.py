"""Claims of several processes on one store: one asks, the others wait, and the dead keep nobody waiting."""

from __future__ import annotations

import gc
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.cache import claims as claims_module
from llmsaver.cache import schema
from llmsaver.cache.caches import Caches
from llmsaver.cache.claims import LEASE_SECONDS, Claims
from llmsaver.cache.schema import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from llmsaver.cache.stored import Stored


class Holder:
    """What a claim lives as long as."""


@pytest.fixture(params=["file", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "c.db") if request.param == "file" else str(request.getfixturevalue("postgres"))


@pytest.fixture
def two(place: str) -> Iterator[tuple[Claims, Claims]]:
    """Return the claims of what might be two processes."""
    caches = Caches(place), Caches(place)
    made = Claims(caches[0], renew_every=0.02), Claims(caches[1], renew_every=0.02)
    yield made
    for claims, cache in zip(made, caches, strict=True):
        claims.close()
        cache.close()


def reach(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.005)


def test_one_asks_and_the_others_wait(two: tuple[Claims, Claims]) -> None:
    one, other = two
    holder = Holder()
    assert one.claim("k", holder) == "ours"
    assert one.holds("k", holder)
    assert not one.holds("k", other)
    assert other.claim("k", holder) == other.look("k") == "theirs"
    assert other.claim("else", holder) == "ours"
    one.release("k")
    one.release("k")  # nothing is given back twice
    reach(lambda: other.look("k") == "free")
    assert other.claim("k", holder) == "ours"


def test_an_own_claim_that_was_left_is_taken_again(two: tuple[Claims, Claims]) -> None:
    holder = Holder()
    assert two[0].claim("k", Holder()) == "ours"  # and nobody was there to hear of it
    assert two[0].claim("k", holder) == "ours"
    assert two[0].holds("k", holder)


def test_an_answer_that_is_there_needs_no_claim(two: tuple[Claims, Claims], stored: Callable[..., Stored]) -> None:
    one, other = two
    holder = Holder()
    assert one.claim("k", holder) == "ours"
    one._caches.store.put(stored("k", created_at=time.time()))
    assert other.look("k") == other.claim("k", holder) == "stored"


def test_what_is_collected_claims_nothing(two: tuple[Claims, Claims]) -> None:
    one, other = two
    holder = Holder()
    assert one.claim("k", holder) == "ours"
    del holder
    gc.collect()
    reach(lambda: other.look("k") == "free")
    assert not one.holds("k", other)


def test_a_claim_is_renewed(two: tuple[Claims, Claims], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims_module, "is_alive", lambda _: None)
    monkeypatch.setattr(claims_module, "LEASE_SECONDS", 600.0)
    one, other = two
    holder = Holder()
    assert one.claim("k", holder) == "ours"
    first = expiry(one)
    reach(lambda: expiry(one) > first + 0.1)
    assert other.look("k") == "theirs"


def expiry(claims: Claims) -> float:
    """Return when the only claim there is runs out."""

    def read(transaction: Any) -> float:
        transaction.cursor.execute(f"SELECT expires_at FROM {schema.claims.name}")  # noqa: S608 - a name of ours
        return float(transaction.cursor.fetchone()[0])

    return claims._caches.store.place.read(read)


@pytest.mark.parametrize("off", [-1.0, 100 * LEASE_SECONDS])
def test_one_that_has_run_out_or_is_from_the_future_is_taken(
    two: tuple[Claims, Claims], monkeypatch: pytest.MonkeyPatch, off: float
) -> None:
    one, other = two
    one._every = 3600  # as if its thread were held up
    holder = Holder()
    assert one.claim("k", holder) == "ours"

    def shift(transaction: Any) -> None:
        transaction.cursor.execute(f"UPDATE cache_claims SET expires_at = {time.time() + off}")  # noqa: S608 - a number

    one._caches.store.place.transact(shift)
    monkeypatch.setattr(claims_module, "is_alive", lambda _: None)
    assert other.look("k") == "dead"
    assert other.claim("k", holder) == "ours"
    one.release("k")
    one._renew()
    assert one.look("k") == "theirs"  # what was taken over is not the first one's to give back


def test_one_who_is_late_but_alive_keeps_its_claim(two: tuple[Claims, Claims]) -> None:
    one, other = two
    one._every = 3600
    assert one.claim("k", one) == "ours"
    for ago, found in ((1, "theirs"), (2 * claims_module.GRACE_SECONDS, "dead")):

        def shift(transaction: Any, at: float = time.time() - ago) -> None:
            transaction.cursor.execute(f"UPDATE cache_claims SET expires_at = {at}")  # noqa: S608 - a number

        one._caches.store.place.transact(shift)
        assert other.look("k") == found


def test_other_writers_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.db"
    monkeypatch.setattr("llmsaver.cache.store_file.PATIENCE_SECONDS", 0.01)
    # A renewal would find the writer too, and make the claims rest.
    claims = Claims(Caches(str(path)), renew_every=3_600)
    assert claims.claim("k", claims) == "ours"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert claims.claim("other", claims) == "unknown"
        assert claims.claim("third", claims) == "unknown"  # it rests
        claims._resting_until = 0.0
        end = threading.Timer(0.05, writer.execute, ["COMMIT"])
        end.start()
        monkeypatch.setattr(claims_module, "_ATTEMPTS", 1_000)
        assert claims.claim("other", claims) == "ours"
        end.join()
    claims.close()
    claims._caches.close()


def test_a_killed_owner_is_noticed_at_once(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import sys
        from llmsaver.cache.caches import Caches
        from llmsaver.cache.claims import Claims
        holder = Claims(Caches(sys.argv[1]))
        print(holder.claim("k", holder), flush=True)
        sys.stdin.read()
    """)
    path = str(tmp_path / "c.db")
    child = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ours\n"
        claims = Claims(Caches(path))
        assert claims.claim("k", claims) == "theirs"
        os.kill(child.pid, signal.SIGKILL)
        reach(lambda: claims.look("k") == "dead")  # also before anybody has waited for it
        assert claims.claim("k", claims) == "ours"
    claims.close()
    claims._caches.close()


def test_a_program_that_ends_gives_back(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import sys
        from llmsaver.cache.caches import Caches
        from llmsaver.cache.claims import Claims
        holder = Claims(Caches(sys.argv[1]))
        holder.claim("k", holder)
    """)
    path = tmp_path / "c.db"
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, timeout=60)  # noqa: S603 - our own program
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM cache_claims").fetchall() == []


def test_a_child_owns_nothing_of_its_parents(tmp_path: Path) -> None:
    claims = Claims(Caches(str(tmp_path / "c.db")))
    assert claims.claim("k", claims) == "ours"
    before = claims.owner
    pid = os.fork()
    if pid == 0:
        mine = claims.owner != before and not claims._held and claims.claim("k", claims) == "theirs"
        os._exit(0 if mine else 1)
    assert os.waitpid(pid, 0)[1] == 0
    claims.close()
    claims._caches.close()


def test_a_store_that_fails_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "c.db").mkdir()
    claims = Claims(Caches(str(tmp_path / "c.db")))
    assert claims.claim("k", claims) == "unknown"
    assert claims.look("k") == "free"
    assert not claims.holds("k", claims)
    claims._held["k"] = lambda: claims  # type: ignore[assignment]  # as if it had been claimed before
    claims._renew()
    claims.close()


def test_a_file_that_was_deleted_gets_its_table_again(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    claims = Claims(Caches(str(path)))
    assert claims.claim("k", claims) == "ours"
    for file in tmp_path.glob("c.db*"):
        file.unlink()
    assert claims.claim("other", claims) == "ours"
    claims.close()
    claims._caches.close()


def test_the_thread_ends_when_there_is_nothing_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims_module, "_IDLE_SECONDS", 0.05)
    claims = Claims(Caches(str(tmp_path / "c.db")), renew_every=0.01)
    assert claims.claim("k", claims) == "ours"
    thread = claims._thread
    assert thread is not None
    claims.release("k")
    thread.join(60)
    assert claims._thread is None
    assert claims.claim("k", claims) == "ours"
    claims.close()
    claims._caches.close()


def test_what_could_not_be_given_back_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # While the owner lives, the others would wait until long after the claim has run out.
    caches = Caches(str(tmp_path / "c.db"))
    claims, holder = Claims(caches, renew_every=0.02), Holder()
    monkeypatch.setattr(claims_module, "_REST_SECONDS", 0.0)
    assert claims.claim("k", holder) == "ours"
    failed: list[int] = []

    def failing(*_: Any) -> Any:
        failed.append(1)
        raise StoreUnavailable("gone")

    with monkeypatch.context() as out:
        out.setattr(caches.store.place, "transact", failing)
        claims.release("k")
        tries = len(failed)
        reach(lambda: len(failed) > tries + 2)
        reach(lambda: claims._gone == ["k"])
    reach(lambda: claims.look("k") == "free")
    claims.close()
    caches.close()


def test_a_store_from_before_there_were_claims_gets_their_table(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    first = Caches(str(path))
    first.store.generation()
    first.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE cache_claims")
    again = Caches(str(path))
    claims = Claims(again)
    assert claims.claim("k", Holder()) == "ours"
    claims.close()
    again.close()
