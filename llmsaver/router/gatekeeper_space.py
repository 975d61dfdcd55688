"""From a question's features to the vector in which a gatekeeper is a plain ridge regression."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmsaver.router.features import LEVELS, PIECES, SHAPE_FROM, SHAPES, WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Space", "prepared"]

# How near two shapes, and two meanings, must be to count as alike: exp(-width * squared distance).
_SHAPE_WIDTH = 0.3
_MEANING_WIDTH = 1.0
# Random waves that stand in for each of these two kernels (Rahimi and Recht 2007).
_SHAPE_WAVES = 512
_MEANING_WAVES = 1024
# Where each part of a vector begins.
_SHAPE = WORDS + PIECES
_MEANING = _SHAPE + _SHAPE_WAVES
# Standard deviations from the mean beyond which a shape is not followed.
_FAR = 3.0


@dataclass(frozen=True)
class Space:
    """The vector space of one gatekeeper: rarities of buckets, means and spreads, the seed of its waves.

    A vector is four of length 1 end to end: words, pieces of words, shape and, with an embedder, meaning. Their
    products are the sum of four kernels, so that each can tell alike questions by itself.
    """

    rarity: Any
    mean: Any
    spread: Any
    center: Any
    seed: int

    @property
    def size(self) -> int:
        """How many numbers a vector has."""
        return _MEANING + (0 if self.center is None else _MEANING_WAVES)

    def vectors(self, features: Sequence[Sequence[int]], meanings: Any) -> Any:
        """Return the float32 array (questions, ``size``)."""
        import numpy as np

        made = np.zeros((len(features), self.size), np.float32)
        shapes = np.zeros((len(features), len(SHAPES)), np.float32)
        for row, told in enumerate(features):
            buckets, counts, shapes[row] = _read(told)
            made[row, buckets] = counts * self.rarity[buckets]
        for part in (slice(0, WORDS), slice(WORDS, _SHAPE)):
            made[:, part] /= np.maximum(np.linalg.norm(made[:, part], axis=1, keepdims=True), 1e-9)
        near = np.clip((shapes - self.mean) / self.spread, -_FAR, _FAR) / math.sqrt(len(SHAPES))
        made[:, _SHAPE:_MEANING] = _waves(near, _SHAPE_WAVES, _SHAPE_WIDTH, self.seed)
        if self.center is not None:
            directions = np.asarray(meanings, np.float32) - self.center
            directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-9)
            made[:, _MEANING:] = _waves(directions, _MEANING_WAVES, _MEANING_WIDTH, self.seed + 1)
        return made


def prepared(features: Sequence[Sequence[int]], meanings: Any, seed: int) -> Space:
    """Return the space that these questions span; ``meanings`` are their embeddings, or None."""
    import numpy as np

    seen = np.zeros(_SHAPE, np.float32)
    shapes = np.zeros((len(features), len(SHAPES)), np.float32)
    for row, told in enumerate(features):
        buckets, _, shapes[row] = _read(told)
        seen[buckets] += 1
    return Space(
        rarity=np.log1p(len(features) / (1 + seen)).astype(np.float32),
        mean=shapes.mean(0),
        # A number that never changed here says nothing when it does later: without a floor it would be all there is.
        spread=np.maximum(shapes.std(0), 0.02),
        center=None if meanings is None else np.asarray(meanings, np.float32).mean(0),
        seed=seed,
    )


def _read(told: Sequence[int]) -> tuple[Any, Any, Any]:
    """Return the buckets of a question, how often each counts up or down (by its logarithm), and the shape."""
    import numpy as np

    numbers, times = np.unique(np.asarray(told, np.int64), return_counts=True)
    tokens = numbers < SHAPE_FROM
    signs = np.where(numbers[tokens] % 2, 1.0, -1.0)
    buckets, where = np.unique(numbers[tokens] // 2, return_inverse=True)
    counts = np.bincount(where, signs * (1 + np.log(times[tokens])), len(buckets))
    shape = np.zeros(len(SHAPES), np.float32)
    levels = numbers[~tokens] - SHAPE_FROM
    shape[levels // LEVELS] = levels % LEVELS / (LEVELS - 1)
    return buckets, counts, shape


def _waves(points: Any, count: int, width: float, seed: int) -> Any:
    import numpy as np

    # The legacy generator: its numbers are promised not to change, and a stored gatekeeper keeps only the seed.
    draw = np.random.RandomState(seed)
    directions = draw.normal(0.0, math.sqrt(2 * width), (points.shape[1], count)).astype(np.float32)
    phases = draw.uniform(0.0, 2 * math.pi, count).astype(np.float32)
    return np.cos(points @ directions + phases) * math.sqrt(2 / count)
