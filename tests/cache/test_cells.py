"""Cells forget and find through every history, stay small, and miss little."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

np = pytest.importorskip("numpy")

from llmsaver.cache.cells import Cells  # noqa: E402 - needs numpy, which is an extra's


def unit(seed: int, dimensions: int = 8) -> Any:
    vector = np.random.default_rng(seed).normal(size=dimensions)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=300))
def test_where_all_cells_are_read_the_search_is_exact(history: list[tuple[bool, int]]) -> None:
    cells = Cells(8, many=10, full=4, read=10_000)
    kept: dict[int, Any] = {}
    for adding, place in history:
        removed = cells.remove(place)
        assert removed == (kept.pop(place, None) is not None)
        if adding:
            cells.add(place, unit(place))
            kept[place] = unit(place)
    asked = unit(999)
    best = sorted(kept, key=lambda place: -float(kept[place] @ asked))
    assert [place for place, _ in cells.search(asked, 5)] == best[:5]
    assert len(cells) == len(kept)
    places, vectors = cells.everything()
    assert sorted(places) == sorted(kept)
    assert all((vectors[at] == kept[place]).all() for at, place in enumerate(places))
    assert all((cells.vector(place) == kept[place]).all() for place in kept)


def test_near_ones_are_found_though_few_cells_are_read() -> None:
    centres = np.stack([unit(seed, 32) for seed in range(100)])
    chance = np.random.default_rng(1)
    vectors = centres[chance.integers(0, 100, 4_000)] + 0.08 * chance.normal(size=(4_000, 32))
    vectors = (vectors / np.linalg.norm(vectors, axis=1)[:, None]).astype(np.float32)
    cells = Cells(32, many=500, full=64, read=400)
    for place in range(3_900):
        cells.add(place, vectors[place])
    assert max(len(cell.places) for cell in cells._cells) <= 64
    found = 0
    for asked in vectors[3_900:]:
        best = set(np.argsort(-(vectors[:3_900] @ asked))[:10].tolist())
        found += len(best & {place for place, _ in cells.search(asked, 10)})
        assert sum(len(cell.places) for cell in cells._chosen(asked)) < 600
    assert found / 1_000 > 0.9


def test_the_same_vector_over_and_over_is_parted_too_and_told_in_order() -> None:
    cells = Cells(8, many=10, full=8)
    for place in reversed(range(100)):
        cells.add(place, unit(1))
    assert max(len(cell.places) for cell in cells._cells) <= 8
    assert [place for place, _ in cells.search(unit(1), 100)] == list(range(100))


def test_cells_that_were_emptied_are_passed_over() -> None:
    cells = Cells(8, many=10, full=4)
    for place in range(50):
        cells.add(place, unit(place))
    for place in range(50):
        cells.remove(place)
    assert cells.search(unit(1), 3) == []
    cells.add(7, unit(7))
    assert [place for place, _ in cells.search(unit(1), 3)] == [7]
