"""The contract: which confidence is enough to keep a stated share of the last tier's quality, at a stated risk."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from llmsaver.router.bounds import Sample, passed

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SOURCES", "Label", "NotEnough", "Point", "Threshold", "contract", "curve", "needed"]

SOURCES = frozenset({"audit", "feedback", "file"})


@dataclass(frozen=True, slots=True)
class Label:
    """What both tiers made of one request.

    ``confidence``: the merit of the cheap answer by ``signal``; None where nothing could be told, which always
    escalates. ``weak`` and ``strong``: the quality of the two answers, 0.0 to 1.0; ``gold``: both checked against the
    truth, else ``weak`` is agreement with the last tier and ``strong`` 1.0. ``weak_nano`` and ``strong_nano``: what the
    calls cost. ``source``: "audit", "feedback" or "file". ``weight``: how many requests it stands for, as
    a multiple of what the others do. ``features``: of the question, for a gatekeeper; no text.
    """

    feature: str
    confidence: float | None
    signal: str
    weak: float
    strong: float
    weak_nano: int
    strong_nano: int
    source: str
    gold: bool
    weight: float = 1.0
    features: tuple[int, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {**asdict(self), "features": list(self.features)}

    @classmethod
    def from_dict(cls, told: Any) -> Label | None:
        """Return the label that was written so; None for what is none."""
        try:
            label = cls(
                feature=str(told["feature"]),
                confidence=None if told["confidence"] is None else float(told["confidence"]),
                signal=str(told["signal"]),
                weak=float(told["weak"]),
                strong=float(told["strong"]),
                weak_nano=int(told["weak_nano"]),
                strong_nano=int(told["strong_nano"]),
                source=str(told["source"]),
                gold=told["gold"] is True,
                weight=float(told.get("weight", 1.0)),
                features=tuple(map(int, told.get("features", ()))),
            )
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            return None
        return label if _sound(label) else None


def _sound(label: Label) -> bool:
    """Tell whether nothing in it would make a mean nonsense."""
    known = label.confidence is None or math.isfinite(label.confidence)
    shares = 0.0 <= label.weak <= 1.0 and 0.0 <= label.strong <= 1.0
    money = label.weak_nano >= 0 and label.strong_nano >= 0
    return known and shares and money and 0.0 < label.weight < math.inf and label.source in SOURCES


@dataclass(frozen=True, slots=True)
class Threshold:
    """Accept a cheap answer whose merit is at least ``value`` (``math.inf``: escalate everything).

    ``quality_low``: the lower bound of quality / the last tier's quality, at the risk asked for; ``escalation`` and
    ``saving``: what to expect, as on the ``labels`` used, every cheap call paid. ``gold``: see ``Label``.
    """

    value: float
    signal: str
    quality_low: float
    escalation: float
    saving: float
    labels: int
    gold: bool

    def accepts(self, confidence: float | None) -> bool:
        """Tell whether an answer of this merit may be served."""
        return confidence is not None and confidence >= self.value

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON, which has no infinity: ``value`` is None for escalate everything."""
        return {**asdict(self), "value": self.value if math.isfinite(self.value) else None}


@dataclass(frozen=True, slots=True)
class NotEnough:
    """Too few labels to promise anything: ``have`` of about ``need``."""

    have: int
    need: int

    def __str__(self) -> str:
        return f"not enough evidence: {self.have} of about {self.need} labels"


@dataclass(frozen=True, slots=True)
class Point:
    """What a threshold does on labels: ``quality`` is absolute, ``escalation`` and ``saving`` are shares."""

    threshold: float
    quality: float
    escalation: float
    saving: float


@dataclass(slots=True)
class _Ordered:
    """Labels by falling merit, those without one last; ``edges``: how many are accepted at each distinct merit.

    ``sums``: of the first none, one, two ... labels: weights, both qualities, both costs (the last tier's first).
    """

    labels: list[Label]
    merits: list[float] = field(default_factory=list)
    edges: list[int] = field(default_factory=lambda: [0])
    sums: tuple[list[float], ...] = field(init=False)

    def __post_init__(self) -> None:
        kinds = ("weak", "strong", "strong_nano", "weak_nano")
        weights = [each.weight for each in self.labels]
        values = [[w * getattr(each, kind) for w, each in zip(weights, self.labels, strict=True)] for kind in kinds]
        self.sums = tuple(list(accumulate(each, initial=0.0)) for each in (weights, *values))


