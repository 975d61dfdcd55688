"""The index finds what a plain search would, through every history and in both of its forms."""

from __future__ import annotations

import sys
import threading
import time
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

np = pytest.importorskip("numpy")

from llmsaver.cache.graph import Graph  # noqa: E402 - needs numpy, which is an extra's
from llmsaver.cache.index import Index  # noqa: E402 - the same


def unit(seed: int, dimensions: int = 8) -> Any:
    vector = np.random.default_rng(seed).normal(size=dimensions)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def test_the_nearest_come_first_with_their_cosine() -> None:
    index = Index(2)
    index.add(7, [1, 0])
    index.add(9, [0, 1])
    (first, similarity), (second, lesser) = index.search([0.6, 0.8], 2)
    assert (first, second) == (9, 7)
    assert abs(similarity - 0.8) < 1e-6
    assert abs(lesser - 0.6) < 1e-6


def test_an_empty_index_finds_nothing() -> None:
    assert Index(2).search([1, 0], 3) == []


def test_a_vector_added_again_replaces_the_first() -> None:
    index = Index(2)
    index.add(1, [1, 0])
    index.add(1, [0, 1])
    assert len(index) == 1
    [(place, similarity)] = index.search([0, 1], 5)
    assert place == 1
    assert abs(similarity - 1) < 1e-6


@pytest.mark.parametrize("vector", [[1.0], [1.0, 2.0, 3.0], [float("nan"), 0.0], [float("inf"), 0.0]])
def test_a_vector_of_the_wrong_size_or_without_numbers_is_refused(vector: list[float]) -> None:
    index = Index(2)
    with pytest.raises(ValueError, match="2 finite numbers"):
        index.add(1, vector)
    assert len(index) == 0


def test_what_was_removed_is_found_no_more_and_removing_twice_is_once() -> None:
    index = Index(8)
    for place in range(100):
        index.add(place, unit(place))
    for place in range(0, 100, 3):
        index.remove(place)
        index.remove(place)
    found = [place for place, _ in index.search(unit(3), 200)]
    assert sorted(found) == [place for place in range(100) if place % 3]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=120), st.sampled_from([1000, 10]))
def test_any_history_finds_what_a_plain_search_would(history: list[tuple[bool, int]], many: int) -> None:
    index = Index(8, many=many, very_many=10**9)
    kept: dict[int, Any] = {}
    for adding, place in history:
        if adding:
            index.add(place, unit(place))
            kept[place] = unit(place)
        else:
            index.remove(place)
            kept.pop(place, None)
    asked = unit(999)
    best = sorted(kept, key=lambda place: -float(kept[place] @ asked))
    assert [place for place, _ in index.search(asked, 5)] == best[:5]
    assert len(index) == len(kept)


class PlainGraph:
    """hnswlib's interface over an exhaustive search: for machines where it cannot be built."""

    def __init__(self, space: str, dim: int) -> None:
        assert space == "ip"
        self._vectors = np.zeros((0, dim), np.float32)
        self._labels: list[int] = []
        self._deleted: set[int] = set()
        self._room = 0

    def init_index(self, max_elements: int, **_: int) -> None:
        self._room = max_elements

    def set_ef(self, _: int) -> None: ...

    def get_max_elements(self) -> int:
        return self._room

    def resize_index(self, room: int) -> None:
        assert room > self._room
        self._room = room

    def add_items(self, vectors: Any, labels: list[int], num_threads: int) -> None:
        assert num_threads == 1
        self._vectors = np.concatenate([self._vectors, vectors])
        self._labels += labels
        assert len(self._labels) <= self._room

    def mark_deleted(self, label: int) -> None:
        assert label not in self._deleted
        self._deleted.add(label)

    def knn_query(self, asked: Any, k: int, num_threads: int) -> tuple[Any, Any]:
        assert num_threads == 1
        order = [at for at in np.argsort(-(self._vectors @ asked[0])) if self._labels[at] not in self._deleted][:k]
        return np.array([[self._labels[at] for at in order]]), None


