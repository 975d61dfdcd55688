"""Answers that were given before to the very same request."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from llmsaver.cache.claims import Claims
from llmsaver.cache.flights import Flights
from llmsaver.cache.key import exact_key
from llmsaver.cache.policy import When, policy_of, unfit, unkept
from llmsaver.cache.stored import Stored, book_hit, costs_of, json_bytes, respond
from llmsaver.core.caching import seconds
from llmsaver.errors import CacheMiss, ConfigurationError, in_words
from llmsaver.middleware.stored_vectors import StoredVectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmsaver.cache.caches import Caches
    from llmsaver.core.caching import Caching
    from llmsaver.core.outcome import Outcome
    from llmsaver.core.request import Request
    from llmsaver.core.response import Response
    from llmsaver.core.runtime import Flight
    from llmsaver.core.stack import CallNext

__all__ = ["ExactCache"]

log = logging.getLogger("llmsaver")

DAY_SECONDS = 86_400.0
REFRESH = "cache-refresh"


class ExactCache:
    """Serves the stored answer to an identical request: whole or as a stream, at no cost, never across tenants.

    ``ttl``: how long an answer lives, in seconds or as "12h"; hits never extend it. ``when``: "always", or
    "deterministic" for requests with temperature 0 or a seed only. ``stale``: how long after its life an answer is
    still served while a new one is fetched in the background. ``hide_hits``: a hit takes about as long as its answer
    once did, so that nobody can time who has asked what. Only whole, good answers are kept; calls whose answer is not
    their request's alone (hosted tools, background runs) pass. Raises ``ConfigurationError``.
    """

    name = "exact cache"

    def __init__(
        self,
        *,
        ttl: float | str = DAY_SECONDS,
        when: When = "always",
        stale: float | str = 0,
        hide_hits: bool = False,
    ) -> None:
        if when not in get_args(When):
            raise ConfigurationError(f'ExactCache(when=) must be "deterministic" or "always", not {when!r}')
        self._ttl = seconds(ttl, "ExactCache(ttl=)")
        self._stale = seconds(stale, "ExactCache(stale=)")
        self._when: When = when
        self._hide_hits = hide_hits
        self._caches: Caches | None = None
        self._policy = ""
        self._refreshing: dict[str, float] = {}

    def use_caches(self, caches: Caches, beneath: Sequence[object]) -> None:
        """Take the Saver's store, and the layers beneath, whose policy is part of every key."""
        self._caches = caches
        self._policy = policy_of(beneath)
        self._more = any(getattr(layer, "serves_stored", False) for layer in beneath)
        self._vectors = StoredVectors(caches, self._policy, self._ttl, self.name)
        self._flights = Flights(self.name, Claims(caches))
        self._embedding = Flights(self.name)

    def close(self) -> None:
        """Keep no other process waiting."""
        if self._caches is not None:
            self._flights.close()

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Serve a stored answer, or pass on and keep what comes back."""
        control, caches = request.options.cache, self._caches
        if caches is None:
            raise ConfigurationError("an ExactCache works in the stack of a Saver: Saver(stack=[..., ExactCache()])")
        if not (control.read or control.write):
            return await call_next(request)
        why = unfit(request, self._when)
        key = exact_key(request, self._policy) if why is None else None
        if why is None and request.dialect == "embeddings":
            return await self._embedded(request, call_next, key)
        if key is None:
            if control.only and not self._more:
                raise CacheMiss(f"only a stored answer was asked for, and this call has none: {why or 'no JSON'}")
            return await call_next(request)
        if control.read:
            stored = await self._found(request, caches, key)
            if stored is not None and (served := await self._serve(request, caches, stored, control)):
                return served
            caches.counts["misses"] += 1
        if control.only and self._more:
            return await call_next(request)
        if control.only:
            raise CacheMiss(f"only a stored answer was asked for, and there is none under {key}", key)
        return await self._fetch(request, call_next, key, control)

    async def _embedded(self, request: Request, call_next: CallNext, key: str | None) -> Response:
        """Serve vectors; the same call at the same time waits for the first one's."""
        control = request.options.cache
        if key is None or control.only or not (control.read and control.write):
            return await self._vectors(request, call_next)

        async def nothing(*, deep: bool) -> None:  # noqa: ARG001 - the vectors look for themselves
            return None

        return await self._embedding.fetch(request, key, lambda _: self._vectors(request, call_next), nothing)

    async def _fetch(self, request: Request, call_next: CallNext, key: str, control: Caching) -> Response:
        """Go upstream and keep the answer. The place where calls with one ``key`` become one flight."""

        async def send(written: list[Flight]) -> Response:
            response = await call_next(request)
            if control.write and response.ok:
                response.on_complete(partial(self._keep, request, key, control, written))
            return response

        if not (control.read and control.write):
            return await send([])
        return await self._flights.fetch(request, key, send, partial(self._look, request, key, control))

    async def _look(self, request: Request, key: str, control: Caching, *, deep: bool) -> Response | None:
        """Look again, for an answer that somebody else has got meanwhile."""
        caches = self._caches
        assert caches is not None  # noqa: S101 - told to the type checker
        stored = await self._found(request, caches, key) if deep else caches.held(key)
        return None if stored is None else await self._serve(request, caches, stored, control)

    async def _found(self, request: Request, caches: Caches, key: str) -> Stored | None:
        stored = caches.held(key)
        if stored is None:
            stored = await request.runtime.offload(caches.get, key)
        if stored is None or stored.tenant != request.tenant or stored.dialect != request.dialect:
            return None
        return stored

    async def _serve(self, request: Request, caches: Caches, stored: Stored, control: Caching) -> Response | None:
        """Return the answer, or None where it is too old, for itself or for this caller, or broken."""
        now = time.time()
        age = max(0.0, now - stored.created_at)
        fresh = stored.live(now)
        if not fresh and not (self._stale and stored.live(now, stale=True) and self._refreshed(request, stored)):
            return None
        if control.max_age is not None and age > control.max_age:
            return None
        try:
            response = respond(stored)
        except ValueError:
            log.warning("llmsaver: a stored answer is broken and is dropped: %s", stored.key)
            await request.runtime.offload(caches.forget, [stored.key])
            return None
        if self._hide_hits:
            await request.runtime.sleep(stored.latency_s * random.uniform(0.9, 1.1))  # noqa: S311 - as calls vary
        book_hit(request.entry, stored, "exact")
        request.entry.act(self.name, "hit", f"stored {age:.0f} s ago" + ("" if fresh else ", being refreshed"))
        caches.note_hit(stored.key)
        return response

    def _keep(self, request: Request, key: str, control: Caching, written: list[Flight], outcome: Outcome) -> None:
        """Store an answer that is whole and good; said in the call's record where it is not."""
        entry = request.entry
        message = outcome.message if outcome.complete else None
        if message is None or entry.spilled or entry.hit_kind is not None:
            return
        why = unkept(request.dialect, message)
        if why is not None:
            entry.act(self.name, "not stored", why)
            return
        self._put(request, key, message, control, written)

    def _put(
        self, request: Request, key: str, message: dict[str, Any], control: Caching, written: list[Flight]
    ) -> None:
        entry = request.entry
        cost_nano, cost_low, cost_high = costs_of(entry)
        stored = Stored(
            key,
            request.dialect,
            json_bytes(message),
            *self._life(),
            tenant=request.tenant,
            feature=request.feature,
            model=entry.model or request.model or message.get("model"),
            tags=control.tags,
            cost_nano=cost_nano,
            cost_low=cost_low,
            cost_high=cost_high,
            latency_s=entry.elapsed(),
        )
        if self._caches is not None:
            written.append(self._caches.put(stored, replace=control.replace))

    def _life(self) -> tuple[float, float, float]:
        """Return when an answer made now was made, when it is stale and when it is gone."""
        now = time.time()
        return now, now + self._ttl, now + self._ttl + self._stale

    def _refreshed(self, request: Request, stored: Stored) -> bool:
        """See to it that a stale answer is being replaced, by one of those who get it; False where it cannot be."""
        now = time.monotonic()
        if self._refreshing.get(stored.key, 0.0) > now:
            return True
        again = request.again(REFRESH)
        if again is None:
            return False

        def refresh() -> None:
            try:
                response = again()
                outcome = None if response is None else response.outcome
                message = outcome.message if outcome is not None and outcome.complete else None
                if message is not None and unkept(request.dialect, message) is None:
                    self._replace(stored, message)
            except Exception as error:  # noqa: BLE001 - the old answer is served on; the next hit tries again
                log.info("llmsaver: a stale answer could not be refreshed: %s", in_words(error))
            finally:
                self._refreshing.pop(stored.key, None)

        self._refreshing[stored.key] = now + max(60.0, 2 * stored.latency_s)
        return request.runtime.detach(refresh)

    def _replace(self, old: Stored, message: dict[str, Any]) -> None:
        made, stale, gone = self._life()
        body = json_bytes(message)
        if self._caches is not None:
            self._caches.put(replace(old, body=body, created_at=made, expires_at=stale, drop_at=gone, _content=None))
