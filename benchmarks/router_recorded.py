"""A provider that answers from recorded outcomes, and the real client, stack and cascade in front of it."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np

import llmsaver

if TYPE_CHECKING:
    from router_pairs import Pair

# What a strong token costs, in dollars per million: one nano-dollar a token, so that usage says what a row cost.
_STRONG_RATE = Decimal("0.001")
# What OpenAI writes where a token has no probability.
_IMPOSSIBLE = -9999.0


class Recorded(httpx2.BaseTransport):
    """Answers with the row that a request's ``user`` names, as the model asked answered it.

    The cheap answer's log-probability is that of its one token, told where it was asked for. ``spent`` is what the
    provider would bill, in nano-dollars, whoever asked: audits and discarded answers too.
    """

    def __init__(self, pair: Pair, *, dearer: float = 1.0) -> None:
        self._pair = pair
        # With real prices the ratio of the two models' rates is the same for every row.
        self._ratio = float(pair.weak_cost.sum() / pair.strong_cost.sum()) * dearer
        self._dearer = dearer
        self.spent = 0.0
        self.asked = dict.fromkeys(pair.models, 0)

    @property
    def prices(self) -> dict[str, Any]:
        """What a Saver must be told."""
        weak, strong = self._pair.models
        rates = {weak: _STRONG_RATE * Decimal(repr(round(self._ratio, 9))), strong: _STRONG_RATE}
        return {model: {"input": str(rate), "output": str(rate)} for model, rate in rates.items()}

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer at once."""
        body = json.loads(request.content)
        row, model = int(body["user"]), body["model"]
        cheap = model == self._pair.models[0]
        nano = 1e9 * float(self._pair.weak_cost[row] * self._dearer if cheap else self._pair.strong_cost[row])
        self.spent += nano
        self.asked[model] += 1
        text = self._pair.answers[row][0 if cheap else 1]
        choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text}}
        choice["finish_reason"] = "stop"
        if body.get("logprobs"):
            told = float(self._pair.conf[row]) if cheap else 0.0
            token = {"token": text, "logprob": max(told, _IMPOSSIBLE), "bytes": None, "top_logprobs": []}
            choice["logprobs"] = {"content": [token], "refusal": None}
        tokens = max(2, round(nano / self._ratio if cheap else nano))
        answer = {
            "id": f"chatcmpl-{row}",
            "object": "chat.completion",
            "created": 1,
            "model": model,
            "choices": [choice],
            "usage": {"prompt_tokens": tokens - 1, "completion_tokens": 1, "total_tokens": tokens},
        }
        return httpx2.Response(200, json=answer)


@dataclass
class Driven:
    """What came of rows sent through the stack, in the order sent.

    ``merits``: nan where the cheap answer got none (a validator rejected it, or it was not asked). ``strong``: whether
    the strong model's answer was served. ``spent``: the provider's bill, ``always``: that of always-strong, in dollars.
    """

    rows: list[int]
    merits: np.ndarray
    strong: np.ndarray
    quality: float
    spent: float
    always: float
    calls: dict[str, int]
    notes: dict[str, int] = field(default_factory=dict)

    @property
    def saving(self) -> float:
        """The share of always-strong's bill that was not spent."""
        return 1 - self.spent / self.always


def drive(pair: Pair, rows: list[int], *, dearer: float = 1.0, **options: Any) -> Driven:
    """Send rows through ``llmsaver.OpenAI`` with a ``Cascade`` of the pair's models; ``options`` are the Cascade's.

    ``dearer`` multiplies the cheap model's price.
    """
    provider = Recorded(pair, dearer=dearer)
    merits, strong = np.full(len(rows), math.nan), np.zeros(len(rows), bool)
    notes: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        tiers = [llmsaver.Tier(model, skills=frozenset({"logprobs"})) for model in pair.models]
        cascade = llmsaver.Cascade(tiers, **options)
        told = {"ledger": str(Path(folder) / "l.db"), "annotate": True, "prices": provider.prices}
        saver = llmsaver.Saver(**told, stack=[..., cascade])
        client = llmsaver.OpenAI(api_key="sk-none", saver=saver, http_client=httpx2.Client(transport=provider))
        for at, row in enumerate(rows):
            asked: Any = [{"role": "user", "content": pair.prompts[row]}]
            answered = client.chat.completions.create(model="auto", messages=asked, user=str(row))
            told = _routing(answered)
            strong[at] = told["tier"] == pair.models[1]
            merits[at] = told["signals"].get("merit", math.nan)
            evidence = told["evidence"].partition(":")[0]
            notes[evidence] = notes.get(evidence, 0) + 1
            notes["aside"] = notes.get("aside", 0) + bool(told.get("aside"))
        saver.router.drain(300)
        saver.close()
    chosen = np.array(rows, int)
    served = np.where(strong, pair.strong[chosen], pair.weak[chosen]).sum()
    full = float(pair.strong_cost[chosen].sum())
    quality = float(served / pair.strong[chosen].sum())
    return Driven(rows, merits, strong, quality, provider.spent / 1e9, full, dict(provider.asked), notes)


def _routing(answered: Any) -> dict[str, Any]:
    told: dict[str, Any] = answered.llmsaver["router"]
    return told