def needed(min_quality: float, risk: float) -> int:
    """Return how many labels without a single loss prove the contract: ln(risk) / ln(min_quality)."""
    if min_quality >= 1.0:
        raise ValueError("min_quality must be below 1: no number of labels proves that no answer is worse")
    _check(min_quality, risk)
    return math.ceil(math.log(risk) / math.log(min_quality))


def contract(
    labels: Sequence[Label], *, min_quality: float, risk: float = 0.1, signal: str | None = None
) -> Threshold | NotEnough:
    """Return the lowest threshold that keeps ``min_quality`` of the last tier's quality, with probability 1 - ``risk``.

    Thresholds are tested from escalate-everything downwards, each at level ``risk``, up to the first that fails: in a
    fixed sequence the chance to pass any that breaks the contract is that of passing the first such one (Angelopoulos
    et al. 2021, "Learn then Test"). The bound is that of ``bounds.passed``. One ``signal`` (the one that most labels
    have); labels of others count as escalated. Gold labels by themselves where they are enough, else the others by
    themselves: never mixed. Raises ``ValueError`` for shares outside 0 to 1.
    """
    need = needed(min_quality, risk)
    chosen = signal if signal is not None else _most_frequent(labels)
    gold = [each for each in labels if each.gold]
    proxy = [each for each in labels if not each.gold]
    counts = {True: _count(gold), False: _count(proxy)}
    if max(counts.values()) < need:
        return NotEnough(max(counts.values()), need)
    kind = counts[True] >= need
    ordered = _in_order(gold if kind else proxy, chosen)
    sample = Sample(
        merits=ordered.merits,
        weak=[each.weak for each in ordered.labels],
        strong=[each.strong for each in ordered.labels],
        weights=[each.weight for each in ordered.labels],
    )
    accepted, low = passed(sample, ordered.edges, min_quality=min_quality, risk=risk)
    point = _point(ordered, accepted)
    return Threshold(point.threshold, chosen, low, point.escalation, point.saving, len(ordered.labels), kind)


def curve(labels: Sequence[Label], *, signal: str | None = None) -> list[Point]:
    """Return what every threshold would do on these labels, escalate-everything first; empty without labels.

    In the time that sorting them takes.
    """
    if not labels:
        return []
    ordered = _in_order(labels, signal if signal is not None else _most_frequent(labels))
    return [_point(ordered, edge) for edge in ordered.edges]


def _check(min_quality: float, risk: float) -> None:
    for name, share in (("min_quality", min_quality), ("risk", risk)):
        if not 0.0 < share < 1.0:
            raise ValueError(f"{name} must be between 0 and 1, not {share!r}")


def _most_frequent(labels: Sequence[Label]) -> str:
    counts = Counter(each.signal for each in labels if each.confidence is not None)
    return min(counts, key=lambda name: (-counts[name], name), default="")


def _count(labels: Sequence[Label]) -> int:
    """Return how many labels these are worth: as many as stand for all of them at the greatest weight.

    A thousand escalated calls say nothing of what was accepted; three audits of it, one in fifty, are three.
    """
    if not labels:
        return 0
    return math.floor(math.fsum(each.weight for each in labels) / max(each.weight for each in labels) + 1e-9)


def _in_order(labels: Sequence[Label], signal: str) -> _Ordered:
    judged = [each for each in labels if each.confidence is not None and each.signal == signal]
    judged.sort(key=lambda each: -(each.confidence or 0.0))
    rest = [each for each in labels if each.confidence is None or each.signal != signal]
    ordered = _Ordered([*judged, *rest], [each.confidence or 0.0 for each in judged])
    last = len(ordered.merits)
    for at in range(1, last + 1):
        if at == last or ordered.merits[at] != ordered.merits[at - 1]:
            ordered.edges.append(at)
    return ordered


def _point(ordered: _Ordered, accepted: int) -> Point:
    weight, weak, strong, full, paid = ordered.sums
    escalated = weight[-1] - weight[accepted]
    quality = weak[accepted] + strong[-1] - strong[accepted]
    cost = paid[-1] + full[-1] - full[accepted]
    return Point(
        threshold=ordered.merits[accepted - 1] if accepted else math.inf,
        quality=quality / weight[-1],
        escalation=escalated / weight[-1],
        saving=1.0 - cost / full[-1] if full[-1] else 0.0,
    )
