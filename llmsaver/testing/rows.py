"""Made-up call rows as an application's weeks would leave them; the same seed gives the same rows."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

from llmsaver.ledger import AttemptRow, CallRow, TaskRow

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["call_rows", "task_rows"]

DAY = 86_400.0


class _Model(NamedTuple):
    """A made-up model: nano-dollars per token in and out, milliseconds to the first byte and per token."""

    name: str
    tier: str
    nano_in: int
    nano_out: int
    first_ms: float
    token_ms: float


_MODELS = (
    _Model("gpt-5-mini", "api", 250, 2_000, 380.0, 9.0),
    _Model("claude-haiku-4-5", "api", 1_000, 5_000, 420.0, 8.0),
    _Model("gpt-5", "api", 1_250, 10_000, 700.0, 16.0),
    _Model("local/smollm2-135m", "local", 0, 0, 30.0, 4.0),
)
_LARGE = _MODELS[2]
# Feature, its share of the calls, typical tokens in and out, and the weights of the models above.
_FEATURES = (
    ("support-bot", 40, 1_400, 180, (60, 30, 5, 5)),
    ("search", 30, 600, 40, (70, 0, 0, 30)),
    ("summaries", 15, 6_000, 400, (20, 60, 20, 0)),
    ("extraction", 10, 2_200, 120, (80, 10, 10, 0)),
    ("default", 5, 300, 90, (50, 25, 15, 10)),
)
_STATUSES, _FAILING = (429, 500, 503, None), 0.012


def call_rows(
    count: int, *, ends_at: float, days: float = 30.0, seed: int = 7, users: int = 2_000, tenants: int = 40
) -> Iterator[CallRow]:
    """Yield ``count`` rows in the order of time over ``days`` that end at ``ends_at`` (seconds since the epoch).

    Few features and models, users of whom some call often, waking hours busier than nights; about one call in eighty
    fails, one in fifty is estimated, one in five hundred has no price, one in eight is a cache's hit.
    """
    dice = random.Random(seed)  # noqa: S311 - made-up rows are no secret
    step = days * DAY / max(1, count)
    start = ends_at - days * DAY
    weights = [share for _, share, _, _, _ in _FEATURES]
    for number in range(count):
        feature, _, most_in, most_out, mix = dice.choices(_FEATURES, weights)[0]
        model = dice.choices(_MODELS, mix)[0]
        user = int(users * dice.random() ** 2)
        moment = start + (number + dice.random()) * step
        tokens_in = 1 + int(dice.lognormvariate(0.0, 0.6) * most_in)
        tokens_out = 1 + int(dice.lognormvariate(0.0, 0.7) * most_out)
        row = CallRow(
            f"r{seed:x}-{number:07x}",
            moment,
            feature=feature,
            feature_path=(feature,),
            user=f"u{user}",
            tenant=f"t{user % tenants}",
            tags={"env": "prod" if dice.random() < 0.9 else "test"},  # noqa: PLR2004 - made up
            task=f"ticket-{number // 6}" if feature == "support-bot" else None,
            dialect="messages" if model.name.startswith("claude") else "chat",
            stream=dice.random() < 0.4,  # noqa: PLR2004 - made up
            model_asked=model.name,
            model_answered=model.name,
            tier=model.tier,
            upstream="127.0.0.1" if model.tier == "local" else "api.example.com",
            complete=True,
            status=200,
        )
        _finish(row, model, (tokens_in, tokens_out), dice)
        yield row


def task_rows(count: int, *, ends_at: float, days: float = 30.0, seed: int = 7) -> Iterator[TaskRow]:
    """Yield the tasks of ``count`` calls of the same seed; seven in ten are resolved."""
    dice = random.Random(seed)  # noqa: S311 - made-up rows are no secret
    start, tasks = ends_at - days * DAY, -(-count // 6)
    for number in range(tasks):
        moment = start + number * days * DAY / max(1, tasks)
        outcome = dice.choices(("resolved", "failed", None), (70, 20, 10))[0]
        yield TaskRow(
            f"ticket-{number}", moment, moment + 60.0 if outcome else None, outcome, "support-bot", tenant="t1"
        )


def _finish(row: CallRow, model: _Model, tokens: tuple[int, int], dice: random.Random) -> None:
    """Say how the call ended, and what it cost."""
    fate = dice.random()
    if fate < _FAILING:
        row.status = dice.choice(_STATUSES)
        row.error, row.complete = f"provider said {row.status}" if row.status else "ConnectTimeout", False
        row.cost_nano, row.latency_ms = 0, dice.uniform(50.0, 30_000.0)
        row.attempts = (AttemptRow(row.upstream, model.name, model.tier, row.status, row.error, row.latency_ms, 0),)
        return
    row.input_tokens, row.output_tokens = tokens
    row.cache_read_tokens = tokens[0] // 2 if dice.random() < 0.3 else 0  # noqa: PLR2004 - made up
    row.tokens = {"input": tokens[0] - row.cache_read_tokens, "cache_read": row.cache_read_tokens, "output": tokens[1]}
    uncached = model.nano_in * row.cache_read_tokens * 9 // 10
    cost = model.nano_in * tokens[0] + model.nano_out * tokens[1] - uncached
    baseline = cost if model.tier == "api" else _LARGE.nano_in * tokens[0] + _LARGE.nano_out * tokens[1]
    row.first_byte_ms = dice.lognormvariate(0.0, 0.35) * model.first_ms
    row.latency_ms = row.first_byte_ms + tokens[1] * model.token_ms
    row.cost_nano, row.baseline_nano = cost, baseline
    if fate < 0.032:  # noqa: PLR2004 - made up
        row.estimated, row.flags = True, ("usage:missing",)
        row.cost_low, row.cost_high = cost * 8 // 10, cost * 13 // 10
    elif fate < 0.034:  # noqa: PLR2004 - made up
        row.model_answered = "finetune-x"
        row.unpriced, row.estimated, row.flags = True, True, ("unpriced:finetune-x",)
        row.cost_low, row.cost_high, row.baseline_nano = 0, cost * 4, None
    elif fate < 0.16:  # noqa: PLR2004 - made up
        row.hit, row.tier, row.cost_nano = True, "cache", 0
        row.latency_ms = row.first_byte_ms = dice.uniform(0.2, 2.0)
        row.layers = ({"name": "exact-cache", "action": "hit", "why": "the same request"},)
        return
    elif fate < 0.2 and model is _MODELS[0]:  # noqa: PLR2004 - made up
        row.escalated, row.model_answered = True, _LARGE.name
        row.cost_nano = cost + _LARGE.nano_in * tokens[0] + _LARGE.nano_out * tokens[1]
    row.attempts = (AttemptRow(row.upstream, row.model_answered, model.tier, 200, None, row.latency_ms, row.cost_nano),)
