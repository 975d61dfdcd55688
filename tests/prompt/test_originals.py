"""What was left out can be had again: by its tenant, for its time, within its bytes."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmsaver.errors import ConfigurationError
from llmsaver.prompt import stub_places
from llmsaver.prompt.originals import Originals, reference_of
from llmsaver.prompt.stub_places import PlaceUnavailable, place_of
from llmsaver.prompt.stub_tables import tenant_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Originals]:
    made = Originals(tmp_path / "own" / "originals.db", ttl=100, max_bytes=100_000)
    yield made
    made.close()


def keep(store: Originals, *texts: str, tenant: str | None = None, now: float | None = None) -> list[str]:
    """Keep texts; return their references."""
    references = [reference_of(text, tenant) for text in texts]
    rows = {reference: (text, "bash") for reference, text in zip(references, texts, strict=True)}
    at = time.time() if now is None else now
    store.place.transact(lambda connection: store.keep(connection, rows, tenant, at))
    return references


def noise(number: int, size: int = 10_000) -> str:
    """Return a text that takes its size in the store, however it is packed."""
    import random

    return random.Random(number).randbytes(size).decode("latin-1")  # noqa: S311 - no secret


def test_a_reference_is_the_same_in_every_process_and_another_for_everybody_else() -> None:
    assert reference_of("a text", None) == "llmsaver:o-3d1812f77b7d7f97088a7a1e"
    others = {reference_of(text, tenant) for text in ("a", "b") for tenant in (None, "null", "x", "\ud800")}
    assert len(others) == 8


def test_what_is_kept_comes_back(store: Originals) -> None:
    assert store.recall("llmsaver:o-" + "0" * 24) is None
    assert store.recall("nonsense") is None
    assert not store.place.there
    (reference,) = keep(store, "a text")
    assert store.recall(reference) == "a text"
    assert store.recall(f"[stub ... {reference}]") == "a text"
    assert store.recall("llmsaver:o-" + "0" * 24) is None


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=st.characters(), max_size=200), tenant=st.none() | st.text(st.characters(), max_size=5))
def test_any_text_and_tenant(store: Originals, text: str, tenant: str | None) -> None:
    (reference,) = keep(store, text, tenant=tenant)
    assert store.recall(reference, tenant) == text
    assert store.recall(reference, f"{tenant}x") is None


def test_it_survives_its_program(store: Originals) -> None:
    (reference,) = keep(store, "a text")
    store.close()
    assert Originals(store.place.path).recall(reference) == "a text"
    assert store.recall(reference) == "a text"


def test_it_is_kept_for_its_time_from_its_last_use(store: Originals) -> None:
    now = time.time()
    (reference,) = keep(store, "a text", now=now)
    for at, there in ((90, True), (101, False)):
        with mock.patch.object(time, "time", return_value=now + at):
            assert (store.recall(reference) is not None) is there
    keep(store, "a text", now=now + 90)
    with mock.patch.object(time, "time", return_value=now + 185):
        assert store.recall(reference) == "a text"
    keep(store, "another", now=now + 300)
    assert store.stats()["originals"] == 1


def test_the_oldest_gives_way(store: Originals) -> None:
    now = time.time()
    first = keep(store, *(noise(number) for number in range(5)), now=now)
    second = keep(store, *(noise(number) for number in range(5, 12)), now=now + 1)
    assert store.stats()["bytes"] <= 100_000
    assert all(store.recall(reference) for reference in second)
    assert sum(store.recall(reference) is None for reference in first) >= 3


def test_sizes_that_do_not_add_up_hold_nobody_up(store: Originals) -> None:
    """As where another program deletes at the same time: what is summed is not what is found."""
    connection = mock.Mock()
    connection.execute.side_effect = [None, mock.Mock(scalar=lambda: 10**9), []]
    store._make_room(connection, 1.0)
    assert connection.execute.call_count == 3


def test_more_than_one_statement_takes(store: Originals) -> None:
    texts = [f"text {number}" for number in range(900)]
    references = keep(store, *texts)
    keep(store, *texts, now=time.time() + 60)
    assert store.recall(references[-1]) == texts[-1]
    assert store.stats()["originals"] == 900


@pytest.mark.parametrize("body", [b"", b"not deflated", b"x\x9c\x03\x00\x00\x00\x00\x01"])
def test_a_broken_row_is_a_miss_and_is_stored_anew(store: Originals, body: bytes) -> None:
    (reference,) = keep(store, "a text")
    with store.place.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE stub_originals SET body = ?", (body,))
    assert store.recall(reference) is None
    keep(store, "a text")
    assert store.recall(reference) == "a text"


def test_purging(store: Originals) -> None:
    assert store.purge() == 0
    assert not store.place.there
    one, other = keep(store, "one", tenant="a"), keep(store, "other", tenant="b")
    assert store.stats() == {
        "place": str(store.place.path),
        "originals": 2,
        "bytes": store.stats()["bytes"],
        "tenants": 2,
    }
    assert store.purge_tenant("a") == 1
    assert store.recall(one[0], "a") is None
    assert store.recall(other[0], "b") == "other"
    (reference,) = keep(store, "find me in the file" * 3)
    assert store.purge() == 2
    assert store.recall(reference) is None
    assert store.place.path is not None
    for path in store.place.path.parent.iterdir():
        assert b"bash" not in path.read_bytes()


def test_nobody_else_can_read_the_file(store: Originals) -> None:
    keep(store, "a text")
    assert store.place.path is not None
    for path in store.place.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.place.path.parent.stat().st_mode) == 0o700


def test_threads_and_stores_on_one_file(store: Originals) -> None:
    stores = [store, Originals(store.place.path, max_bytes=100_000)]
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for text in range(10):
                keep(stores[number % 2], f"text {text} of {number % 3}")
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.stats()["originals"] == 30
    stores[1].close()


def test_a_forked_child_has_connections_of_its_own(store: Originals) -> None:
    (reference,) = keep(store, "a text")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        told = store.recall(reference)
        os.write(write, (told or "nothing").encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100) == b"a text"
    os.close(read)
    os.close(write)
    assert store.recall(reference) == "a text"


class TestPlaces:
    def test_a_broken_file_is_moved_aside(self, store: Originals, caplog: pytest.LogCaptureFixture) -> None:
        keep(store, "a text")
        store.close()
        assert store.place.path is not None
        store.place.path.write_bytes(b"no database " * 500)
        (reference,) = keep(store, "another")
        assert store.recall(reference) == "another"
        assert "the originals are broken" in caplog.text
        assert len(list(store.place.path.parent.glob("*.broken-*"))) == 1
        store.purge()
        assert not list(store.place.path.parent.glob("*.broken-*"))

    def test_one_that_cannot_be_moved_is_said_so(self, store: Originals, monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(*_: object) -> None:
            raise PermissionError("no")

        monkeypatch.setattr(stub_places, "rename", refused)
        keep(store, "a text")
        store.close()
        assert store.place.path is not None
        store.place.path.write_bytes(b"no database " * 500)
        with pytest.raises(PlaceUnavailable, match="cannot be moved aside"):
            keep(store, "another")

    def test_what_another_process_has_mended_is_not_moved(self, store: Originals) -> None:
        keep(store, "a text")
        store.place._set_aside(PlaceUnavailable("it was", broken=True))
        assert store.stats()["originals"] == 1

    def test_a_file_that_was_deleted_is_made_anew(self, store: Originals) -> None:
        keep(store, "a text")
        assert store.place.path is not None
        for path in store.place.path.parent.iterdir():
            path.unlink()
        (reference,) = keep(store, "another")
        assert store.recall(reference) == "another"

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(PlaceUnavailable, match="file"):
            keep(Originals(tmp_path / "file" / "o.db"), "a text")

    def test_a_later_version_is_left_alone(self, store: Originals) -> None:
        keep(store, "a text")
        with store.place.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE stub_meta SET value = '99'")
        store.close()
        with pytest.raises(PlaceUnavailable, match="newer llmsaver"):
            keep(store, "another")

    def test_others_who_write_for_long_are_not_waited_for(
        self, store: Originals, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keep(store, "a text")
        monkeypatch.setattr(stub_places, "_PATIENCE_SECONDS", 0.01)
        store.close()
        assert store.place.path is not None
        other = sqlite3.connect(store.place.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(PlaceUnavailable, match="locked"):
            keep(store, "another")
        other.execute("ROLLBACK")
        other.close()
        keep(store, "another")

    def test_by_default_it_is_beside_the_ledger(self, tmp_path: Path) -> None:
        assert place_of(None, tmp_path / "l.db").path == tmp_path / "originals.db"
        assert place_of(None, f"sqlite:///{tmp_path}/l.db").path == tmp_path / "originals.db"
        default = place_of(None).path
        assert default is not None
        assert default.name == "originals.db"
        assert place_of(None, "postgresql://host/db").path == default
        assert place_of(None, "").path == default
        assert place_of(f"sqlite:///{tmp_path}/o.db").path == tmp_path / "o.db"
        assert place_of(str(tmp_path / "o.db")).path == tmp_path / "o.db"

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ("", "empty"),
            ("sqlite://", "in memory"),
            ("://", "cannot be read"),
            ("mysql+nobody://host/db", "driver"),
        ],
    )
    def test_what_is_no_place_names_the_fix(self, given: str, said: str) -> None:
        with pytest.raises(ConfigurationError, match=said):
            place_of(given)

    def test_any_other_database(self, tmp_path: Path) -> None:
        """A place that is no file of ours: what SQLAlchemy makes of a URL, here SQLite's by another way."""
        from sqlalchemy import make_url

        place = stub_places.Place(make_url(f"sqlite:///{tmp_path}/other.db"))
        assert place.there
        store = Originals(tmp_path / "unused.db")
        store.place = place
        (reference,) = keep(store, "a text")
        assert store.recall(reference) == "a text"
        assert store.purge() == 1
        assert place.name.startswith("sqlite:///")
        place.close()

    def test_a_row_that_another_process_wrote_first_is_looked_for_again(self, store: Originals) -> None:
        from sqlalchemy import insert
        from sqlalchemy.exc import IntegrityError

        from llmsaver.prompt.stub_tables import meta

        tries: list[int] = []

        def work(connection: Any) -> str:
            tries.append(1)
            if len(tries) == 1:
                for _ in range(2):
                    connection.execute(insert(meta).values(key="k", value="v"))
            return "done"

        assert store.place.transact(work) == "done"
        assert len(tries) == 2

        def never(connection: Any) -> None:
            for _ in range(2):
                connection.execute(insert(meta).values(key="k", value="v"))

        with pytest.raises(IntegrityError):
            store.place.transact(never)


def test_tenants_are_json() -> None:
    assert tenant_key(None) == "null"
    assert tenant_key("null") == '"null"'
    assert tenant_key("\ud800\0").isascii()


@pytest.mark.parametrize("bad", [{"max_bytes": 0}, {"ttl": "soon"}])
def test_bad_arguments_name_the_fix(tmp_path: Path, bad: Any) -> None:
    with pytest.raises(ConfigurationError):
        Originals(tmp_path / "o.db", **bad)
