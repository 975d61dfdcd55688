"""Which questions the last tier is worth asking at once, learned from what both tiers made of others."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmsaver.errors import MissingExtra
from llmsaver.router.blend import Blend
from llmsaver.router.features import hashed
from llmsaver.router.gatekeeper_space import TOKENS, Space, prepared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmsaver.embed.embedder import Embedder

__all__ = ["Gatekeeper", "Question"]

# A question's text, or what ``features.hashed`` made of it (then no embedder can be used).
Question = str | tuple[int, ...]

# The ridge: with four kernels of 1 each, labels needed until the data counts as much as the mean. Between 15 and 40
# nothing changes by more than 0.003 APGR on either set of ``benchmarks/router.py``.
_RIDGE = 25.0
# Standard errors by which predictions of labels left out must agree with them; nine in ten that know nothing do not.
_EVIDENCE = 1.28
# Labels from which leaving each one out would cost more than the fit: a fifth of them is left out once.
_MANY = 2_000
_FOLDS = 5
_FORMAT = b"llmsaver-gatekeeper-1\n"
_ARRAYS = ("weights", "rarity", "mean", "spread", "center", "shapes", "meanings")
_NUMBERS = ("base", "labels", "mean_gain", "evidence")


@dataclass(frozen=True)
class Gatekeeper:
    """Expected gains of the last tier over the cheap one; fitted on the gain itself, by ridge regression.

    Of the questions it keeps their shapes and, with an embedder, their embeddings, as a semantic cache does; no text.
    ``labels``: how many it saw, ``mean_gain``: their mean, ``evidence``: how many standard errors its predictions of
    labels left out agreed with the truth; where that is not enough, every question gets the mean, which routes no
    worse than chance. ``blend``: for ``blend.combined``. ``embedder_name``: None without one.
    """

    space: Space
    weights: Any
    base: float
    labels: int
    mean_gain: float
    evidence: float
    blend: Blend = field(default_factory=Blend)
    embedder: Embedder | None = None
    embedder_name: str | None = None

    @classmethod
    def fit(
        cls,
        questions: Sequence[Question],
        weak: Sequence[float],
        strong: Sequence[float],
        *,
        merits: Sequence[float | None] | None = None,
        embedder: Embedder | None = None,
        seed: int = 0,
    ) -> Gatekeeper:
        """Fit on what each tier's answer was worth, 0.0 to 1.0; needs numpy.

        ``merits`` of the cheap answers, where known, teach how far to correct a merit by the gain (``blend``). Raises
        ``MissingExtra`` without numpy, ``ValueError`` for lengths that differ or no labels.
        """
        if not len(questions) == len(weak) == len(strong) or not questions:
            raise ValueError("a gatekeeper needs as many questions as qualities of both tiers, at least one")
        np = _numpy()
        gain = np.asarray(strong, float) - np.asarray(weak, float)
        features, meanings = _features(questions), _meanings(questions, embedder)
        space, parts = prepared(features, meanings)
        alike = parts.tokens @ parts.tokens.T + space.near(parts)
        level = alike.mean(0)
        dual, rows, unseen = _ridge(alike, gain, seed)
        weights = np.concatenate([parts.tokens.T @ dual, dual])
        mean = float(gain.mean())
        base = float(mean - level @ dual)
        evidence = _agreement(unseen, gain[rows])
        blend = Blend()
        if merits is not None and evidence >= _EVIDENCE:
            known = [(merits[row], weak[row], strong[row]) for row in rows]
            blend = Blend.fit([each[0] for each in known], unseen + mean, *zip(*(e[1:] for e in known), strict=True))
        name = None if embedder is None else embedder.name
        return cls(space, weights, base, len(gain), mean, evidence, blend, embedder, name)

    @property
    def trusted(self) -> bool:
        """Whether its predictions of unseen labels agreed with the truth more than chance would."""
        return self.evidence >= _EVIDENCE

    def gain(self, questions: Sequence[Question]) -> list[float]:
        """Return the expected strong - weak quality of each question, as far as the labels tell."""
        if not questions:
            return []
        if not self.trusted:
            return [self.mean_gain] * len(questions)
        meanings = None if self.embedder_name is None else _meanings(questions, self.embedder)
        parts = self.space.parts(_features(questions), meanings)
        found = parts.tokens @ self.weights[:TOKENS] + self.space.near(parts) @ self.weights[TOKENS:] + self.base
        return [float(each) for each in found]

    def to_bytes(self) -> bytes:
        """Return it as bytes: a JSON head and float32 arrays, nothing that runs when read."""
        np = _numpy()
        kept = {"weights": self.weights, **{name: getattr(self.space, name) for name in _ARRAYS[1:]}}
        arrays = {name: np.asarray(kept[name], "<f4") for name in _ARRAYS if kept[name] is not None}
        head = {
            **{name: getattr(self, name) for name in _NUMBERS},
            "blend": [self.blend.weight, self.blend.center],
            "embedder": self.embedder_name,
            "shapes": {name: array.shape for name, array in arrays.items()},
        }
        told = json.dumps(head).encode()
        return b"".join([_FORMAT, struct.pack("<I", len(told)), told, *(each.tobytes() for each in arrays.values())])

    @classmethod
    def from_bytes(cls, raw: bytes, *, embedder: Embedder | None = None) -> Gatekeeper:
        """Return the gatekeeper that was written so; ``ValueError`` for anything else, or for another embedder."""
        try:
            made = cls._read(raw, embedder)
        except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
            raise ValueError(f"this is no gatekeeper of this version: {error!r}") from error
        if made.embedder_name is not None and (embedder is None or embedder.name != made.embedder_name):
            raise ValueError(f"this gatekeeper was fitted with the embedder {made.embedder_name}: give embedder=")
        return made

    @classmethod
    def _read(cls, raw: bytes, embedder: Embedder | None) -> Gatekeeper:
        np = _numpy()
        start = len(_FORMAT) + 4
        if not raw.startswith(_FORMAT):
            raise ValueError("it begins otherwise")
        (length,) = struct.unpack("<I", raw[len(_FORMAT) : start])
        head = json.loads(raw[start : start + length])
        arrays: dict[str, Any] = dict.fromkeys(_ARRAYS)
        at = start + length
        for name, shape in head["shapes"].items():
            size = 4 * math.prod(shape)
            arrays[name] = np.frombuffer(raw[at : at + size], "<f4").reshape(shape)
            at += size
        weights = arrays.pop("weights")
        space = Space(**arrays)
        told = {name: float(head[name]) for name in _NUMBERS}
        finite = all(np.isfinite(each).all() for each in (weights, *arrays.values()) if each is not None)
        if at != len(raw) or len(weights) != TOKENS + len(space.shapes) or not finite:
            raise ValueError("it is not whole")
        base, labels, mean, evidence = (told[name] for name in _NUMBERS)
        blend = Blend(*map(float, head["blend"]))
        return cls(space, weights, base, int(labels), mean, evidence, blend, embedder, head["embedder"])


def _numpy() -> Any:
    try:
        import numpy as np
    except ImportError:
        raise MissingExtra("a trained gatekeeper", "router") from None
    return np


def _features(questions: Sequence[Question]) -> list[tuple[int, ...]]:
    return [hashed(each) if isinstance(each, str) else each for each in questions]


def _meanings(questions: Sequence[Question], embedder: Embedder | None) -> Any:
    if embedder is None:
        return None
    texts = [each for each in questions if isinstance(each, str)]
    if len(texts) < len(questions):
        raise ValueError("a gatekeeper with an embedder needs the texts of all questions")
    return embedder.embed(texts)


def _ridge(alike: Any, gain: Any, seed: int) -> tuple[Any, Any, Any]:
    """Return what each label pulls at questions like it, and gains predicted for labels that were left out.

    The latter as the labels' numbers and each one's distance from the mean of the others: leave-one-out predictions
    follow from the inverse that the fit needs (Craven and Wahba 1979). ``alike`` is overwritten.
    """
    np = _numpy()
    count = len(gain)
    centred = (gain - gain.mean()).astype(np.float32)
    kernel = alike
    kernel -= kernel.mean(0, keepdims=True)
    kernel -= kernel.mean(1, keepdims=True)
    kernel[np.diag_indices(count)] += _RIDGE
    if count > _MANY:
        folds = np.random.default_rng(seed).permutation(count) % _FOLDS
        inside, outside = np.nonzero(folds)[0], np.nonzero(folds == 0)[0]
        part = np.linalg.solve(kernel[np.ix_(inside, inside)], centred[inside])
        return np.linalg.solve(kernel, centred), outside, kernel[np.ix_(outside, inside)] @ part
    inverse = np.linalg.inv(kernel)
    dual = inverse @ centred
    missed = _RIDGE * dual / np.maximum(_RIDGE * np.diag(inverse) - 1 / count, 1e-6)
    # The mean without a label moves against it: what all labels share by that is no disagreement.
    return dual, np.arange(count), centred * count / max(1, count - 1) - missed


def _agreement(unseen: Any, truth: Any) -> float:
    """Return the correlation in standard errors; 0.0 where one of both never changes."""
    np = _numpy()
    spread = float(np.std(unseen) * np.std(truth))
    if spread == 0.0:
        return 0.0
    return float(np.mean((unseen - unseen.mean()) * (truth - truth.mean())) / spread * math.sqrt(len(truth)))
