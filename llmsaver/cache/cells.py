"""Unit vectors in cells of near ones, so that a search reads a few cells and not all vectors; numpy alone.

Up to ``many`` vectors are one cell, and a search is exact. Beyond, a cell that is full is parted in two along the line
between two far ends of it (bisecting 2-means), so that no add ever costs more than that and nothing is rebuilt. A
search reads the cells with the nearest centres until it has seen ``READ`` vectors and a share of all.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import Any

__all__ = ["MANY", "Cells"]

# Up to here all vectors are read in under a millisecond.
MANY = 20_000
# Small cells follow their vectors closely, large ones are fewer to read: by measure, on 30,000 questions.
FULL = 128
READ, SHARE = 10_000, 0.02
_FIRST = 64
_ROUNDS = 4


class _Cell:
    """A growing matrix of vectors with their places."""

    __slots__ = ("places", "vectors")

    def __init__(self, vectors: Any, places: list[int]) -> None:
        self.vectors = vectors
        self.places = places

    @property
    def used(self) -> Any:
        """The rows that hold something."""
        return self.vectors[: len(self.places)]


class Cells:
    """Vectors by place. Not thread-safe: its owner locks."""

    def __init__(self, dimensions: int, many: int = MANY, *, full: int = FULL, read: int = READ) -> None:
        import numpy as np

        self._np = np
        self._many, self._full, self._read = many, full, read
        self._cells = [_Cell(np.zeros((_FIRST, dimensions), np.float32), [])]
        self._centres = np.zeros((1, dimensions), np.float32)
        self._where: dict[int, tuple[_Cell, int]] = {}
        self._parted = False

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, place: object) -> bool:
        return place in self._where

    def add(self, place: int, vector: Any) -> None:
        """Add a vector at a place that is free."""
        at = self._nearest(vector) if self._parted else 0
        cell = self._cells[at]
        row = len(cell.places)
        if row == len(cell.vectors):
            cell.vectors = self._np.concatenate([cell.vectors, self._np.zeros_like(cell.vectors)])
        cell.vectors[row] = vector
        cell.places.append(place)
        self._where[place] = (cell, row)
        if self._parted or len(self._where) > self._many:
            self._parted = True
            self._part(at)

    def remove(self, place: int) -> bool:
        """Forget the vector at a place, the last of its cell moving into its row; return whether there was one."""
        found = self._where.pop(place, None)
        if found is None:
            return False
        cell, row = found
        last = cell.places.pop()
        if last != place:
            cell.places[row] = last
            cell.vectors[row] = cell.vectors[len(cell.places)]
            self._where[last] = (cell, row)
        return True

    def vector(self, place: int) -> Any:
        """Return the vector at a place."""
        cell, row = self._where[place]
        return cell.vectors[row]

    def everything(self) -> tuple[list[int], Any]:
        """Return all places, and their vectors in the same order."""
        places = [place for cell in self._cells for place in cell.places]
        return places, self._np.concatenate([cell.used for cell in self._cells])

    def search(self, vector: Any, count: int) -> list[tuple[int, float]]:
        """Return up to ``count`` (place, cosine similarity), nearest first, of equally near ones the smaller place."""
        read = self._chosen(vector)
        if not read:
            return []
        # Row by row: a product of matrices runs in as many threads as there are cores, which under load waits for them.
        similarities = self._np.concatenate([self._np.vecdot(cell.used, vector) for cell in read])
        if len(similarities) > count:
            chosen = self._np.argpartition(-similarities, count - 1)[:count].tolist()
        else:
            chosen = range(len(similarities))
        starts = list(accumulate((len(cell.places) for cell in read), initial=0))
        found = []
        for at in chosen:
            number = bisect_right(starts, at) - 1
            found.append((read[number].places[at - starts[number]], float(similarities[at])))
        return sorted(found, key=lambda each: (-each[1], each[0]))

    def _chosen(self, vector: Any) -> list[_Cell]:
        """Return the cells to read."""
        if len(self._cells) == 1:
            return [cell for cell in self._cells if cell.places]
        most = self._read + SHARE * len(self._where)
        chosen: list[_Cell] = []
        seen = 0
        for at in self._np.argsort(-self._np.vecdot(self._centres, vector)).tolist():
            cell = self._cells[at]
            if cell.places:
                chosen.append(cell)
                seen += len(cell.places)
            if seen >= most:
                break
        return chosen

    def _nearest(self, vector: Any) -> int:
        return int(self._np.vecdot(self._centres, vector).argmax())

    def _part(self, at: int) -> None:
        """Part a cell in two, and those in two, until none is full."""
        waiting = [at]
        centres = []
        while waiting:
            number = waiting.pop()
            cell = self._cells[number]
            if len(cell.places) <= self._full:
                continue
            one, other = self._halves(cell)
            self._cells[number] = one[0]
            self._cells.append(other[0])
            centres.append((number, one[1]))
            centres.append((len(self._cells) - 1, other[1]))
            waiting += [number, len(self._cells) - 1]
        if centres:
            grown = self._np.zeros((len(self._cells), self._centres.shape[1]), self._np.float32)
            grown[: len(self._centres)] = self._centres
            for number, centre in centres:
                grown[number] = centre
            self._centres = grown

    def _halves(self, cell: _Cell) -> tuple[tuple[_Cell, Any], tuple[_Cell, Any]]:
        """Return the two parts of a cell with their centres (of length 1, or nothing where all lies at one point)."""
        np, vectors = self._np, cell.used
        one = vectors[np.vecdot(vectors, vectors.mean(0)).argmin()]
        other = vectors[np.vecdot(vectors, one).argmin()]
        for _ in range(_ROUNDS):
            side = np.vecdot(vectors, one - other) >= 0
            if side.all() or not side.any():
                break
            one, other = _unit(np, vectors[side].mean(0)), _unit(np, vectors[~side].mean(0))
        if side.all() or not side.any():  # the same vector over and over
            side = np.arange(len(vectors)) < len(vectors) // 2
        return self._half(cell, side), self._half(cell, ~side)

    def _half(self, cell: _Cell, side: Any) -> tuple[_Cell, Any]:
        np = self._np
        rows = np.flatnonzero(side)
        vectors = np.zeros((max(_FIRST, 2 * len(rows)), cell.vectors.shape[1]), np.float32)
        vectors[: len(rows)] = cell.vectors[rows]
        made = _Cell(vectors, [cell.places[row] for row in rows.tolist()])
        self._where.update({place: (made, row) for row, place in enumerate(made.places)})
        return made, _unit(np, made.used.mean(0))


def _unit(np: Any, vector: Any) -> Any:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
