"""Identical calls at the same time become one: the first goes upstream, the others share what it gets.

What is shared is what the first caller gets: an answer too long for its limit, or a refusal, would be the others' too,
and asking a hundred times would not mend it; it is just not stored. A failure that a retry cannot mend is shared as
well. After one that it can, one of those who wait tries again, and where that fails too, the rest are told so. A call
that was cancelled, or stopped by a layer (a budget of its own), has no answer: another takes its place.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

from llmsaver.cache.pump import Shared
from llmsaver.cache.stored import costs_of, json_bytes, told
from llmsaver.cache.waiting import copied, late, until
from llmsaver.core.response import Response
from llmsaver.errors import UpstreamError
from llmsaver.wire import DIALECTS
from llmsaver.wire.replay import as_cached

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from llmsaver.cache.claims import Claims
    from llmsaver.core.entry import Entry
    from llmsaver.core.outcome import Outcome
    from llmsaver.core.request import Request
    from llmsaver.core.runtime import Flight

__all__ = ["Flights"]

log = logging.getLogger("llmsaver")

# Statuses that ask for another try, beside those of broken servers.
_PASSING = frozenset({408, 409, 429})
_SERVER_BROKE = 500
# How many failures a call sees before it is told of one as its own.
_ENOUGH = 2
# What a wait for another process begins with and grows to, in seconds.
_SHORTEST_LOOK, _LONGEST_LOOK = 0.01, 0.25

# The keys that the calls around this one lead: a layer that makes the same call again must not wait for itself.
_leading: ContextVar[frozenset[str]] = ContextVar("llmsaver_leading", default=frozenset())


class Send(Protocol):
    """Goes upstream; adds to ``written`` what lands once the answer is in the store."""

    def __call__(self, written: list[Flight], /) -> Awaitable[Response]:
        """Return what came back."""


class Look(Protocol):
    """Looks for a stored answer: in memory, or with ``deep`` in the store too."""

    def __call__(self, *, deep: bool) -> Awaitable[Response | None]:
        """Return the answer to serve, or None."""


class Flights:
    """The calls under way of one process, by key; ``claims`` tells those of other processes."""

    def __init__(self, name: str, claims: Claims | None = None) -> None:
        self._name = name
        self._claims = claims
        self.after_fork()
        _all.add(self)

    def after_fork(self) -> None:
        """Forget the parent's calls in a forked child."""
        self._lock = threading.Lock()
        # An answer that its first caller dropped unread, and nobody else wants, is to be collected.
        self._under_way: WeakValueDictionary[str, Shared] = WeakValueDictionary()

    def close(self) -> None:
        """Give back what other processes wait for."""
        if self._claims is not None:
            self._claims.close()

    async def fetch(self, request: Request, key: str, send: Send, look: Look) -> Response:
        """Return the answer to ``request``: of a call with this key that is under way, or of one that it makes.

        Raises what a call raises; ``UpstreamError`` too where the call that was waited for took longer than this
        one's client waits for bytes.
        """
        if key in _leading.get():
            return await send([])
        failures, shared = 0, None
        while True:
            shared, first = self._join(request, key, shared)
            if first:
                return await self._lead(shared, request, key, send, look)
            if shared.blocked_by(request.runtime):
                shared.leave()
                return await send([])
            along = await self._aboard(shared, request)
            failures += shared.failed
            found = along or self._whole(shared, request) or self._failure(shared, request, failures)
            if found is None:
                found = await look(deep=False)
            if found is not None:
                return found

    def _join(self, request: Request, key: str, before: Shared | None) -> tuple[Shared, bool]:
        """Return what to wait for, or what to begin; who waited ``before`` in vain waits for what took its place."""
        with self._lock:
            if before is not None and before.successor is not None:
                before.successor.board(late=True)
                return before.successor, False
            shared = self._under_way.get(key)
            first = shared is None or not shared.board()
            if shared is None or first:
                shared = self._under_way[key] = Shared(request, partial(self._retire, key))
            if before is not None:
                before.successor = shared
        return shared, first

    def _retire(self, key: str, shared: Shared) -> None:
        """Let nobody join any more; other processes may go on once the answer is in the store."""
        with self._lock:
            if self._under_way.get(key) is shared:
                del self._under_way[key]
        if self._claims is not None and self._claims.holds(key, shared):
            claims = self._claims
            if shared.written:
                shared.written[-1].add_callback(partial(claims.release, key))
            else:
                claims.release(key)

    # -- the first ----------------------------------------------------------------------------------------------------

    async def _lead(self, shared: Shared, request: Request, key: str, send: Send, look: Look) -> Response:
        token = _leading.set(_leading.get() | {key})
        try:
            # Between this call's first look and now another may have ended.
            found = await look(deep=False) or await self._elsewhere(shared, request, key, look)
            if found is not None:
                return found
            response = await send(shared.written)
            if not response.ok:
                await response.read()
            if response.content is None:
                request.entry.act(self._name, "miss", "who asks the same meanwhile shares the answer")
                return shared.streaming(response, request)
            shared.land(response)
        except UpstreamError as error:
            shared.finish(error)
            raise
        else:
            return response
        finally:
            if shared.response is None:
                shared.finish(None)
            with suppress(ValueError):  # a coroutine that is collected ends anywhere
                _leading.reset(token)

    async def _elsewhere(self, shared: Shared, request: Request, key: str, look: Look) -> Response | None:
        """Wait while another process asks the same; return its answer, or None where this call is to be made."""
        claims, lost, end = self._claims, 0, until(request)
        if claims is None:
            return None
        while True:
            found = await request.runtime.offload(claims.claim, key, shared)
            wait = _SHORTEST_LOOK
            while found == "theirs":
                if end is not None and time.monotonic() > end:
                    raise late(request)
                await request.runtime.sleep(wait)
                wait = min(wait * 1.5, _LONGEST_LOOK)
                found = await request.runtime.offload(claims.look, key)
            if found == "stored":
                return await look(deep=True)
            if found in {"ours", "unknown"}:
                return None
            # Theirs ended without an answer to store. Once more may help; after that waiting in line is too slow.
            lost += found == "free"
            if lost >= _ENOUGH:
                return None

    # -- those who wait -----------------------------------------------------------------------------------------------

    async def _aboard(self, shared: Shared, request: Request) -> Response | None:
        """Wait, and return the answer as it arrives where this caller can have it so; None at its end."""
        kept = False
        try:
            await shared.ready(request)
            kept = shared.flows and shared.suits(request)
        finally:
            if not kept:
                shared.leave()
        if not kept:
            return None
        shaper = DIALECTS[request.dialect].shaper(hide_usage=True, note=None) if shared.hides_usage else None
        response = shared.follower(request, shaper)
        self._book(request.entry, shared)
        response.on_complete(partial(_price, request.entry, shared))
        return response

    def _whole(self, shared: Shared, request: Request) -> Response | None:
        """Return an answer that has arrived, in one piece; None where there is none."""
        response = shared.response
        outcome = None if response is None else response.outcome
        if outcome is None or not outcome.complete:
            return None
        if shared.whole is None:
            message = outcome.message
            if message is None:
                return None
            if request.dialect == "embeddings":
                message = {**message, "usage": {"prompt_tokens": 0, "total_tokens": 0}}
            shared.whole = json_bytes(as_cached(request.dialect, message))
        self._book(request.entry, shared)
        _price(request.entry, shared)
        return told(shared.whole)

    def _failure(self, shared: Shared, request: Request, seen: int) -> Response | None:
        """Return or raise the failure of the call that was waited for; None where this one is to try again."""
        response = shared.response
        if response is not None and not response.ok:
            lasting = response.status < _SERVER_BROKE and response.status not in _PASSING
            if lasting or seen >= _ENOUGH:
                request.entry.act(self._name, "shared", "the failure of an identical call that was under way")
                return Response(response.status, dict(shared.headers), content=response.content)
        elif isinstance(shared.error, UpstreamError) and seen >= _ENOUGH:
            raise copied(shared.error)
        return None

    def _book(self, entry: Entry, shared: Shared) -> None:
        entry.hit_kind = "exact"
        entry.model = shared.entry.model or entry.model
        if entry.cost_nano is None:  # an earlier try of the SDK's may have cost something
            entry.cost_nano = entry.cost_low = entry.cost_high = 0
        entry.act(self._name, "shared", "the answer of an identical call that was under way")


def _price(entry: Entry, shared: Shared, _outcome: Outcome | None = None) -> None:
    """Note what the call would have cost by itself, known when the answer has ended."""
    entry.baseline_nano, entry.baseline_low, entry.baseline_high = costs_of(shared.entry)


_all: weakref.WeakSet[Flights] = weakref.WeakSet()


def _after_fork() -> None:
    for flights in list(_all):
        flights.after_fork()


os.register_at_fork(after_in_child=_after_fork)
