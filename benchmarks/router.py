"""What the router saves, what of the quality it keeps, and how often it breaks its contract.

    python benchmarks/router.py [--json] [--quick] [--only curve,contract,bill,gatekeeper,combined]
                                [--outcomes CSV ...] [--data DIR] [--kept DIR]

Recorded outcomes are put to the real client, stack and cascade: a provider in this process answers each question as
the model asked did, with its log-probability and at its cost, so that the bill has audits, explorations and discarded
answers in it. *Curve*: untrained; every question is put to the cheap tier, and the saving at 95 % of the strong model's
quality is read off the curve of the merits that the cascade found. *Contract*: min_quality=0.95, risk=0.1 on 200 random
splits of each pair, 200 labels to find the threshold, all other rows to score it, by those merits; a split of each pair
is driven through the stack as well and has to come out the same. *Bill*: what the provider bills with the thresholds
that ship, from the first call on, also with the cheap tier 5 and 16 times as dear. *Gatekeeper*: APGR over 5 seeds,
trained on one half, scored on the other. *Combined*: gatekeeper and confidence on the pairs, trained on one half with
200 labels and with all. Random and oracle stand beside each.

Found (money; in calls, as routing papers count, 0.45, 0.72, 0.68 and 0.93): the curve saves 47.8 % on 8B -> 405B over
MMLU (plain confidence 40.6, oracle 79.4), 71.5 % on 4o-mini -> 4o over MMLU (70.4; 91.0), 66.0 % on 8B over TriviaQA
(64.2; 82.4), 92.6 % on 4o-mini over TriviaQA (91.1; 93.0). The contract is broken in 8.9 % of the splits (7.0, 11.0,
12.0 and 5.5 % by pair, each to 2 %; in 800 others 8.1, 8.8, 11.0 and 5.9 %), saving 60.2 %. The bill is at most 100.3 %
of always-strong, audits and tries included (a cheap tier five times as dear that does not pay: 100.1 %; sixteen times:
left out, 100.0 %). From no labels to a contract, in one pass over a pair, it is 64 to 100.3 % at 97 % of the quality or
more: whether the first 45 labels prove anything is luck, and more come slowly. APGR: MMLU 0.661 at 1,500 labels, 0.692
at 7,000 (RouteLLM's best 0.603); GSM8K 0.684 at 650 (0.622); at 50 labels 0.500 and 0.539, no seed below random.

PGR = (quality - weak) / (strong - weak); APGR is its mean over the share sent to the strong model.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from router_learned import combined_rows, gatekeeper_rows
from router_pairs import CASCADES, QUESTIONS, Pair, Questions, data_folder, pairs_of, questions_of
from router_recorded import drive

from llmsaver.router.calibration import NotEnough, Threshold, contract

TARGET, RISK, LABELS, SPLITS = 0.95, 0.1, 200, 200
PARTS = ("curve", "contract", "bill", "gatekeeper", "combined")
DEARER = (1.0, 5.0, 16.0)
QUICK_ROWS, QUICK_SPLITS = 400, 20
ASKED = {
    "curve": {
        "mmlu: gpt-4o-mini -> gpt-4o": 0.71,
        "triviaqa: gpt-4o-mini -> gpt-4o": 0.93,
        "mmlu: llama3.1-8b -> llama3.1-405b": 0.42,
        "triviaqa: llama3.1-8b -> llama3.1-405b": 0.67,
    },
    "contract": {"missed": 0.10, "mean_saving": 0.60},
    "bill": {"over_always_strong": 0.005},
}


def said(text: str) -> None:
    """Write progress, where a person looks on or a log is kept."""
    print(text, file=sys.stderr, flush=True)


def driven_merits(pair: Pair) -> Pair:
    """Return the pair with the merits that the real cascade found; the lowest for answers that it rejected."""
    # In random order: the files are sorted by subject, which traffic is not.
    order = np.random.default_rng(1).permutation(len(pair.prompts))
    found = drive(pair, order.tolist(), threshold=0.0, audit=0.0, explore=0.0)
    rejected = np.isnan(found.merits)
    pair.merits[order] = np.where(rejected, -1.0, found.merits)
    said(f"{pair.name}: {len(pair.prompts):,} questions driven, {rejected.sum()} answers rejected by validators")
    return pair


def points(pair: Pair, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return quality kept, saving in money and saving in calls for every threshold on ``score``, strictest first."""
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    edges = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    quality = (pair.strong.sum() - np.cumsum(pair.gain[order])[edges]) / pair.strong.sum()
    bill = pair.strong_cost.sum()
    weak = pair.weak_cost.sum() / bill
    money = np.cumsum(pair.strong_cost[order])[edges] / bill - weak
    return quality, money, (edges + 1) / len(order) - weak


