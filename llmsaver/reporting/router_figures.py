"""What routing came to: which tier served how much, how often one escalated, and what that saved."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmsaver.pricing import plain
from llmsaver.reporting.figures import Figures, merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from llmsaver.ledger import Line, Reader
    from llmsaver.ledger.routed import Judged, RoutedTask

__all__ = ["LABELS", "Gathered", "Routed", "Saving", "TierShare", "gathered", "routed", "saving", "tiers_of"]

# Under this name the ledger keeps what is known of the quality of routed answers.
LABELS = "router"
# Fewer checked answers than this give no interval that is worth its name.
_FEWEST = 20
_LATEST = 500
_NORMAL, _STUDENT = 1.96, 2.4  # Student's t at 97.5 % is within 1 % of the first + the second / (n - 1), n >= 20


@dataclass(frozen=True, slots=True)
class Saving:
    """What routed calls saved, in nano-dollars, less what checking them cost (``checks_nano``).

    The calls as written are priced at the last tier with the served answer's tokens, though the last tier might have
    said more or less. Where at least 20 accepted answers were checked, so that it is known what the last tier really
    cost for them, their ratio corrects that: ``interval`` is true and [low, high] is the 95 % interval of the ratio
    estimate, each check weighted by the inverse of its chance (Cochran, *Sampling Techniques*, 6.4), on top of the
    range of estimated costs. Else [low, high] only bounds what is estimated of usage and prices, and may be a point.
    """

    nano: int
    low: int
    high: int
    baseline_nano: int
    interval: bool
    checked: int
    checks_nano: int

    @property
    def share(self) -> float | None:
        """What was saved, as a share of the calls as written."""
        return self.nano / self.baseline_nano if self.baseline_nano else None

    def as_dict(self) -> dict[str, Any]:
        """Return it for a machine: dollars as exact decimal strings."""
        return {
            "saved_usd": plain(self.nano),
            "saved_low_usd": plain(self.low),
            "saved_high_usd": plain(self.high),
            "saved_is": "95 % interval" if self.interval else "bounds of estimates",
            "baseline_usd": plain(self.baseline_nano),
            "saved_share": None if self.share is None else round(self.share, 6),
            "checked_answers": self.checked,
            "checks_usd": plain(self.checks_nano),
        }


@dataclass(frozen=True, slots=True)
class TierShare:
    """One tier: the calls it served, and the tasks in which nothing dearer had to serve.

    ``escalated`` of its calls came from a cheaper tier. ``task_nano`` is what those tasks cost, all their calls and
    failures included; ``resolved`` of ``tasks`` ended well.
    """

    model: str
    figures: Figures
    share: float
    tasks: int = 0
    resolved: int = 0
    task_nano: int = 0

    @property
    def per_resolved(self) -> int | None:
        """The cost for each resolved task, in nano-dollars."""
        return round(self.task_nano / self.resolved) if self.resolved else None

    def as_dict(self) -> dict[str, Any]:
        """Return it for a machine."""
        told = self.figures.as_dict()
        names = ("calls", "spend_usd", "saved_usd", "per_1000_calls_usd", "latency_ms_p50", "latency_ms_p99")
        out: dict[str, Any] = {"tier": self.model, "share": round(self.share, 6)}
        out |= {name: told[name] for name in names} | {"escalated_to_it": self.figures.escalated}
        out |= {"tasks": self.tasks, "resolved_tasks": self.resolved}
        return out | {"per_resolved_task_usd": None if self.per_resolved is None else plain(self.per_resolved)}


@dataclass(frozen=True, slots=True)
class Routed:
    """All routed calls of a time, or those of a feature: ``tiers`` from the cheapest, ``saving`` None where unknown."""

    figures: Figures
    tiers: tuple[TierShare, ...]
    saving: Saving | None

    @property
    def escalation(self) -> float | None:
        """The share of calls whose cheap answer was judged and not accepted."""
        return self.figures.rate("escalated")

    def as_dict(self) -> dict[str, Any]:
        """Return it for a machine."""
        return {
            "calls": self.figures.calls,
            "escalation_rate": None if self.escalation is None else round(self.escalation, 6),
            "spend_usd": self.figures.as_dict()["spend_usd"],
            "saving": None if self.saving is None else self.saving.as_dict(),
            "tiers": [tier.as_dict() for tier in self.tiers],
        }


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a ledger has of the routed calls of a time, read once: ``tiers`` by feature, from the cheapest."""

    lines: Sequence[Line]
    tiers: Mapping[str, Sequence[str]]
    tasks: Sequence[RoutedTask]
    checks: Sequence[Judged]


def gathered(
    reader: Reader, *, since: float | None = None, until: float | None = None, lines: Sequence[Line] | None = None
) -> Gathered:
    """Read what there is of the calls begun in [since, until); ``lines`` of ``Reader.lines("router")`` where known."""
    found = reader.lines("router", since=since, until=until) if lines is None else lines
    if not found:
        return Gathered((), {}, (), ())
    tasks = reader.routed_tasks(since=since, until=until) if any(line.task_nano for line in found) else []
    checks = reader.judged(LABELS, since=since, until=until)
    return Gathered(found, tiers_of(reader, {line.name.rpartition(" > ")[0] for line in found}), tasks, checks)


