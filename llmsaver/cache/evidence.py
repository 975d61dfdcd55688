"""What the neighbours of a question say about it, as numbers: similarity, agreement of their answers, shared words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmsaver.cache.lexis import Frequencies

__all__ = ["FEATURES", "LOOKED_AT", "Evidence", "Neighbour", "TrackRecord", "weigh"]

FEATURES = (
    "similarity",  # of the nearest question with the answer voted for
    "margin",  # how much nearer that is than the nearest question with another answer
    "rival",  # the similarity of the latter
    "vote_near",  # the share of the vote for the answer, counting the nearest most
    "vote_wide",  # the same, counting farther ones too
    "agreeing",  # log of 1 + questions almost as near as the nearest that have this answer
    "dissenting",  # the same, that have another
    "top_three",  # the mean similarity of the three nearest with this answer
    "support",  # how many of the neighbours have this answer, in tens, at most one
    "nearest_agrees",
    "second_margin",  # the margin without the nearest question
    "density",  # the mean similarity of the ten nearest, whatever their answer
    "words",  # shared with the question of this answer that shares most
    "words_margin",  # how much more that is than with any question of another answer
    "coverage",  # the share of the question's words that occur in the nearest questions with this answer
    "coverage_margin",
    "length",  # the number of content words, in tens
    "answer_record",  # how often votes for this answer came true, as far as that is known
    "question_record",  # how often votes led by these questions did
)
LOOKED_AT = 32
_NEAR, _WIDE = 20.0, 8.0
_BAND = 0.15
_READ = 6
_UNSEEN_RIVAL = 0.3
_FEW = 3
# A record without history is that of the average vote on the data of the prior; its weight, in votes.
_USUAL, _ANSWER_WEIGHT, _QUESTION_WEIGHT = 0.85, 3.0, 2.0


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A stored question: its place in the index, cosine similarity, answer (equal numbers: equal answers), words."""

    place: int
    similarity: float
    answer: int
    words: frozenset[str]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The answer that the neighbours vote for, who among them has it (nearest first), and the features of the vote.

    ``agreeing`` counts the questions with this answer within 0.15 of the nearest.
    """

    answer: int
    supporters: tuple[Neighbour, ...]
    agreeing: int
    features: tuple[float, ...]


class TrackRecord:
    """How votes came out, by the answer voted for and by the questions that led the vote (learning per entry)."""

    def __init__(self) -> None:
        self._answers: dict[int, tuple[int, int]] = {}
        self._questions: dict[int, tuple[int, int]] = {}

    def note(self, evidence: Evidence, *, right: bool) -> None:
        """Count a vote whose outcome became known."""
        self._answers[evidence.answer] = _counted(self._answers.get(evidence.answer), right=right)
        for each in evidence.supporters[:_FEW]:
            self._questions[each.place] = _counted(self._questions.get(each.place), right=right)

    def forget(self, place: int) -> None:
        """Forget a question that is no longer stored."""
        self._questions.pop(place, None)

    def of_answer(self, answer: int) -> float:
        """Return the share of votes for an answer that came true, drawn to the usual share."""
        return _share(self._answers.get(answer), _ANSWER_WEIGHT)

    def of_questions(self, leading: Sequence[Neighbour]) -> float:
        """Return the mean of the same over questions."""
        return sum(_share(self._questions.get(each.place), _QUESTION_WEIGHT) for each in leading) / len(leading)


def _counted(counts: tuple[int, int] | None, *, right: bool) -> tuple[int, int]:
    true, known = counts or (0, 0)
    return true + right, known + 1


def _share(counts: tuple[int, int] | None, weight: float) -> float:
    true, known = counts or (0, 0)
    return (true + weight * _USUAL) / (known + weight)


def weigh(
    words: frozenset[str], neighbours: Sequence[Neighbour], frequencies: Frequencies, record: TrackRecord
) -> Evidence:
    """Return what ``neighbours`` (nearest first, at least one, at most ``LOOKED_AT`` are read) say about a question."""
    near = neighbours[:LOOKED_AT]
    best = near[0].similarity
    votes: dict[int, float] = {}
    for each in near:
        votes[each.answer] = votes.get(each.answer, 0.0) + math.exp((each.similarity - best) * _NEAR)
    answer = max(votes, key=votes.__getitem__)
    same = [each for each in near if each.answer == answer]
    others = [each for each in near if each.answer != answer]
    rival = others[0].similarity if others else min(near[-1].similarity - 0.02, _UNSEEN_RIVAL)
    wide = [(math.exp((each.similarity - best) * _WIDE), each.answer == answer) for each in near]
    agreeing = sum(each.similarity > best - _BAND for each in same)
    dissenting = sum(each.similarity > best - _BAND for each in others)
    mean_same = sum(each.similarity for each in same[:_FEW]) / len(same[:_FEW])
    shared, rival_shared = (
        max((frequencies.overlap(words, each.words) for each in group[:_READ]), default=0.0) for group in (same, others)
    )
    coverage, rival_coverage = (
        frequencies.covered(words, frozenset().union(*(each.words for each in group[:_READ])))
        for group in (same, others)
    )
    features = (
        same[0].similarity,
        same[0].similarity - rival,
        rival,
        votes[answer] / sum(votes.values()),
        sum(weight for weight, agrees in wide if agrees) / sum(weight for weight, _ in wide),
        math.log1p(agreeing),
        math.log1p(dissenting),
        mean_same if len(same) >= _FEW else mean_same - 0.05,
        min(len(same), 10) / 10,
        float(near[0].answer == answer),
        same[1].similarity - rival if len(same) > 1 else -0.1,
        sum(each.similarity for each in near[:10]) / len(near[:10]),
        shared,
        shared - rival_shared,
        coverage,
        coverage - rival_coverage,
        len(words) / 10,
        record.of_answer(answer),
        record.of_questions(same[:_FEW]),
    )
    return Evidence(answer, tuple(same), agreeing, features)
