"""What a ledger has of routed calls beyond sums: the latest, the tasks they were for, and what was checked of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, select

from llmsaver.ledger.schema import calls, evaluations, tasks
from llmsaver.ledger.sums import AGES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

__all__ = ["Judged", "RoutedTask", "judged", "latest", "routed_tasks"]


@dataclass(frozen=True, slots=True)
class RoutedTask:
    """A unit of work with routed calls in it: what all its calls cost, and feature and tier of the routed ones."""

    id: str
    outcome: str | None
    cost_nano: int
    routes: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Judged:
    """A routed call whose answer was judged, with what it would have cost as written (None where unknown)."""

    call: str
    feature: str
    baseline_nano: int | None
    routing: Mapping[str, Any]
    judge: str | None
    details: Mapping[str, Any]


def latest(connection: Connection, feature: str | None, limit: int) -> list[dict[str, Any]]:
    """Return how the latest routed calls were routed, the latest first, each with id, feature and started_at."""
    query = select(calls.c.id, calls.c.feature, calls.c.started_at, calls.c.routing).where(calls.c.routing.is_not(None))
    query = query if feature is None else query.where(calls.c.feature == feature)
    rows = connection.execute(query.order_by(calls.c.started_at.desc(), calls.c.seq.desc()).limit(limit)).mappings()
    return [{**row, "routing": _routing(row["routing"])} for row in rows]


def routed_tasks(connection: Connection, since: float | None, until: float | None) -> list[RoutedTask]:
    """Return the tasks begun in [since, until) that have routed calls, with all their calls until now."""
    first, last = (-AGES if since is None else since), (AGES if until is None else until)
    began = and_(tasks.c.started_at >= first, tasks.c.started_at < last)
    query = select(tasks.c.id, tasks.c.outcome, calls.c.cost_nano, calls.c.feature, calls.c.routing)
    query = query.join_from(calls, tasks, calls.c.task == tasks.c.id).where(began, calls.c.task.is_not(None))
    found: dict[str, tuple[str | None, list[int], set[tuple[str, str]]]] = {}
    for task, outcome, cost, feature, routing in connection.execute(query):
        _, costs, routes = found.setdefault(task, (outcome, [], set()))
        costs.append(cost or 0)
        if routing is not None:
            routes.add((feature, str(_routing(routing).get("tier") or "")))
    return [
        RoutedTask(task, outcome, sum(costs), frozenset(routes))
        for task, (outcome, costs, routes) in found.items()
        if routes
    ]


def judged(connection: Connection, name: str, since: float | None, until: float | None) -> list[Judged]:
    """Return the judgements called ``name`` on routed calls begun in [since, until)."""
    first, last = (-AGES if since is None else since), (AGES if until is None else until)
    of = evaluations.c
    columns = (calls.c.id, calls.c.feature, calls.c.baseline_nano, calls.c.routing, of.judge, of.details)
    query = select(*columns).join_from(evaluations, calls, of.call == calls.c.id)
    query = query.where(of.name == name, calls.c.routing.is_not(None))
    query = query.where(calls.c.started_at >= first, calls.c.started_at < last)
    return [
        Judged(call, feature, baseline, _routing(routing), judge, json.loads(details) if details else {})
        for call, feature, baseline, routing, judge, details in connection.execute(query.order_by(of.seq))
    ]


def _routing(text: str) -> dict[str, Any]:
    told = json.loads(text)
    return told if isinstance(told, dict) else {}
