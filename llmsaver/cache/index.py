"""The nearest vectors: exact while they are few, in cells where they are many, in a graph where they are very many."""

from __future__ import annotations

import logging
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from llmsaver.cache.cells import MANY, Cells
from llmsaver.errors import in_words

if TYPE_CHECKING:
    from llmsaver.cache.graph import Graph

__all__ = ["Index"]

log = logging.getLogger("llmsaver")

# From here on a graph pays for what it takes: a millisecond for each vector, and the vectors a second time.
VERY_MANY = 100_000
_SOME = 256


class Index:
    """Unit vectors by place (a number of the caller's own, not negative); ``search`` returns the nearest. Thread-safe.

    Up to ``many`` a search is exact; beyond, it reads the cells around what is asked. From ``very_many`` on a graph is
    made of them where hnswlib is installed, in a thread of its own: until it is ready, and whenever it fails, the cells
    answer. It is only ever derived: the cells are what is known, and the store is what they are made of.
    """

    def __init__(self, dimensions: int, *, many: int = MANY, very_many: int = VERY_MANY) -> None:
        import numpy as np

        self._np = np
        self._dimensions = dimensions
        self._very_many = very_many
        self._cells = Cells(dimensions, many)
        self._graph: Graph | None = None
        self._building = False
        self._changed: set[int] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._cells)

    def add(self, place: int, vector: Any) -> None:
        """Add a vector; one that is at ``place`` already is replaced. Raises ValueError for one of another size."""
        vector = self._np.asarray(vector, self._np.float32)
        if vector.shape != (self._dimensions,) or not self._np.isfinite(vector).all():
            raise ValueError(f"a vector here has {self._dimensions} finite numbers; this one is {vector.shape}")
        with self._lock:
            self._cells.remove(place)
            self._cells.add(place, vector)
            self._follow(place)

    def remove(self, place: int) -> None:
        """Forget the vector at ``place``, if there is one."""
        with self._lock:
            if self._cells.remove(place):
                self._follow(place)

    def search(self, vector: Any, count: int) -> list[tuple[int, float]]:
        """Return up to ``count`` (place, cosine similarity), nearest first; of equally near ones the smaller place."""
        vector = self._np.asarray(vector, self._np.float32)
        with self._lock:
            if self._graph is not None:
                try:
                    found = self._graph.near(vector, count)
                except RuntimeError as error:  # it cannot find as many as it was asked for
                    log.debug("llmsaver: the graph is made anew: %s", in_words(error))
                    self._graph = None
                else:
                    near = [(place, float(self._np.vdot(self._cells.vector(place), vector))) for place in found]
                    return sorted(near, key=lambda each: (-each[1], each[0]))
            return self._cells.search(vector, count)

    def _follow(self, place: int) -> None:
        """Tell the graph what has changed, or the one that is being made; under the lock."""
        if self._building:
            self._changed.add(place)
        if self._graph is not None:
            self._take(self._graph, place)
            if self._graph.worn:
                self._graph = None
        wanted = self._graph is None and not self._building and len(self._cells) > self._very_many
        if wanted and find_spec("hnswlib") is not None:
            self._building = True
            self._changed.clear()
            # Copied here, where nothing changes meanwhile.
            arguments = self._cells.everything()
            try:
                threading.Thread(target=self._build, args=arguments, name="llmsaver-graph", daemon=True).start()
            except RuntimeError:  # no more threads: the next change tries again
                self._building = False

    def _take(self, graph: Graph, place: int) -> None:
        if place in self._cells:
            graph.add(place, self._cells.vector(place))
        else:
            graph.remove(place)

    def _build(self, places: list[int], vectors: Any) -> None:
        """Make the graph, and catch up with what has changed meanwhile: a little under the lock, the rest before."""
        try:
            from llmsaver.cache.graph import Graph

            graph = Graph(self._dimensions, len(places))
            for start in range(0, len(places), _SOME):
                graph.add_all(places[start : start + _SOME], vectors[start : start + _SOME])
            while True:
                with self._lock:
                    changed, self._changed = self._changed, set()
                    news = {place: self._cells.vector(place).copy() for place in changed if place in self._cells}
                    if len(changed) <= _SOME:
                        for place in changed:
                            self._take(graph, place)
                        self._graph, self._building = graph, False
                        return
                for place in changed:
                    if place in news:
                        graph.add(place, news[place])
                    else:
                        graph.remove(place)
        except Exception as error:  # noqa: BLE001 - the cells go on without it; whatever hnswlib raises
            log.warning("llmsaver: no graph can be made of the cache's vectors, searches go on: %s", in_words(error))
            with self._lock:
                self._very_many = 2 * len(self._cells)
                self._building = False
