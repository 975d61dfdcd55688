"""What is known of the quality of a tier's answers, as it is kept in the ledger's evaluations."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

from llmsaver.ledger.rows import EvaluationRow
from llmsaver.router.calibration import Label

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmsaver.ledger import Ledger

__all__ = ["NAME", "Labelled", "of_file", "read", "stored", "write"]

# Under this name the ledger keeps them.
NAME = "router"


@dataclass(frozen=True, slots=True)
class Labelled:
    """A label, and what it is about: the cheap ``tier`` (a model's name), the ``call`` (an entry's id) and when.

    ``seq`` is its number in the ledger, 0 before it is there; ``judge`` tells labels of one call apart.
    """

    label: Label
    tier: str
    call: str
    at: float = field(default_factory=time.time)
    seq: int = 0
    judge: str = ""


def stored(label: Label, tier: str, *, call: str, judge: str = "") -> Labelled:
    """Return the label of a call as it is stored."""
    return Labelled(label, tier, call, judge=judge or label.source)


def of_file(labels: Iterable[Label], tier: str) -> list[Labelled]:
    """Return labels that are of no call as they are stored: the same file again takes its own place.

    Labels that are equal are told apart by their number among their equals.
    """
    seen: Counter[str] = Counter()
    found = []
    for label in labels:
        told = json.dumps([label.as_dict(), tier], sort_keys=True, default=str)
        row = f"{told} {seen[told]}".encode("utf-8", "replace")
        seen[told] += 1
        call = "file:" + blake2b(row, digest_size=12, person=b"llmsaver").hexdigest()
        found.append(Labelled(label, tier, call, judge=label.source))
    return found


def write(ledger: Ledger, labels: Iterable[Labelled]) -> int:
    """Write labels; return how many are in the ledger. Never raises."""
    return ledger.evaluate_all(
        EvaluationRow(
            call=each.call,
            name=NAME,
            value=each.label.weak,
            judge=each.judge or each.label.source,
            arm=each.tier,
            details={**each.label.as_dict(), "tier": each.tier},
            at=each.at,
        )
        for each in labels
    )


def read(ledger: Ledger, *, feature: str | None = None, after: int = 0) -> list[Labelled]:
    """Return the labels written after number ``after``, oldest first; what cannot be read as one is passed over."""
    found = []
    for row in ledger.evaluations(NAME, after=after):
        label = Label.from_dict(row["details"])
        tier = row["arm"]
        if label is None or not isinstance(tier, str) or feature not in (None, label.feature):
            continue
        found.append(Labelled(label, tier, row["call"], row["at"], row["seq"], row["judge"] or label.source))
    return found