def at_target(pair: Pair, score: np.ndarray) -> tuple[float, float]:
    """Return the greatest saving (in money, in calls) at which the target is kept; 0 where nothing keeps it."""
    quality, money, calls = points(pair, score)
    good = quality >= TARGET
    return (float(money[good].max()), float(calls[good].max())) if good.any() else (0.0, 0.0)


def oracle_score(pair: Pair) -> np.ndarray:
    """Return the score that escalates only what gains, the cheapest first."""
    return np.where(pair.gain > 0, -1.0 / pair.strong_cost, 1.0 - pair.gain)


def random_saving(pair: Pair) -> float:
    """Return what escalating at random saves at the target, on average."""
    loss = 1 - pair.weak.sum() / pair.strong.sum()
    escalated = max(0.0, 1 - (1 - TARGET) / loss) if loss > 0 else 0.0
    return float(1 - pair.weak_cost.sum() / pair.strong_cost.sum() - escalated)


def curve_rows(pairs: list[Pair]) -> list[dict[str, Any]]:
    """Return the untrained savings at the target."""
    rows = []
    for pair in pairs:
        money, calls = at_target(pair, pair.merits)
        row = {"pair": pair.name, "saving": money, "saving_in_calls": calls, "asked": ASKED["curve"].get(pair.name)}
        row |= {"confidence_alone": at_target(pair, pair.conf)[0], "random": random_saving(pair)}
        rows.append({**row, "oracle": at_target(pair, oracle_score(pair))[0]})
    return rows


