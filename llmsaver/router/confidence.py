"""How sure a model was of its own answer, from what it said of its tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llmsaver.router.loops import repeated
from llmsaver.router.refusals import opens_with_refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llmsaver.router.views import Answer

__all__ = ["Confidence", "by_logprobs", "prefix_confidence"]

# Answers of so few tokens are as likely as all their tokens together; from so many on, length no longer counts at all.
_SHORT, _LONG = 4, 16
_QUANTILE = 0.1
# Providers write -9999 for what has no probability; in a long answer one such token says no more than this.
_FLOOR = -20.0
# The exponential of less is 0.0; of -inf no sum can be made.
_NEVER = -10_000.0
# So far above 0 a logarithm may be by rounding.
_ROUNDED = 0.01
# Of fewer tokens than this share nothing is concluded.
_ENOUGH = 0.5


@dataclass(frozen=True, slots=True)
class Confidence:
    """How likely an answer is to be good enough, 0.0 to 1.0, and by which signal: comparable only within one signal.

    ``signal``: "logprobs", "agreement", "self-check" or "prefix". ``details``: what it was made of.
    """

    value: float
    signal: str
    details: Mapping[str, float] = field(default_factory=dict)


def by_logprobs(answer: Answer, *, skip: int = 0) -> Confidence | None:
    """Return the confidence that an answer's log-probabilities give; None where too few were told.

    Up to 4 tokens it is the probability of all of them, so that of one token ``exp(logprob)``; from 16 on the
    exponential of the middle between their mean and their lowest tenth (sums are biased by length, means hide the one
    word that was guessed: Gupta et al. 2024, "Language Model Cascades"); in between a mix by length. It never falls
    where a token's probability rises. ``skip``: tokens at the beginning that are always the same. -inf is impossible
    (0.0), a missing one is left out, and so is what is no logarithm of a probability.
    """
    told = (answer.logprobs or ())[skip:]
    known = sorted(min(0.0, max(_NEVER, each)) for each in told if each <= _ROUNDED)
    if not known or len(known) < _ENOUGH * len(told):
        return None
    clipped = [max(_FLOOR, each) for each in known]
    mean = math.fsum(clipped) / len(known)
    low = clipped[int(_QUANTILE * (len(known) - 1))]
    joint = math.fsum(known)
    share = min(1.0, max(0.0, (_LONG - len(known)) / (_LONG - _SHORT)))
    combined = share * joint + (1.0 - share) * (mean + low) / 2
    details = {"mean": mean, "low": low, "sum": joint, "tokens": float(len(known))}
    return Confidence(math.exp(combined), "logprobs", details)


def prefix_confidence(text: str, logprobs: Sequence[float] | None) -> Confidence | None:
    """Return the confidence in an answer of which only the beginning is here; None where nothing can be said of it.

    0.0 for one that begins as refusals do, or that repeats itself already; else by its log-probabilities, which are
    read as those of a longer answer (the mean and the lowest), because the first words are no answer of their own.
    """
    if opens_with_refusal(text) or repeated(text) is not None:
        return Confidence(0.0, "prefix", {"tokens": float(len(logprobs or ()))})
    known = [max(_FLOOR, min(0.0, each)) for each in logprobs or () if each <= _ROUNDED]
    if not known:
        return None
    mean, low = math.fsum(known) / len(known), min(known)
    details = {"mean": mean, "low": low, "tokens": float(len(known))}
    return Confidence(math.exp((mean + low) / 2), "prefix", details)