def routed(found: Gathered, feature: str | None = None) -> Routed | None:
    """Return what routing came to, for one feature or for all; None where no call was routed."""
    by_tier: defaultdict[str, list[Line]] = defaultdict(list)
    lines, accepted = [], 0
    for line in found.lines:
        whose, _, tier = line.name.rpartition(" > ")
        if feature in (None, whose):
            lines.append(line)
            by_tier[tier].append(line)
            # Where the last tier served, what it would have cost is what it did cost.
            accepted += 0 if tier in found.tiers.get(whose, ())[-1:] else line.baseline_nano
    if not lines:
        return None
    whole = merged(lines)
    order = _order([tiers for name, tiers in found.tiers.items() if feature in (None, name)], by_tier)
    served = [(task, {tier for name, tier in task.routes if feature in (None, name)}) for task in found.tasks]
    tiers = [_share(name, merged(by_tier[name], name), whole.calls, served, order) for name in order if name in by_tier]
    checks = [check for check in found.checks if feature in (None, check.feature)]
    return Routed(Figures.of(whole), tuple(tiers), saving(whole, accepted, checks))


def tiers_of(reader: Reader, features: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the tiers of each feature, from the cheapest, as its latest routed call had them."""
    told: dict[str, tuple[str, ...]] = {}
    rows = reader.routed(limit=_LATEST)
    for row in rows:
        told.setdefault(row["feature"], tuple(map(str, row["routing"].get("tiers") or ())))
    for feature in set(features) - set(told) if len(rows) == _LATEST else ():
        told |= {row["feature"]: tuple(map(str, row["routing"].get("tiers") or ())) for row in reader.routed(feature)}
    return told


def saving(whole: Line, accepted_nano: int, checks: Iterable[Judged]) -> Saving | None:
    """Return what ``whole`` saved; ``accepted_nano`` is the baseline of what tiers below the last served.

    None where nothing is known of what the calls would have cost.
    """
    if not whole.baseline_nano:
        return None
    pairs, spent = [], 0
    for check in checks:
        spent += _check_nano(check)
        pair = _pair(check)
        if pair is not None:
            pairs.append(pair)
    net = whole.saved_nano - spent
    if len(pairs) < _FEWEST or not sum(w * written for w, written, _ in pairs):
        low, high = whole.saved_low - spent, whole.saved_high - spent
        return Saving(net, low, high, whole.baseline_nano, interval=False, checked=len(pairs), checks_nano=spent)
    ratio, error = _ratio(pairs)
    shift, half = round((ratio - 1) * accepted_nano), round(error * accepted_nano)
    return Saving(
        net + shift,
        net + shift - half - (whole.cost_high - whole.cost_nano),
        net + shift + half + (whole.cost_nano - whole.cost_low),
        whole.baseline_nano + shift,
        interval=True,
        checked=len(pairs),
        checks_nano=spent,
    )


def _ratio(pairs: Sequence[tuple[float, int, int]]) -> tuple[float, float]:
    """Return what the last tier really cost per dollar of its price for the served tokens, and half a 95 % interval."""
    written = sum(w * b for w, b, _ in pairs)
    ratio = sum(w * s for w, _, s in pairs) / written
    number = len(pairs)
    spread = math.sqrt(number / (number - 1) * sum((w * (s - ratio * b)) ** 2 for w, b, s in pairs)) / written
    return ratio, (_NORMAL + _STUDENT / (number - 1)) * spread


def _pair(check: Judged) -> tuple[float, int, int] | None:
    """Return the weight, the baseline and the last tier's true cost of an accepted answer that was checked."""
    nano, weight = check.details.get("strong_nano"), check.details.get("weight", 1.0)
    if not _accepted(check) or not isinstance(nano, int) or check.baseline_nano is None or nano <= 0:
        return None
    usable = isinstance(weight, int | float) and 0 < weight < math.inf
    return (float(weight) if usable else 1.0, check.baseline_nano, nano)


def _check_nano(check: Judged) -> int:
    """Return what a check cost beside its call: the last tier's answer, or the cheap one to a call the last served."""
    if check.judge == "explore":
        nano = check.details.get("weak_nano")
    elif _accepted(check):
        nano = check.details.get("strong_nano")
    else:  # it was escalated, so that both answers are in the call's own bill; or nobody was asked
        nano = 0
    return nano if isinstance(nano, int) else 0


def _accepted(check: Judged) -> bool:
    tiers = check.routing.get("tiers") or [None]
    return check.judge == "audit" and check.routing.get("tier") != tiers[-1]


def _order(known: Iterable[Sequence[str]], seen: Iterable[str]) -> list[str]:
    """Return all tiers from the cheapest: those of the longest cascade, behind them those that no cascade has now."""
    order: list[str] = []
    for tiers in sorted(known, key=len, reverse=True):
        order += [tier for tier in tiers if tier not in order]
    return [*sorted(set(seen) - set(order)), *order]


def _share(
    name: str, line: Line, calls: int, served: Iterable[tuple[RoutedTask, set[str]]], order: Sequence[str]
) -> TierShare:
    def rank(tier: str) -> int:
        return order.index(tier) if tier in order else -1  # of a call after the time that is asked about

    mine = [task for task, tiers in served if tiers and max(tiers, key=rank) == name]
    return TierShare(
        name,
        Figures.of(line),
        line.calls / calls if calls else 0.0,
        tasks=len(mine),
        resolved=sum(task.outcome == "resolved" for task in mine),
        task_nano=sum(task.cost_nano for task in mine),
    )
