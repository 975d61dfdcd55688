"""Fits the semantic cache's prior: how far the vote of a question's neighbours is to be believed.

    python benchmarks/cache_prior.py --write          # llmsaver/cache/prior.json, from both data sets
    python benchmarks/cache_prior.py --json           # the prior of each data set alone, and how it does on the other

A stream of questions with known intents is put to an empty memory; each question's vote, and whether the answer voted
for was right, is one row of a ridge logistic regression. Half of the streams store every question, half only those that
a plain rule (near, agreed, undisputed) would not have served, since a cache stores its misses alone.

Learned: a prior fitted on banking questions holds on everyday ones and the reverse, within half a unit of log-odds;
that half is the spread that ``cache/calibration.py`` starts from. Boosted trees fit better and carry over worse.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llmsaver.cache.evidence import LOOKED_AT, Evidence, Neighbour, TrackRecord, weigh
from llmsaver.cache.lexis import Frequencies, content_words
from llmsaver.cache.prior import Prior, fit
from llmsaver.embed import default_embedder

DATA = {"banking77": "cache_banking77.csv.gz", "clinc75": "cache_clinc75.csv.gz"}
PRIOR = Path(__file__).parents[1] / "llmsaver" / "cache" / "prior.json"
QUERIES = 6_000
AUDIT = 0.02


@dataclass(frozen=True)
class Questions:
    """Texts, the number of each one's answer, and their vectors."""

    texts: list[str]
    answers: np.ndarray
    vectors: np.ndarray

    def shuffled(self, seed: int, count: int) -> Questions:
        """Return ``count`` of them in an order of their own."""
        order = np.random.default_rng(seed).permutation(len(self.texts))[:count]
        return Questions([self.texts[at] for at in order], self.answers[order], self.vectors[order])


def data_folder() -> Path:
    """Return where the data is; ends the program, saying how to get it, where it is not."""
    folder = Path(os.environ.get("LLMSAVER_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))
    if not folder.is_dir():
        sys.exit(
            f"no data in {folder}: set LLMSAVER_DATA to a folder with {' and '.join(DATA.values())}, each a column of "
            "texts and one of intents (github.com/PolyAI-LDN/task-specific-datasets and github.com/clinc/oos-eval)"
        )
    return folder


def read(path: Path) -> Questions:
    """Read a CSV of a text column and a class column, gzipped or not, and embed its texts."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    rows = list(csv.reader(content.decode().splitlines()))[1:]
    texts, classes = [row[0] for row in rows], [row[1] for row in rows]
    numbers = {name: number for number, name in enumerate(sorted(set(classes)))}
    embedder = default_embedder()
    return Questions(texts, np.array([numbers[name] for name in classes]), embedder.embed(texts))


def neighbours(similarities: np.ndarray, answers: np.ndarray, words: list[frozenset[str]]) -> list[Neighbour]:
    """Return the nearest stored questions, nearest first."""
    count = min(len(similarities), LOOKED_AT)
    chosen = np.argpartition(-similarities, count - 1)[:count]
    chosen = chosen[np.argsort(-similarities[chosen], kind="stable")]
    return [Neighbour(int(at), float(similarities[at]), int(answers[at]), words[at]) for at in chosen]


def rows_of(questions: Questions, *, seed: int, all_stored: bool) -> tuple[list[tuple[float, ...]], list[bool]]:
    """Return the features of every question's vote in one stream, and whether the vote was right."""
    count = len(questions.texts)
    words = [content_words(text) for text in questions.texts]
    frequencies, record = Frequencies(), TrackRecord()
    vectors = np.zeros_like(questions.vectors)
    answers = np.zeros(count, int)
    stored_words: list[frozenset[str]] = []
    stored = 0
    features: list[tuple[float, ...]] = []
    truths: list[bool] = []
    chance = np.random.default_rng(seed)
    for at in range(count):
        frequencies.add(words[at])
        served = False
        if stored:
            near = neighbours(vectors[:stored] @ questions.vectors[at], answers[:stored], stored_words)
            vote = weigh(words[at], near, frequencies, record)
            right = bool(vote.answer == questions.answers[at])
            features.append(vote.features)
            truths.append(right)
            served = not all_stored and _plain_rule(vote)
            if not served or chance.random() < AUDIT:
                record.note(vote, right=right)
        if not served:
            vectors[stored], answers[stored] = questions.vectors[at], questions.answers[at]
            stored_words.append(words[at])
            stored += 1
    return features, truths


def _plain_rule(vote: Evidence) -> bool:
    near, two, nobody = 0.75, 2, 0.0
    return vote.features[0] > near and vote.agreeing >= two and vote.features[6] == nobody


def prior_of(sets: list[Questions], *, seeds: tuple[int, ...] = (0, 1), queries: int = QUERIES) -> Prior:
    """Return the prior fitted on streams of these questions."""
    features: list[tuple[float, ...]] = []
    truths: list[bool] = []
    for questions in sets:
        for seed in seeds:
            for all_stored in (True, False):
                made = rows_of(questions.shuffled(seed, queries), seed=seed, all_stored=all_stored)
                features += made[0]
                truths += made[1]
    return fit(features, truths)


def main() -> None:
    """Fit and print, or write the shipped prior."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the prior that ships")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    folder = data_folder()
    sets = {name: read(folder / file) for name, file in DATA.items()}
    made: dict[str, Any] = {name: prior_of([questions]).as_dict() for name, questions in sets.items()}
    made["shipped"] = prior_of(list(sets.values())).as_dict()
    if asked.write:
        source = "public questions with known intents: Banking77 (CC-BY-4.0) and 75 intents of CLINC150 (CC-BY-3.0)"
        PRIOR.write_text(json.dumps({"fitted_on": source, **made["shipped"]}, indent=1) + "\n")
    print(json.dumps(made) if asked.json else json.dumps(made, indent=1))


if __name__ == "__main__":
    main()
