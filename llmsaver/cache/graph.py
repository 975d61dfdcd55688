"""hnswlib's graph of near vectors, with places that can be taken back: it forgets nothing by itself."""

from __future__ import annotations

from typing import Any

__all__ = ["Graph"]

_EF, _LINKS, _EF_BUILD = 128, 16, 100


class Graph:
    """Vectors by place. Not thread-safe: hnswlib crashes where it grows during a search, so its owner locks.

    A vector that is removed or replaced stays in it as a dead one; ``worn`` says when those are a third of it.
    """

    def __init__(self, dimensions: int, room: int) -> None:
        import hnswlib

        self._graph = hnswlib.Index(space="ip", dim=dimensions)
        self._graph.init_index(max_elements=max(room, 1) * 5 // 4, ef_construction=_EF_BUILD, M=_LINKS, random_seed=1)
        self._graph.set_ef(_EF)
        self._labels: dict[int, int] = {}
        self._places: list[int] = []

    @property
    def worn(self) -> bool:
        """Whether making it anew pays."""
        return 3 * (len(self._places) - len(self._labels)) > len(self._places)

    def add(self, place: int, vector: Any) -> None:
        """Add a vector, or replace the one at its place."""
        self.add_all([place], vector[None])

    def add_all(self, places: list[int], vectors: Any) -> None:
        """Add several."""
        for place in places:
            self.remove(place)
        first = len(self._places)
        most = self._graph.get_max_elements()
        if first + len(places) > most:
            self._graph.resize_index(max(2 * most, first + len(places)))
        self._graph.add_items(vectors, list(range(first, first + len(places))), num_threads=1)
        self._places += places
        self._labels.update({place: first + at for at, place in enumerate(places)})

    def remove(self, place: int) -> None:
        """Forget a vector, if there is one."""
        label = self._labels.pop(place, None)
        if label is not None:
            self._graph.mark_deleted(label)

    def near(self, vector: Any, count: int) -> list[int]:
        """Return about ``count`` places, those near ``vector``; raises ``RuntimeError`` where it finds too few."""
        count = min(count, len(self._labels))
        if not count:
            return []
        labels, _ = self._graph.knn_query(vector[None], k=count, num_threads=1)
        return [self._places[label] for label in labels[0].tolist()]
