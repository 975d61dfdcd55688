"""What a gatekeeper learns from labels, alone and beside a cheap answer's confidence."""

from __future__ import annotations

import hashlib
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from llmsaver.router.blend import combined
from llmsaver.router.gatekeeper import Gatekeeper

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from router_pairs import Pair, Questions

    from llmsaver.embed.embedder import Embedder

SIZES = (50, 100, 300, 650, 1_500, 7_000)
SEEDS = 5
CHUNK = 1_000
TARGET = 0.95
PUBLISHED = {"router_mmlu": ("RouteLLM, its best", 0.603), "router_gsm8k": ("RouteLLM, its best", 0.622)}
ASKED = {("router_mmlu", 1_500): 0.66, ("router_mmlu", 7_000): 0.69, ("router_gsm8k", 650): 0.65}


class Kept:
    """The default embedder, with the vectors of these texts in a file: they are asked for often."""

    def __init__(self, texts: Sequence[str], kept: Path) -> None:
        from llmsaver.embed import default_embedder

        embedder = default_embedder()
        self.name, self.dimensions = embedder.name, embedder.dimensions
        unique = sorted(set(texts))
        code = hashlib.sha256("\0".join([self.name, *unique]).encode("utf-8", "replace")).hexdigest()[:16]
        path = kept / f"router-{code}.npy"
        if not path.is_file():
            print(f"embedding {len(unique):,} questions, once", file=sys.stderr, flush=True)
            np.save(path, embedder.embed(unique))
        self._vectors = dict(zip(unique, np.load(path), strict=True))

    def embed(self, texts: Sequence[str]) -> Any:
        """Return the vectors of texts that were named before."""
        return np.stack([self._vectors[text] for text in texts])


def embedder_of(texts: Sequence[str], kept: Path) -> Embedder | None:
    """Return the embedder with these texts; None without the extra."""
    return Kept(texts, kept) if all(map(find_spec, ("onnxruntime", "tokenizers"))) else None


def apgr(score: np.ndarray, gain: np.ndarray) -> float:
    """Return the mean recovered performance over all shares sent to the strong model; ties are sent in a mean order."""
    _, ranks = np.unique(-score, return_inverse=True)
    counts, sums = np.bincount(ranks), np.bincount(ranks, gain)
    recovered = np.concatenate([[0.0], np.cumsum(sums)]) / gain.sum()
    return float(((recovered[1:] + recovered[:-1]) / 2 * counts).sum() / len(gain))


def gains(keeper: Gatekeeper, prompts: Sequence[str]) -> np.ndarray:
    """Return the expected gain of each question."""
    parts = [keeper.gain(prompts[start : start + CHUNK]) for start in range(0, len(prompts), CHUNK)]
    return np.array([gain for part in parts for gain in part])


def gatekeeper_rows(questions: Questions, kept: Path, *, quick: bool) -> list[dict[str, Any]]:
    """Return APGR at each number of labels, random and oracle beside it."""
    embedder = None if quick else embedder_of(questions.prompts, kept)
    gain, count = questions.strong - questions.weak, len(questions.prompts)
    # The last size is all of a small set's half.
    sizes = [size for size in SIZES if size <= count / 2][: 3 if quick else None]
    rows = []
    for size in sizes:
        found, oracle, trusted = [], [], 0
        for seed in range(1 if quick else SEEDS):
            order = np.random.default_rng(seed).permutation(count)
            known, rest = order[: count // 2][:size], order[count // 2 :]
            asked = [questions.prompts[at] for at in known]
            keeper = Gatekeeper.fit(asked, questions.weak[known], questions.strong[known], embedder=embedder)
            found.append(apgr(gains(keeper, [questions.prompts[at] for at in rest]), gain[rest]))
            oracle.append(apgr(gain[rest], gain[rest]))
            trusted += keeper.trusted
        row = {"set": questions.name, "labels": size, "apgr": float(np.mean(found)), "lowest": min(found)}
        row |= {"trusted": trusted / len(found), "asked": ASKED.get((questions.name, size)), "random": 0.5}
        row |= {"oracle": float(np.mean(oracle)), "published": PUBLISHED.get(questions.name)}
        rows.append(row)
        print(f"gatekeeper, {questions.name}, {size:,} labels: APGR {np.mean(found):.3f}", file=sys.stderr, flush=True)
    return rows


def combined_rows(pair: Pair, kept: Path, *, quick: bool) -> list[dict[str, Any]]:
    """Return savings at the target on one half, by confidence alone and with a gatekeeper trained on the other."""
    from router import at_target

    embedder = None if quick else embedder_of(pair.prompts, kept)
    rows, count = [], len(pair.prompts)
    for size in (200, count // 2):
        alone, both, weights = [], [], []
        for seed in range(2 if quick else SEEDS):
            order = np.random.default_rng(seed).permutation(count)
            known, scored = order[: count // 2][:size], pair.part(order[count // 2 :])
            merits = [float(merit) if merit >= 0 else None for merit in pair.merits[known]]
            asked = [pair.prompts[at] for at in known]
            quality = pair.weak[known], pair.strong[known]
            keeper = Gatekeeper.fit(asked, *quality, merits=merits, embedder=embedder)
            moved = [
                combined(float(merit), gain, keeper.blend)
                for merit, gain in zip(scored.merits, gains(keeper, scored.prompts), strict=True)
            ]
            alone.append(at_target(scored, scored.merits)[0])
            both.append(at_target(scored, np.array(moved, float))[0])
            weights.append(keeper.blend.weight)
        row = {"pair": pair.name, "labels": size, "confidence": float(np.mean(alone)), "combined": float(np.mean(both))}
        rows.append({**row, "worst": float(np.min(np.subtract(both, alone))), "weights": np.round(weights, 2).tolist()})
    return rows
