"""Embeddings one by one: inputs whose vectors are stored are not sent again, the rest goes upstream in one call."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from llmsaver.cache.key import embedding_keys
from llmsaver.cache.stored import Stored, json_bytes, told
from llmsaver.errors import CacheMiss

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llmsaver.cache.caches import Caches
    from llmsaver.core.entry import Entry
    from llmsaver.core.outcome import Outcome
    from llmsaver.core.request import Request
    from llmsaver.core.response import Response
    from llmsaver.core.stack import CallNext

__all__ = ["StoredVectors"]


class StoredVectors:
    """Answers embeddings requests from stored vectors; usage counts what was sent, since that is what was billed."""

    def __init__(self, caches: Caches, policy: str, ttl: float, name: str) -> None:
        self._caches = caches
        self._policy = policy
        self._ttl = ttl
        self._name = name

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Return the vectors in the order of their inputs, those that are stored and those that are new."""
        control = request.options.cache
        keys = embedding_keys(request, self._policy)
        if not keys:
            if control.only:
                raise CacheMiss("only stored vectors were asked for, and this input has none")
            return await call_next(request)
        known = await self._known(request, keys) if control.read else {}
        missing = [at for at, key in enumerate(keys) if key not in known]
        self._caches.counts["misses"] += len(missing)
        if not missing:
            return self._hit(request, keys, known)
        if control.only:
            raise CacheMiss(f"only stored vectors were asked for; of {len(keys)} inputs {len(missing)} have none")
        if not known:
            response = await call_next(request)
            if control.write and response.ok:
                response.on_complete(partial(self._keep, request, keys))
            return response
        return await self._partly(request, call_next, keys, known)

    async def _known(self, request: Request, keys: Sequence[str]) -> dict[str, Stored]:
        wanted = list(dict.fromkeys(keys))
        found = {key: stored for key in wanted if (stored := self._caches.held(key)) is not None}
        if len(found) < len(wanted):
            found = await request.runtime.offload(self._caches.get_many, wanted)
        now, max_age = time.time(), request.options.cache.max_age
        return {
            key: stored
            for key, stored in found.items()
            if stored.live(now)
            and stored.tenant == request.tenant
            and (max_age is None or now - stored.created_at <= max_age)
        }

    def _hit(self, request: Request, keys: Sequence[str], known: Mapping[str, Stored]) -> Response:
        entry, first = request.entry, known[keys[0]]
        entry.hit_kind = "exact"
        entry.model = first.model or entry.model
        if entry.cost_nano is None:
            entry.cost_nano = entry.cost_low = entry.cost_high = 0
        entry.baseline_nano = entry.cost_nano
        entry.baseline_low, entry.baseline_high = entry.cost_low, entry.cost_high
        self._saved(entry, keys, known)
        entry.act(self._name, "hit", f"all of {len(keys)} inputs are stored")
        vectors = [json.loads(known[key].body)["embedding"] for key in keys]
        model = json.loads(first.body).get("model") or request.model
        return told(json_bytes(_message(model, vectors, {"prompt_tokens": 0, "total_tokens": 0})))

    async def _partly(
        self, request: Request, call_next: CallNext, keys: Sequence[str], known: Mapping[str, Stored]
    ) -> Response:
        """Send the inputs that are not stored, each once, and put the vectors together."""
        inputs: list[Any] = request.body["input"]
        places = {key: at for at, key in enumerate(keys) if key not in known}
        asked = list(places)
        response = await call_next(request.with_body(input=[inputs[places[key]] for key in asked]))
        if not response.ok:
            return response
        message = await response.json()
        vectors = _vectors(message, len(asked))
        if vectors is None:  # a server that answers in a form of its own is asked for everything
            return await call_next(request)
        new = dict(zip(asked, vectors, strict=True))
        entry = request.entry
        if request.options.cache.write:
            self._put(request, new, message.get("model"), [inputs[places[key]] for key in asked])
        self._saved(entry, [key for key in keys if key in known], known)
        entry.act(self._name, "part hit", f"{sum(key in known for key in keys)} of {len(keys)} inputs are stored")
        whole = [new[key] if key in new else json.loads(known[key].body)["embedding"] for key in keys]
        used = None if response.outcome is None else response.outcome.usage
        return told(json_bytes(_message(message.get("model"), whole, message.get("usage"))), used)

    def _saved(self, entry: Entry, keys: Sequence[str], known: Mapping[str, Stored]) -> None:
        """Add what the stored inputs would have cost to the baseline; unknown where one of them is."""
        for name, cost in (
            ("baseline_nano", "cost_nano"),
            ("baseline_low", "cost_low"),
            ("baseline_high", "cost_high"),
        ):
            parts = [getattr(known[key], cost) for key in keys]
            before = getattr(entry, name)
            setattr(entry, name, None if before is None or None in parts else before + sum(parts))
        for key in keys:
            self._caches.note_hit(key)

    def _keep(self, request: Request, keys: Sequence[str], outcome: Outcome) -> None:
        message = outcome.message if outcome.complete else None
        vectors = None if message is None else _vectors(message, len(keys))
        if message is None or vectors is None or request.entry.spilled:
            return
        inputs = request.body["input"]
        several = isinstance(inputs, list) and not isinstance(inputs[0], int)
        self._put(request, dict(zip(keys, vectors, strict=True)), message.get("model"), inputs if several else [inputs])

    def _put(self, request: Request, vectors: Mapping[str, Any], model: Any, inputs: Sequence[Any]) -> None:
        """Keep each vector by itself, with its part of what the call cost: by the length of its input."""
        entry, now = request.entry, time.time()
        lengths = [max(1, len(each)) for each in inputs] if len(inputs) == len(vectors) else [1] * len(vectors)
        costs = [None if entry.unpriced else cost for cost in (entry.cost_nano, entry.cost_low, entry.cost_high)]
        for (key, vector), length in zip(vectors.items(), lengths, strict=True):
            part = [None if cost is None else cost * length // sum(lengths) for cost in costs]
            stored = Stored(
                key,
                request.dialect,
                json_bytes({"model": model, "embedding": vector}),
                created_at=now,
                expires_at=now + self._ttl,
                tenant=request.tenant,
                feature=request.feature,
                model=request.model,
                tags=request.options.cache.tags,
                cost_nano=part[0],
                cost_low=part[1],
                cost_high=part[2],
                latency_s=entry.elapsed(),
            )
            self._caches.put(stored, replace=request.options.cache.replace)


def _message(model: Any, vectors: Sequence[Any], usage: Any) -> dict[str, Any]:
    items = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
    return {"object": "list", "data": items, "model": model, "usage": usage}


def _vectors(message: Any, count: int) -> list[Any] | None:
    """Return so many vectors in the order of their indexes; None where they are not all there."""
    data = message.get("data") if isinstance(message, dict) else None
    if not isinstance(data, list) or len(data) != count or not all(isinstance(item, dict) for item in data):
        return None
    by_index = {item.get("index", at): item.get("embedding") for at, item in enumerate(data)}
    vectors = [by_index.get(at) for at in range(count)]
    return vectors if all(isinstance(vector, str | list) and vector for vector in vectors) else None
