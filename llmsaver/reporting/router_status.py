"""How each feature's routing stands: what was routed, what is known of its quality, and the threshold that follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmsaver.reporting.books import begun, reading
from llmsaver.reporting.router_figures import Gathered, Routed, gathered, routed
from llmsaver.router.calibration import NotEnough, Threshold, contract, needed
from llmsaver.router.labels import of_file, read, write

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from llmsaver.ledger import Ledger, Reader
    from llmsaver.reporting.router_outcomes import Outcomes
    from llmsaver.router.calibration import Label
    from llmsaver.router.labels import Labelled

__all__ = ["EVERY", "Promise", "Standing", "keep", "standings"]

# How a label says that it is about every feature, and how that is shown.
ALL, EVERY = "", "(every feature)"
QUALITY, RISK = 0.95, 0.1


@dataclass(frozen=True, slots=True)
class Promise:
    """What the labels say of one cheaper tier, at ``min_quality`` and ``risk`` (its part of the cascade's).

    ``gold`` of ``labels`` were checked against the truth, the others only against the last tier; ``need`` is how many
    without a loss would prove the promise. ``found`` is the threshold, or that there is not enough evidence.
    """

    tier: str
    labels: int
    gold: int
    need: int
    min_quality: float
    risk: float
    found: Threshold | NotEnough

    def as_dict(self) -> dict[str, Any]:
        """Return it for a machine; an infinite threshold, which escalates everything, as None."""
        told: dict[str, Any] = {"tier": self.tier, "labels": self.labels, "gold": self.gold, "need": self.need}
        told |= {"min_quality": round(self.min_quality, 6), "risk": round(self.risk, 6)}
        if isinstance(self.found, NotEnough):
            return told | {"verdict": str(self.found), "threshold": None}
        finite = self.found.value < float("inf")
        return told | {
            "verdict": "contract" if finite else "no threshold keeps it: the last tier serves",
            "threshold": self.found.value if finite else None,
            "signal": self.found.signal,
            "quality_low": self.found.quality_low,
            "escalation": self.found.escalation,
            "saving": self.found.saving,
        }


@dataclass(frozen=True, slots=True)
class Standing:
    """One feature: ``routed`` None before its first routed call, ``latest`` how its latest call was routed.

    ``promises`` are about the cheaper tiers; ``promised`` says whether its program asked for ``min_quality``, or the
    promises only say what one would come to.
    """

    feature: str
    routed: Routed | None
    latest: Mapping[str, Any]
    promises: tuple[Promise, ...]
    promised: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it for a machine."""
        names = ("tiers", "threshold", "signal", "evidence", "quality_low", "min_quality", "risk", "drift", "aside")
        return {
            "feature": self.feature or None,
            "routed": None if self.routed is None else self.routed.as_dict(),
            "latest": {name: self.latest.get(name) for name in names} if self.latest else None,
            "promised": self.promised,
            "tiers": [promise.as_dict() for promise in self.promises],
        }


def standings(
    ledger: Ledger,
    *,
    since: float | None = None,
    until: float | None = None,
    feature: str | None = None,
    min_quality: float | None = None,
    risk: float | None = None,
) -> list[Standing]:
    """Return how every feature with routed calls or labels stands, the one with most calls first.

    ``min_quality`` and ``risk`` are by default what the feature's latest routed call was promised, else 0.95 and 0.1.
    Labels count whenever they were made. Raises ``LedgerUnavailable``.
    """
    if not begun(ledger):
        return []
    labelled = read(ledger)
    terms = (min_quality, risk)
    with reading(ledger) as reader:
        told = gathered(reader, since=since, until=until)
        names = {line.name.rpartition(" > ")[0] for line in told.lines} | {each.label.feature for each in labelled}
        found = [_standing(reader, name, told, labelled, terms) for name in names if feature in (None, name)]
    return sorted(found, key=lambda each: (-each.routed.figures.calls if each.routed else 0, each.feature))


def keep(ledger: Ledger, outcomes: Iterable[Outcomes]) -> int:
    """Write a file's labels into the ledger, each once however often it is read; return how many there were."""
    ledger.open()
    return write(ledger, [labelled for each in outcomes for labelled in of_file(each.labels, each.tier)])


def promise(tier: str, labels: Sequence[Label], min_quality: float, risk: float) -> Promise:
    """Return what labels say of a tier; raises ``ValueError`` where the quality or the risk is no share."""
    return Promise(
        tier,
        len(labels),
        sum(label.gold for label in labels),
        needed(min_quality, risk),
        min_quality,
        risk,
        contract(labels, min_quality=min_quality, risk=risk),
    )


def _standing(
    reader: Reader,
    feature: str,
    told: Gathered,
    labelled: Iterable[Labelled],
    terms: tuple[float | None, float | None],
) -> Standing:
    rows = reader.routed(feature) if feature else []
    latest = rows[0]["routing"] if rows else {}
    mine = [each for each in labelled if each.label.feature in (feature, ALL)]
    promised = terms[0] is not None or latest.get("min_quality") is not None
    quality = terms[0] or latest.get("min_quality") or QUALITY
    risk = terms[1] or latest.get("risk") or RISK
    cheaper = [str(tier) for tier in latest.get("tiers") or ()][:-1] or sorted({each.tier for each in mine})
    part = len(cheaper) if latest else 1  # a cascade's tiers share the promise
    promises = [
        promise(tier, [each.label for each in mine if each.tier == tier], 1 - (1 - quality) / part, risk / part)
        for tier in cheaper
    ]
    return Standing(feature, routed(told, feature), latest, tuple(promises), promised)
