"""The store on SQLite and PostgreSQL: what is kept, for how long, and what goes first."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.cache import schema, store_rows
from llmsaver.cache.schema import StoreTooNew
from llmsaver.cache.store import Store, place_of
from llmsaver.cache.store_file import StoreFile
from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from llmsaver.cache.stored import Stored


@pytest.fixture(params=["file", "server"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Store]]:
    """Make stores on one place of each kind."""
    where: Any = tmp_path / "cache.db" if request.param == "file" else request.getfixturevalue("postgres")
    made: list[Store] = []

    def build(**bounds: Any) -> Store:
        made.append(Store(place_of(where), **{"max_bytes": 1 << 30, **bounds}))
        return made[-1]

    yield build
    for store in made:
        store.place.close()


@pytest.fixture
def store(make: Callable[..., Store]) -> Store:
    return make()


def test_what_was_put_comes_back_as_it_was(store: Store, stored: Callable[..., Stored], now: float) -> None:
    one = stored(
        "a" * 32,
        "text \U0001f600 \0",
        tenant="t\ud800",
        tags=("x", 'y"'),
        namespace="n",
        text="why",
        vector=b"\0\1",
        embedder="e",
        group=3,
        latency_s=1.5,
        drop_at=now + 500,
    )
    assert store.put(one)
    found = store.get(one.key, now)
    assert found is not None
    assert replace(found, seq=0) == one
    assert store.get("b" * 32, now) is None


def test_an_answer_ends_when_it_was_said_to_end(store: Store, stored: Callable[..., Stored], now: float) -> None:
    store.put(stored(drop_at=now + 200))
    store.note_hit("k")
    assert store.get("k", now + 99) is not None
    assert store.get("k", now + 100) is None
    assert store.get("k", now + 199, stale=True) is not None
    assert store.get("k", now + 200, stale=True) is None
    assert store.get("k", now - 301) is None


def test_one_that_lives_is_replaced_only_where_that_is_wanted(
    store: Store, stored: Callable[..., Stored], now: float
) -> None:
    assert store.put(stored())
    assert not store.put(stored(said="other"), replace=False)
    assert store.put(stored(said="newer"))
    assert store.put(stored(said="next", created_at=now + 100), replace=False)
    found = store.get("k", now + 101)
    assert found is not None
    assert found.message["choices"][0]["message"]["content"] == "next"
    assert store.stats(now)["entries"] == 1


def test_what_a_successor_does_not_say_stays(store: Store, stored: Callable[..., Stored], now: float) -> None:
    store.put(stored(namespace="n", text="why", vector=b"v", embedder="e", group=4, hits=2, right=1, wrong=1))
    store.put(stored())
    same = store.get("k", now)
    assert same is not None
    assert (same.namespace, same.text, same.vector, same.group) == ("n", "why", b"v", 4)
    assert (same.hits, same.right, same.wrong) == (2, 1, 1)
    store.put(stored(said="another answer"))
    other = store.get("k", now)
    assert other is not None
    assert other.seq > same.seq
    assert (other.namespace, other.group, other.hits, other.right) == ("n", None, 2, 0)


def test_an_index_is_fed_what_is_new(store: Store, stored: Callable[..., Stored]) -> None:
    for number, namespace in enumerate(("n", "n", "other")):
        store.put(stored(str(number), namespace=namespace, vector=b"v", text="t"))
    store.put(stored("no vector", namespace="n", text="t"))
    found = store.newer("n", 0)
    assert [each.key for each in found] == ["0", "1"]
    assert [each.key for each in store.newer("n", found[0].seq)] == ["1"]


@pytest.mark.parametrize(
    ("what", "left"),
    [
        ({"tag": "x"}, "bcd"),
        ({"tag": "X"}, "abcd"),
        ({"model": "m2"}, "acd"),
        ({"tenant": "t"}, "abd"),
        ({"feature": "f"}, "abc"),
        ({"before": 1_800_000_001.0}, "d"),
        ({"tag": "x", "model": "m2"}, "abcd"),
    ],
)
def test_what_matches_all_that_is_said_goes(
    store: Store, stored: Callable[..., Stored], now: float, what: dict[str, Any], left: str
) -> None:
    store.put(stored("a", tags=("x", "xx")))
    store.put(stored("b", model="m2", tags=("xx",)))
    store.put(stored("c", tenant="t"))
    store.put(stored("d", feature="f", created_at=now + 2))
    before = store.generation()
    assert store.invalidate(**what) == 4 - len(left)
    assert "".join(key for key in "abcd" if store.get(key, now + 3)) == left
    assert store.generation() > before


def test_what_nobody_knows_is_refused(store: Store) -> None:
    with pytest.raises(ConfigurationError, match="knows no 'user'"):
        store.invalidate(user="u")


def test_deleting_and_purging(store: Store, stored: Callable[..., Stored], now: float) -> None:
    for key in "abc":
        store.put(stored(key))
    store.set_state("s", {"a": 1})
    before = store.generation()
    assert store.delete(["a", "none"]) == 1
    assert store.delete(["none"]) == 0
    assert store.generation() == before + 1
    assert store.purge() == 2
    assert (store.state("s"), store.stats(now)["entries"]) == (None, 0)


def test_what_was_learned_is_kept(store: Store, stored: Callable[..., Stored]) -> None:
    assert store.state("s") is None
    store.set_state("s", {"a": 1})
    store.set_state("s", {"a": 2})
    assert store.state("s") == {"a": 2}
    store.put(stored())
    store.note_verdict("k", right=True)
    store.note_verdict("k", right=False)
    store.note_verdict("k", right=False)
    found = store.inspect("k")
    assert found is not None
    assert (found.right, found.wrong) == (1, 2)
    assert store.inspect("none") is None


def test_sums(store: Store, stored: Callable[..., Stored], now: float) -> None:
    for number, model in enumerate(("a", "b", "b")):
        store.put(stored(str(number), model=model, cost_nano=None if number == 2 else 10, created_at=now - 50 * number))
    store.note_hits(["0", "1", "1", "2"])
    found = store.stats(now + 60)
    assert (found["entries"], found["live"], found["hits"], found["saved_nano"]) == (3, 1, 4, 30)
    assert (found["oldest"], found["newest"]) == (now - 100, now)
    assert [(each["model"], each["hits"], each["saved_nano"]) for each in found["models"]] == [
        ("b", 3, 20),
        ("a", 1, 10),
    ]


def test_everything_can_be_exported(
    store: Store, stored: Callable[..., Stored], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmsaver.cache.store._PAGE", 2)
    for key in "abcde":
        store.put(stored(key))
    assert [each.key for each in store.export()] == list("abcde")


def test_what_saves_least_a_byte_goes_first(
    make: Callable[..., Store], stored: Callable[..., Stored], now: float
) -> None:
    size = stored("000").size
    store = make(max_bytes=100 * size)
    rng = random.Random(1)  # noqa: S311 - a seed for repeatability
    costs = {f"{at:03}": rng.randrange(1_000, 1_000_000) for at in range(100)}
    store.put_all([(stored(key, cost_nano=cost), True) for key, cost in costs.items()])
    cheapest = sorted(costs, key=lambda key: costs[key])
    store.note_hits([cheapest[0]] * 3_000)
    store.put(stored("new", cost_nano=900_000))
    left = {each.key for each in store.export()}
    assert 90 <= len(left) <= 96
    assert cheapest[0] in left
    assert {"new", *cheapest[20:]} <= left
    assert cheapest[1] not in left
    assert store.stats(now)["bytes"] <= 96 * size


def test_what_was_dear_long_ago_ages(make: Callable[..., Store], stored: Callable[..., Stored]) -> None:
    size = stored("00000").size
    store = make(max_bytes=40 * size)
    store.put(stored("early", cost_nano=100_000))
    for at in range(600):
        store.put(stored(f"{at:05}", cost_nano=60_000))
    assert "early" not in {each.key for each in store.export()}


def test_expired_answers_make_room_first(make: Callable[..., Store], stored: Callable[..., Stored], now: float) -> None:
    size = stored("0").size
    store = make(max_bytes=10 * size)
    for at in range(5):
        store.put(stored(str(at), cost_nano=10**9, created_at=now - 1000))
    for at in range(5, 11):
        store.put(stored(str(at), cost_nano=1))
    assert [each.key for each in store.export()] == [str(at) for at in range(5, 11)]


def test_one_tenant_pushes_no_other_out(make: Callable[..., Store], stored: Callable[..., Stored]) -> None:
    size = stored("quiet", tenant="a").size
    store = make(max_bytes=20 * size)
    store.put(stored("quiet", tenant="a", cost_nano=1))
    for at in range(100):
        store.put(stored(f"{at:05}", tenant="b", cost_nano=10**9))
    assert "quiet" in {each.key for each in store.export()}


def test_a_tenant_has_its_own_bound(make: Callable[..., Store], stored: Callable[..., Stored], now: float) -> None:
    size = stored("00000", tenant="b").size
    store = make(max_bytes=100 * size, tenant_bytes=10 * size)
    store.put_all([(stored(f"a{at:04}", tenant="a"), True) for at in range(5)])
    store.put_all([(stored(f"{at:05}", tenant="b"), True) for at in range(50)])
    by_tenant = [each.tenant for each in store.export()]
    assert by_tenant.count("a") == 5
    assert 7 <= by_tenant.count("b") <= 10
    assert store.stats(now)["bytes"] <= 15 * size


def test_a_huge_answer_is_not_kept(make: Callable[..., Store], stored: Callable[..., Stored], now: float) -> None:
    store = make(max_bytes=10_000)
    assert not store.put(stored(said="x" * 2_000))
    assert store.get("k", now) is None


def test_a_count_that_went_wrong_keeps_nobody_waiting(
    make: Callable[..., Store], stored: Callable[..., Stored], now: float
) -> None:
    store = make(max_bytes=100_000)
    store.put(stored())
    store.place.transact(lambda transaction: transaction.run(store_rows.RESIZE, 10**9, 0, "null"))
    store.put(stored("other"))
    assert store.stats(now)["entries"] == 0
    store.invalidate(tag="none")
    store.put(stored("other"))
    assert store.stats(now)["entries"] == 1


@pytest.mark.parametrize("column", ["body", "digest", "tenant", "tags", "dialect"])
def test_a_row_that_is_not_what_was_written_is_none(
    store: Store, stored: Callable[..., Stored], now: float, column: str
) -> None:
    wrong: Any = b"{}" if column in {"body", "digest"} else "[3"
    store.put(stored(tags=("x",)))
    statement = schema.entries.update().values({column: wrong})
    compiled = statement.compile(dialect=store.place.dialect)  # type: ignore[attr-defined]  # both places have one
    values: Any = list(compiled.params.values()) if isinstance(store.place, StoreFile) else compiled.params
    store.place.transact(lambda transaction: transaction.cursor.execute(str(compiled), values))
    assert store.get("k", now) is None
    assert store.inspect("k") is None
    assert list(store.export()) == []
    assert store.put(stored())
    assert store.get("k", now) is not None


def test_a_store_of_a_later_version_is_refused_clearly(make: Callable[..., Store], now: float) -> None:
    first = make()
    first.place.transact(lambda transaction: store_rows.set_value(transaction, "schema", "7"))
    with pytest.raises(StoreTooNew, match=r"newer llmsaver \(its schema is 7, this one knows 1\): upgrade llmsaver"):
        make().get("k", now)


@pytest.mark.parametrize(
    ("cache", "ledger", "path"),
    [
        ("/a/x.db", None, "/a/x.db"),
        ("sqlite:////a/x.db", None, "/a/x.db"),
        (None, "/a/l.db", "/a/cache.db"),
        (None, "sqlite:////a/l.db", "/a/cache.db"),
    ],
)
def test_where_it_is(cache: str | None, ledger: str | None, path: str) -> None:
    place = place_of(cache, ledger)
    assert place.name == path
    assert not place.there


def test_beside_a_server_it_is_in_the_users_folder() -> None:
    assert place_of(None, "postgresql://h/d").name == place_of(None).name
    assert place_of(None).name.endswith("/llmsaver/cache.db")


@pytest.mark.parametrize(
    ("cache", "why"),
    [("", "is empty"), ("sqlite://", "in memory"), ("mysql://h/d", "SQLite or PostgreSQL"), ("a://b:c:d", "cannot be")],
)
def test_what_is_no_place_is_refused(cache: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        place_of(cache)
