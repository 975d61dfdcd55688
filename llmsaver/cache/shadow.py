"""What the semantic cache would have done with a feature's own traffic, at other promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmsaver.cache.calibration import Calibration
from llmsaver.cache.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llmsaver.cache.tally import Outcome

__all__ = ["PROMISES", "STATE", "Point", "curve", "shadows"]

# Under what a store keeps a feature's tally, and all else that the semantic cache has learned.
STATE = "semantic:"
PROMISES = (0.005, 0.01, 0.025, 0.05, 0.1)


@dataclass(frozen=True, slots=True)
class Point:
    """At ``max_wrong``: of ``asked`` questions, how many would have been hits, and how many of those wrong."""

    max_wrong: float
    asked: int
    hits: int
    wrong: int

    @property
    def hit_rate(self) -> float:
        """Hits as a share of the questions."""
        return self.hits / self.asked if self.asked else 0.0

    @property
    def wrong_rate(self) -> float:
        """Wrong answers as a share of the hits."""
        return self.wrong / self.hits if self.hits else 0.0


def curve(outcomes: Sequence[Outcome]) -> list[Point]:
    """Replay decisions whose truth is known, oldest first, through a fresh calibration for each promise."""
    points = []
    for promise in PROMISES:
        calibrations = {
            channel: Calibration(promise, rises=channel != "judged") for channel in ("alike", "judged", "agreement")
        }
        hits = wrong = 0
        for each in outcomes:
            calibration = calibrations.get(each.channel)
            if calibration is None:
                continue
            if calibration.admits(each.logit) and each.fit:
                hits += 1
                wrong += not each.right
            else:
                calibration.observe(each.logit, right=each.right)
        points.append(Point(promise, len(outcomes), hits, wrong))
    return points


def shadows(states: Mapping[str, Mapping[str, Any]], feature: str | None = None) -> list[dict[str, Any]]:
    """Return, by feature, what was measured and the curve, from what a store keeps under ``STATE`` (by full name)."""
    told = []
    for name, state in sorted(states.items()):
        found, tallies, of = name.partition(f"{STATE}tally:")
        if found or not tallies or feature not in {None, of}:
            continue
        tally = Tally.restored(0.01, state)
        told.append({
            "feature": of,
            "known": len(tally.outcomes),
            "served": tally.served,
            "audited": tally.audited,
            "audited_wrong": tally.wrong,
            "curve": [
                {
                    "max_wrong": point.max_wrong,
                    "hits": point.hits,
                    "hit_rate": point.hit_rate,
                    "wrong": point.wrong,
                    "wrong_rate": point.wrong_rate,
                }
                for point in curve(tally.outcomes)
            ],
        })  # fmt: skip
    return told
