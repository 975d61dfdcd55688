"""Recorded outcomes for the router's benchmarks: what a cheap and a strong model made of the same questions.

Read from the folder named by ``LLMSAVER_DATA`` (default ``../shared/data``), or from files of one's own with the same
columns: ``dataset, chain, split, i, model, prompt, answer, correct, conf, cost`` (one row for each model's answer,
``conf`` its log-probability), or ``prompt, weak_correct, strong_correct`` (no confidence: for gatekeepers only).
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llmsaver.router.calibration import Label
from llmsaver.router.merit import merit

if TYPE_CHECKING:
    from collections.abc import Sequence

CASCADES = "cascade_outcomes.csv.gz"
QUESTIONS = {"mmlu": "router_mmlu.csv.gz", "gsm8k": "router_gsm8k.csv.gz"}
# A row's column that only files of each kind have.
_CASCADE, _QUESTIONS = "conf", "weak_correct"


@dataclass
class Pair:
    """One cheap and one strong model on one data set; a row for each question.

    ``conf``: the cheap answer's log-probability. ``weak_cost``, ``strong_cost``: dollars.
    """

    name: str
    models: tuple[str, str]
    prompts: list[str]
    answers: list[tuple[str, str]]
    conf: np.ndarray
    weak: np.ndarray
    strong: np.ndarray
    weak_cost: np.ndarray
    strong_cost: np.ndarray
    merits: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        # The strong call's price is told from the cheap answer's usage; the ratio of their rates falls out.
        relative = self.weak_cost / self.weak_cost.mean() if self.weak_cost.any() else np.ones(len(self.prompts))
        self.merits = np.array(
            [
                merit(float(np.exp(conf)), price=float(price), chars=len(answer))
                for conf, price, (answer, _) in zip(self.conf, relative, self.answers, strict=True)
            ]
        )

    @property
    def gain(self) -> np.ndarray:
        """How much better the strong answer is."""
        return self.strong - self.weak

    def labels(self, rows: Sequence[int] | np.ndarray) -> list[Label]:
        """Return rows as labels."""
        return [
            Label(
                feature="",
                confidence=float(self.merits[row]),
                signal="logprobs",
                weak=float(self.weak[row]),
                strong=float(self.strong[row]),
                weak_nano=round(1e9 * self.weak_cost[row]),
                strong_nano=round(1e9 * self.strong_cost[row]),
                source="file",
                gold=True,
            )
            for row in rows
        ]

    def saving(self, escalated: np.ndarray) -> float:
        """Return the share of always-strong's bill that is saved; every weak call is paid."""
        paid = self.weak_cost.sum() + self.strong_cost[escalated].sum()
        return float(1 - paid / self.strong_cost.sum())

    def quality(self, escalated: np.ndarray) -> float:
        """Return the quality kept as a share of the strong model's."""
        return float(np.where(escalated, self.strong, self.weak).sum() / self.strong.sum())

    def part(self, rows: np.ndarray) -> Pair:
        """Return some of its rows; merits stay as they are."""
        made = Pair(
            self.name,
            self.models,
            [self.prompts[row] for row in rows],
            [self.answers[row] for row in rows],
            *(each[rows] for each in (self.conf, self.weak, self.strong, self.weak_cost, self.strong_cost)),
        )
        made.merits = self.merits[rows]
        return made


@dataclass
class Questions:
    """Questions and whether each of two models answered them; no confidence."""

    name: str
    prompts: list[str]
    weak: np.ndarray
    strong: np.ndarray


def data_folder(given: str | None = None) -> Path:
    """Return where the data is; ends the program, saying how to get it, where it is not."""
    folder = Path(given or os.environ.get("LLMSAVER_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))
    if not (folder / CASCADES).is_file():
        sys.exit(
            f"no {CASCADES} in {folder}: set LLMSAVER_DATA (or --data) to a folder with it (made from "
            "github.com/mzelling/rational-llm-cascades: a row for each model's answer with its log-probability and "
            f"cost), {' and '.join(QUESTIONS.values())} (from github.com/lm-sys/RouteLLM); or name files: --outcomes"
        )
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    """Read a CSV with a head, gzipped or not."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    csv.field_size_limit(1 << 24)
    return list(csv.DictReader(io.StringIO(content.decode())))


def pairs_of(path: Path) -> list[Pair]:
    """Return the pairs of a file, the cheaper model of each chain as the weak one; empty for a file of questions."""
    rows = rows_of(path)
    if not rows or _CASCADE not in rows[0]:
        return []
    chains: dict[tuple[str, str], dict[str, dict[tuple[str, str], dict[str, str]]]] = {}
    for row in rows:
        answers = chains.setdefault((row["dataset"], row.get("chain", "")), {}).setdefault(row["model"], {})
        answers[row.get("split", ""), row.get("i", "") or row["prompt"]] = row
    return [_pair(dataset, models) for (dataset, _), models in sorted(chains.items())]


def _pair(dataset: str, models: dict[str, dict[tuple[str, str], dict[str, str]]]) -> Pair:
    if len(models) != 2:  # noqa: PLR2004 - a pair
        sys.exit(f"{dataset}: a chain needs answers of two models, not of {', '.join(sorted(models))}")
    cost = {name: sum(float(row["cost"]) for row in rows.values()) / len(rows) for name, rows in models.items()}
    weak, strong = sorted(models, key=lambda name: cost[name])
    both = [(row, models[strong][key]) for key, row in models[weak].items() if key in models[strong]]

    def column(name: str, at: int) -> np.ndarray:
        return np.array([float(row[at][name]) for row in both])

    return Pair(
        f"{dataset}: {weak} -> {strong}",
        (weak, strong),
        [row[0]["prompt"] for row in both],
        [(row[0]["answer"], row[1]["answer"]) for row in both],
        column("conf", 0),
        column("correct", 0),
        column("correct", 1),
        column("cost", 0),
        column("cost", 1),
    )


def questions_of(path: Path) -> Questions | None:
    """Return the questions of a file that has no confidence; None for another."""
    rows = rows_of(path)
    if not rows or _QUESTIONS not in rows[0]:
        return None
    return Questions(
        path.name.split(".")[0],
        [row["prompt"] for row in rows],
        np.array([float(row["weak_correct"]) for row in rows]),
        np.array([float(row["strong_correct"]) for row in rows]),
    )
