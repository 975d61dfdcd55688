"""What was decided about one question."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.cache.evidence import Evidence

__all__ = ["Decision"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What is known of one question.

    ``serve``: the key of the answer to serve, or None. ``candidate``: the key of the answer it is about, None where no
    question is near, and ``answer`` that one's number. ``channel``: "agreement", "alike" or "judged", by whose
    calibration it was admitted. ``logit``: the prior's log-odds, ``chance``: the lower bound of the probability that it
    is right. ``fit``: whether nothing but the odds stands in the way. ``near``: the neighbours' keys by answer, nearest
    first, against whose answers a new one is compared. ``evidence``: the vote, ``voted``: the
    decision by it where another channel was asked too. ``why``: a sentence for people.
    """

    serve: str | None
    why: str
    candidate: str | None = None
    answer: int | None = None
    channel: str = "agreement"
    logit: float = 0.0
    chance: float = 0.0
    fit: bool = False
    near: Mapping[int, str] = field(default_factory=dict)
    evidence: Evidence | None = None
    voted: Decision | None = None