def split_of(pair: Pair, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the labelled rows and all others."""
    order = np.random.default_rng([seed, len(pair.prompts)]).permutation(len(pair.prompts))
    count = min(LABELS, len(order) // 2)
    return order[:count], order[count:]


def promised(pair: Pair, rows: np.ndarray) -> Threshold:
    """Return the threshold that the contract gives on these rows; everything escalates without enough of them."""
    found = contract(pair.labels(rows), min_quality=TARGET, risk=RISK)
    return Threshold(np.inf, "logprobs", 1.0, 1.0, 0.0, 0, gold=True) if isinstance(found, NotEnough) else found


def contract_rows(pairs: list[Pair], splits: int) -> list[dict[str, Any]]:
    """Return misses and savings over random splits, and one split of each driven through the stack."""
    rows = []
    for pair in pairs:
        missed, savings, expected = [], [], []
        for seed in range(splits):
            known, rest = split_of(pair, seed)
            threshold, scored = promised(pair, known), pair.part(rest)
            escalated = scored.merits < threshold.value
            missed.append(scored.quality(escalated) < TARGET)
            savings.append(scored.saving(escalated))
            expected.append(threshold.saving)
        row = {"pair": pair.name, "splits": splits, "missed": np.mean(missed), "saving": np.mean(savings)}
        row |= {"saving_expected": np.mean(expected), "possible": at_target(pair, pair.merits)[0]}
        rows.append({**row, "driven": driven_split(pair)})
        said(f"contract, {pair.name}: missed {np.mean(missed):.1%}, saved {np.mean(savings):.1%}")
    return rows


def driven_split(pair: Pair) -> dict[str, Any]:
    """Return what a Cascade that was given one split's labels does on the others, audits and all."""
    known, rest = split_of(pair, 0)
    options = {"min_quality": TARGET, "risk": RISK, "labels": pair.labels(known)}
    found = drive(pair, rest.tolist(), **options)
    threshold = promised(pair, known)
    same = (pair.merits[rest] < threshold.value) == found.strong
    row: dict[str, Any] = {"same_decisions": float(same.mean()), "quality": found.quality, "saving": found.saving}
    return {**row, "evidence": found.notes, "calls": found.calls}


def bill_rows(pairs: list[Pair]) -> list[dict[str, Any]]:
    """Return what the provider bills from the first call on, as a share of always-strong."""
    rows = []
    for pair in pairs:
        every = np.random.default_rng(3).permutation(len(pair.prompts)).tolist()
        for dearer in DEARER:
            found = drive(pair, every if dearer == 1.0 else every[:1_000], dearer=dearer)
            row = {"pair": pair.name, "weak_price": dearer, "bill": found.spent / found.always}
            rows.append({**row, "quality": found.quality, "aside": found.notes["aside"] / len(found.rows)})
        found = drive(pair, every, min_quality=TARGET, risk=RISK)
        row = {"pair": pair.name, "weak_price": 1.0, "bill": found.spent / found.always, "from": "no labels, contract"}
        rows.append({**row, "quality": found.quality, "aside": found.notes["aside"] / len(every)})
        said(f"bill, {pair.name}: {[round(each['bill'], 3) for each in rows[-4:]]} of always-strong")
    return rows


def told_of(asked: argparse.Namespace, pairs: list[Pair], questions: list[Questions]) -> dict[str, Any]:
    """Run the parts that were asked for."""
    told: dict[str, Any] = {}
    if {"curve", "contract", "combined"} & set(asked.only):
        pairs = [driven_merits(pair) for pair in pairs]
    if "curve" in asked.only:
        told["curve"] = curve_rows(pairs)
    if "contract" in asked.only and pairs:
        rows = contract_rows(pairs, QUICK_SPLITS if asked.quick else SPLITS)
        told["contract"] = {name: float(np.mean([row[name] for row in rows])) for name in ("missed", "saving")}
        told["contract"] |= {"most_missed": max(row["missed"] for row in rows), "pairs": rows}
    if "bill" in asked.only:
        told["bill"] = bill_rows(pairs[:1] if asked.quick else pairs)
    if "gatekeeper" in asked.only:
        told["gatekeeper"] = [row for each in questions for row in gatekeeper_rows(each, asked.kept, quick=asked.quick)]
    if "combined" in asked.only:
        told["combined"] = [row for pair in pairs for row in combined_rows(pair, asked.kept, quick=asked.quick)]
    return told


def show(told: dict[str, Any]) -> None:
    """Print as tables."""
    for part, found in told.items():
        rows = found["pairs"] if isinstance(found, dict) else found
        print(f"\n{part}  (asked: {json.dumps(ASKED[part])})" if part in ASKED else f"\n{part}")
        for row in rows:
            print("  " + "  ".join(f"{name}={_shown(value)}" for name, value in row.items() if value is not None))
        if isinstance(found, dict):
            print("  all: " + "  ".join(f"{name}={_shown(value)}" for name, value in found.items() if name != "pairs"))


def _shown(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, without embeddings")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, comma-separated")
    parser.add_argument("--outcomes", nargs="+", type=Path, help="files with the columns of the shared ones")
    parser.add_argument("--data", help="the folder with the shared files")
    parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "llmsaver-vectors")
    asked = parser.parse_args()
    asked.only = asked.only.split(",")
    if unknown := set(asked.only) - set(PARTS):
        parser.error(f"--only: {', '.join(sorted(unknown))} is none of {', '.join(PARTS)}")
    paths = asked.outcomes
    if paths is None:
        folder = data_folder(asked.data)
        paths = [folder / name for name in (CASCADES, *QUESTIONS.values())]
    pairs = [pair for path in paths for pair in pairs_of(path)]
    questions = [found for path in paths if (found := questions_of(path)) is not None]
    if asked.quick:
        pairs = [pair.part(np.arange(min(QUICK_ROWS, len(pair.prompts)))) for pair in pairs]
    asked.kept.mkdir(exist_ok=True)
    told = told_of(asked, pairs, questions)
    if asked.json:
        print(json.dumps(told, default=float))
    else:
        show(told)


if __name__ == "__main__":
    main()
