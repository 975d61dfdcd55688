"""The cache on a server: lost connections, no driver, no server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import make_url, text

from llmsaver.cache.schema import StoreUnavailable
from llmsaver.cache.store import Store, place_of
from llmsaver.cache.store_server import StoreServer
from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llmsaver.cache.stored import Stored


@pytest.fixture
def store(postgres: str) -> Iterator[Store]:
    made = Store(place_of(postgres), max_bytes=1 << 20)
    yield made
    made.place.close()


def test_a_lost_connection_is_opened_anew(store: Store, stored: Callable[..., Stored], now: float) -> None:
    place = store.place
    assert isinstance(place, StoreServer)
    store.put(stored())
    with place._engine.connect() as other:
        pids = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        other.execute(text(pids + " AND pid <> pg_backend_pid()"))
    assert store.get("k", now) is not None
    place.close()  # in a child, what the parent has open is the parent's to close
    place.after_fork()
    assert store.get("k", now) is not None
    store.purge()


def test_a_statement_that_fails_says_so(store: Store) -> None:
    def wrong(transaction: Any) -> None:
        transaction.cursor.execute("SELECT 1 FROM nothing_here")

    with pytest.raises(StoreUnavailable, match="nothing_here"):
        store.place.read(wrong)

    def broken(_: Any) -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        store.place.transact(broken)


def test_no_server_is_a_clear_failure_without_the_password(now: float) -> None:
    store = Store(place_of("postgresql://u:secret@127.0.0.1:9/d"), max_bytes=1 << 20)
    with pytest.raises(StoreUnavailable, match=r"u:\*\*\*@127") as caught:
        store.get("k", now)
    assert "secret" not in str(caught.value)
    assert store.place.there


def test_a_driver_that_is_not_installed_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"pip install 'llmsaver\[postgres\]'"):
        StoreServer(make_url("postgresql+nosuch://h/d"))


def test_a_closed_store_leaves_no_connection_behind(store: Store, postgres: str, now: float) -> None:
    assert store.get("k", now) is None
    store.place.close()
    assert store.get("k", now) is None  # a thread that was late
    counting = StoreServer(make_url(postgres))
    with counting._engine.connect() as other:
        count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        left = other.execute(text(count)).scalar()
    counting.close()
    assert left == 0