def as_hnswlib(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("hnswlib")
    module.Index = kind  # type: ignore[attr-defined]  # a module made here
    module.__spec__ = ModuleSpec("hnswlib", None)
    monkeypatch.setitem(sys.modules, "hnswlib", module)


@pytest.fixture(params=["hnswlib", "plain"])
def graphs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "plain" or find_spec("hnswlib") is None:
        as_hnswlib(PlainGraph, monkeypatch)


def built(index: Index) -> None:
    """Wait for the thread that makes the graph."""
    for _ in range(6_000):
        if index._graph is not None:
            return
        time.sleep(0.01)
    raise AssertionError("no graph")


@pytest.mark.usefixtures("graphs")
def test_the_graph_finds_nearly_all_of_what_a_plain_search_does() -> None:
    graph, plain = Index(16, many=100, very_many=500), Index(16)
    for place in range(1_500):
        vector = unit(place, 16)
        graph.add(place, vector)
        plain.add(place, vector)
    for place in range(0, 1_500, 2):
        graph.remove(place)
        plain.remove(place)
    for place in range(0, 900, 2):
        graph.add(place, unit(place, 16))
        plain.add(place, unit(place, 16))
    built(graph)
    wanted = found = 0
    for seed in range(5_000, 5_030):
        best = {place for place, _ in plain.search(unit(seed, 16), 10)}
        wanted += 10
        found += len(best & {place for place, _ in graph.search(unit(seed, 16), 10)})
    assert len(graph) == len(plain)
    assert found / wanted > 0.95
    [(place, similarity)] = graph.search(unit(0, 16), 1)
    assert place == 0
    assert similarity == pytest.approx(1, abs=1e-6)


@pytest.mark.usefixtures("graphs")
def test_what_changes_while_a_graph_is_made_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    real = Graph.add_all

    def slowly(self: Graph, places: list[int], vectors: Any) -> None:
        begun.set()
        assert go_on.wait(60)
        real(self, places, vectors)

    monkeypatch.setattr(Graph, "add_all", slowly)
    index = Index(8, many=100, very_many=50)
    for place in range(51):
        index.add(place, unit(place))
    assert begun.wait(60)
    for place in range(51, 451):
        index.add(place, unit(place))
    for place in range(0, 400, 4):
        index.remove(place)
    assert index._graph is None
    assert index.search(unit(1), 1)[0][0] == 1
    go_on.set()
    built(index)
    assert index.search(unit(449), 1)[0][0] == 449
    assert {place for place, _ in index.search(unit(4), 20)}.isdisjoint(range(0, 400, 4))


def test_a_graph_that_is_mostly_dead_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    as_hnswlib(PlainGraph, monkeypatch)
    index = Index(8, very_many=20)
    for place in range(40):
        index.add(place, unit(place))
    built(index)
    first = index._graph
    for _ in range(3):
        for place in range(40):
            index.add(place, unit(place + 100))
    built(index)
    assert index._graph is not first
    assert index.search(unit(105), 1)[0][0] == 5


def test_a_graph_that_finds_too_few_is_dropped_and_the_cells_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    as_hnswlib(PlainGraph, monkeypatch)
    index = Index(8, very_many=20)
    for place in range(30):
        index.add(place, unit(place))
    built(index)

    def too_few(*_: Any, **__: Any) -> Any:
        raise RuntimeError("ef or M is too small")

    monkeypatch.setattr(PlainGraph, "knn_query", too_few)
    assert index.search(unit(3), 1)[0][0] == 3
    assert index._graph is None


def test_where_no_graph_can_be_made_the_cells_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(PlainGraph):
        def init_index(self, max_elements: int, **_: int) -> None:
            raise MemoryError(max_elements)

    as_hnswlib(Broken, monkeypatch)
    index = Index(8, very_many=20)
    for place in range(30):
        index.add(place, unit(place))
    for _ in range(6_000):
        if not index._building:
            break
        time.sleep(0.01)
    index.add(31, unit(31))
    assert index.search(unit(3), 1)[0][0] == 3
    assert "no graph can be made" in caplog.text
    assert not index._building


def test_without_a_thread_to_be_had_the_next_change_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    as_hnswlib(PlainGraph, monkeypatch)
    index = Index(8, very_many=20)

    def none(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none)
        for place in range(30):
            index.add(place, unit(place))
    assert index._graph is None
    index.remove(0)
    built(index)
    assert index.search(unit(3), 40)[0][0] == 3
    assert len(index.search(unit(3), 40)) == 29


def test_an_empty_graph_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    as_hnswlib(PlainGraph, monkeypatch)
    graph = Graph(8, 0)
    assert graph.near(unit(1), 3) == []
    graph.remove(7)
    assert not graph.worn
