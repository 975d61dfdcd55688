"""The nearest vectors: exact with numpy, approximate with hnswlib where there are many and it is installed."""

from __future__ import annotations

import logging
import threading
from importlib.util import find_spec
from typing import Any

__all__ = ["Index"]

log = logging.getLogger("llmsaver")

# Up to here one product over all vectors takes under a millisecond; beyond it a graph pays for being built.
MANY = 20_000
_FIRST = 64
_EF, _LINKS, _EF_BUILD = 128, 16, 100


class Index:
    """Unit vectors by place (a number of the caller's own); ``search`` returns the nearest. Safe in threads.

    The vectors are kept here in any case, so that the graph, which cannot forget and must not grow while it is
    searched (hnswlib crashes), is only ever derived: rebuilt when it has doubled or a quarter of it is gone.
    """

    def __init__(self, dimensions: int, *, many: int = MANY) -> None:
        import numpy as np

        self._np = np
        self._many = many
        self._vectors = np.zeros((_FIRST, dimensions), np.float32)
        self._places: list[int] = []
        self._rows: dict[int, int] = {}
        self._graph: Any = None
        self._dead = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, place: int, vector: Any) -> None:
        """Add a vector; one that is at ``place`` already is replaced. Raises ValueError for one of another size."""
        vector = self._np.asarray(vector, self._np.float32)
        if vector.shape != self._vectors.shape[1:] or not self._np.isfinite(vector).all():
            raise ValueError(f"a vector here has {self._vectors.shape[1]} finite numbers; this one is {vector.shape}")
        with self._lock:
            self._drop(place)
            row = len(self._places)
            if row == len(self._vectors):
                self._vectors = self._np.concatenate([self._vectors, self._np.zeros_like(self._vectors)])
            self._vectors[row] = vector
            self._places.append(place)
            self._rows[place] = row
            self._link(row)

    def remove(self, place: int) -> None:
        """Forget the vector at ``place``, if there is one."""
        with self._lock:
            self._drop(place)

    def search(self, vector: Any, count: int) -> list[tuple[int, float]]:
        """Return up to ``count`` (place, cosine similarity), nearest first; equally near ones in the order added."""
        with self._lock:
            if not self._rows:
                return []
            if self._graph is not None:
                return self._near(vector, count)
            similarities = self._vectors[: len(self._places)] @ self._np.asarray(vector, self._np.float32)
            return self._best(range(len(self._places)), similarities, count)

    def _drop(self, place: int) -> None:
        """Take a vector out: the last one moves into its row, except under a graph, which knows rows by number."""
        row = self._rows.pop(place, None)
        if row is None:
            return
        if self._graph is not None:
            self._graph.mark_deleted(row)
            self._places[row] = -1
            self._dead += 1
            if self._dead * 4 > len(self._places):
                self._build()
            return
        last = self._places.pop()
        if last != place:
            self._places[row] = last
            self._rows[last] = row
            self._vectors[row] = self._vectors[len(self._places)]

    def _best(self, rows: Any, similarities: Any, count: int) -> list[tuple[int, float]]:
        if len(similarities) > count:
            chosen = self._np.argpartition(-similarities, count - 1)[:count]
        else:
            chosen = self._np.arange(len(similarities))
        ordered = sorted(chosen.tolist(), key=lambda at: (-similarities[at], at))
        return [(self._places[rows[at]], float(similarities[at])) for at in ordered]

    def _link(self, row: int) -> None:
        """Add a row to the graph, or make one when there are many for the first time."""
        if self._graph is None:
            if len(self._rows) > self._many:
                self._build()
        elif row >= self._graph.get_max_elements():
            self._build()
        else:
            self._graph.add_items(self._vectors[row : row + 1], [row], num_threads=1)

    def _near(self, vector: Any, count: int) -> list[tuple[int, float]]:
        asked = self._np.asarray(vector, self._np.float32)[None]
        labels, _ = self._graph.knn_query(asked, k=min(count, len(self._rows)), num_threads=1)
        rows = labels[0].tolist()
        return self._best(rows, self._vectors[rows] @ asked[0], count)

    def _build(self) -> None:
        """Close the gaps, and build the graph over what is left where that pays and hnswlib is installed."""
        kept = [row for row, place in enumerate(self._places) if place >= 0 and self._rows.get(place) == row]
        self._vectors = self._np.concatenate([self._vectors[kept], self._np.zeros_like(self._vectors[: len(kept) + 1])])
        self._places = [self._places[row] for row in kept]
        self._rows = {place: row for row, place in enumerate(self._places)}
        self._graph, self._dead = None, 0
        if len(kept) <= self._many // 2 or find_spec("hnswlib") is None:
            return
        import hnswlib

        graph = hnswlib.Index(space="ip", dim=self._vectors.shape[1])
        graph.init_index(max_elements=len(self._vectors), ef_construction=_EF_BUILD, M=_LINKS, random_seed=1)
        graph.set_ef(_EF)
        graph.add_items(self._vectors[: len(kept)], list(range(len(kept))), num_threads=1)
        self._graph = graph
