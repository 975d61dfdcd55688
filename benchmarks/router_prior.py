"""Makes the thresholds that ship: what a cheap answer's merit must reach before anything is known of the traffic.

    python benchmarks/router_prior.py [--write] [--data DIR]

For log-probabilities: the lowest threshold at which *every* known pair of models keeps 95 % of the strong model's
quality (to a thousandth). Printed beside it, for each pair: the threshold that the other three give, and
what that does on the pair, which it has not seen. An overconfident model is what it has to fear: without GPT-4o-mini
on MMLU the others give 0.728, which keeps 92.2 % there; with it the rest keep 98 to 99.7 %.

The same leave-one-pair-out table is printed for the two exponents of ``llmsaver/router/merit.py``: for each pair those
that the other three would have chosen, and what they save on it.

No recorded outcomes have a second sample or a self-check with its probability, so those two are reasoned, not fitted:
two samples must be the same or nearly (published: escalating where two samples differ keeps 95.4 % of the strong
quality with 14 % escalated), and a model that judges itself must be all but certain (its AUROC is 0.67 to 0.88 from 8B
on, and worse than chance at 1B).
"""

from __future__ import annotations

import argparse
import json
import math
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from router_pairs import CASCADES, Pair, data_folder, pairs_of

PRIOR = Path(__file__).parents[1] / "llmsaver" / "router" / "prior.json"
TARGET = 0.95
REASONED = {
    "agreement": (0.9, "two samples that are the same, or nearly"),
    "self_check": (0.95, "a yes that is all but certain"),
}
EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0)


def lowest(pair: Pair, merits: np.ndarray, target: float = TARGET) -> float:
    """Return the lowest threshold down to which a pair keeps the target."""
    kept = math.inf
    for value in np.unique(merits)[::-1]:
        if pair.quality(merits < value) < target:
            break
        kept = float(value)
    return kept


def prior_of(pairs: list[Pair]) -> float:
    """Return the threshold that all of these pairs give."""
    return math.ceil(1000 * max(lowest(pair, pair.merits) for pair in pairs) - 1e-9) / 1000


def merits_with(pair: Pair, length: float, price: float) -> np.ndarray:
    """Return the logarithms of merits with other exponents; only their order matters here."""
    chars = np.clip([len(answer) for answer, _ in pair.answers], 1, 64)
    relative = np.clip(pair.weak_cost / pair.weak_cost.mean(), 0.2, 5.0)
    return np.maximum(pair.conf, -30.0) * chars**length / relative**price


def best_saving(pair: Pair, merits: np.ndarray) -> float:
    """Return the saving at the target, read off the pair's own curve."""
    order = np.argsort(-merits, kind="stable")
    quality = (pair.strong.sum() - np.cumsum(pair.gain[order])) / pair.strong.sum()
    edges = np.append(merits[order][1:] != merits[order][:-1], True)
    saved = (np.cumsum(pair.strong_cost[order]) - pair.weak_cost.sum()) / pair.strong_cost.sum()
    good = edges & (quality >= TARGET)
    return float(saved[good].max()) if good.any() else 0.0


def exponents(pairs: list[Pair]) -> list[dict[str, Any]]:
    """Return, for each pair, the exponents that the others choose and what they do on it."""
    grid = list(product(EXPONENTS, EXPONENTS))
    saved = {pair.name: {pick: best_saving(pair, merits_with(pair, *pick)) for pick in grid} for pair in pairs}
    table = []
    for pair in pairs:
        others = [each.name for each in pairs if each is not pair]
        chosen = max(grid, key=lambda pick: sum(saved[name][pick] for name in others))
        mine = saved[pair.name]
        row = {"pair": pair.name, "length": chosen[0], "price": chosen[1], "saving": round(mine[chosen], 4)}
        table.append({**row, "plain": round(mine[0.0, 0.0], 4), "shipped": round(mine[0.5, 1.0], 4)})
    return table


def main() -> None:
    """Print the tables, or write the shipped prior."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the prior that ships")
    parser.add_argument("--data", help="the folder with the outcomes")
    asked = parser.parse_args()
    pairs = pairs_of(data_folder(asked.data) / CASCADES)
    table = []
    for pair in pairs:
        threshold = prior_of([each for each in pairs if each is not pair])
        below = pair.merits < threshold
        row = {"pair": pair.name, "of_the_others": threshold, "own": round(lowest(pair, pair.merits), 4)}
        table.append({**row, "quality": round(pair.quality(below), 4), "saving": round(pair.saving(below), 4)})
    shipped = prior_of(pairs)
    signals = {"logprobs": {"threshold": shipped, "why": "every known pair keeps 95 % of the strong quality"}}
    signals.update({name: {"threshold": value, "why": why} for name, (value, why) in REASONED.items()})
    if asked.write:
        source = "recorded outcomes of GPT-4o-mini -> GPT-4o and Llama 3.1 8B -> 405B on MMLU and TriviaQA"
        PRIOR.write_text(json.dumps({"fitted_on": source, "signals": signals}, indent=1) + "\n")
    print(json.dumps({"left_out": table, "exponents_left_out": exponents(pairs), "shipped": signals}, indent=1))


if __name__ == "__main__":
    main()
