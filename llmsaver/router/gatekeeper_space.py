"""How alike questions are to a gatekeeper: by their words, pieces of words, shape and, with an embedder, meaning."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmsaver.router.features import LEVELS, PIECES, SHAPE_FROM, SHAPES, WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TOKENS", "Parts", "Space", "prepared"]

# Numbers of a vector of words and pieces.
TOKENS = WORDS + PIECES
# How near two shapes, and two meanings, must be to count as alike: exp(-width * squared distance).
_SHAPE_WIDTH = 0.5
_MEANING_WIDTH = 1.0
# Standard deviations from the mean beyond which a shape is not followed.
_FAR = 3.0


@dataclass(frozen=True)
class Parts:
    """Questions as arrays, a row each: ``tokens`` (words, then pieces, each of length 1), ``shapes``, ``meanings``."""

    tokens: Any
    shapes: Any
    meanings: Any


@dataclass(frozen=True)
class Space:
    """What the questions that a gatekeeper learned from say of any others.

    ``rarity``: of each bucket; ``mean`` and ``spread``: of shapes; ``center``: of meanings. ``shapes`` and ``meanings``
    are those questions' own, to be compared with; all float32, the meanings None without an embedder.
    """

    rarity: Any
    mean: Any
    spread: Any
    center: Any
    shapes: Any
    meanings: Any

    def parts(self, features: Sequence[Sequence[int]], meanings: Any) -> Parts:
        """Return questions as arrays; ``meanings`` are their embeddings, or None."""
        import numpy as np

        tokens = np.zeros((len(features), TOKENS), np.float32)
        shapes = np.zeros((len(features), len(SHAPES)), np.float32)
        for row, told in enumerate(features):
            buckets, counts, shapes[row] = _read(told)
            tokens[row, buckets] = counts * self.rarity[buckets]
        for part in (slice(0, WORDS), slice(WORDS, TOKENS)):
            tokens[:, part] /= np.maximum(np.linalg.norm(tokens[:, part], axis=1, keepdims=True), 1e-9)
        shapes = np.clip((shapes - self.mean) / self.spread, -_FAR, _FAR) / math.sqrt(len(SHAPES))
        if self.center is None:
            return Parts(tokens, shapes, None)
        directions = np.asarray(meanings, np.float32) - self.center
        directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-9)
        return Parts(tokens, shapes, directions)

    def near(self, parts: Parts) -> Any:
        """Return how alike questions are to those learned from, by shape and meaning: (questions, learned from)."""
        found = _alike(parts.shapes, self.shapes, _SHAPE_WIDTH)
        if self.meanings is not None:
            found += _alike(parts.meanings, self.meanings, _MEANING_WIDTH)
        return found


def prepared(features: Sequence[Sequence[int]], meanings: Any) -> tuple[Space, Parts]:
    """Return the space that these questions span, and them in it; ``meanings`` are their embeddings, or None."""
    import numpy as np

    seen = np.zeros(TOKENS, np.float32)
    shapes = np.zeros((len(features), len(SHAPES)), np.float32)
    for row, told in enumerate(features):
        buckets, _, shapes[row] = _read(told)
        seen[buckets] += 1
    frame = Space(
        rarity=np.log1p(len(features) / (1 + seen)).astype(np.float32),
        mean=shapes.mean(0),
        # A number that never changed here says nothing when it does later: without a floor it would be all there is.
        spread=np.maximum(shapes.std(0), 0.02),
        center=None if meanings is None else np.asarray(meanings, np.float32).mean(0),
        shapes=None,
        meanings=None,
    )
    parts = frame.parts(features, meanings)
    space = Space(frame.rarity, frame.mean, frame.spread, frame.center, parts.shapes, parts.meanings)
    return space, parts


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


def _alike(points: Any, others: Any, width: float) -> Any:
    import numpy as np

    lengths = (points**2).sum(1)[:, None] + (others**2).sum(1)
    return np.exp(-width * np.maximum(lengths - 2 * points @ others.T, 0.0))
