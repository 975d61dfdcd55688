"""Answers that were given before to the same question in other words, within an error that the user chooses."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from llmsaver.cache.guards import off
from llmsaver.cache.key import exact_key, question
from llmsaver.cache.learning import Learning
from llmsaver.cache.policy import policy_of, unfit, unkept
from llmsaver.cache.stored import Stored, book_hit, costs_of, json_bytes, respond
from llmsaver.core.caching import seconds
from llmsaver.embed import default_embedder
from llmsaver.errors import CacheMiss, ConfigurationError, in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llmsaver.cache.caches import Caches
    from llmsaver.cache.decision import Decision
    from llmsaver.cache.key import Question
    from llmsaver.core.caching import Caching
    from llmsaver.core.outcome import Outcome
    from llmsaver.core.request import Request
    from llmsaver.core.response import Response
    from llmsaver.core.stack import CallNext
    from llmsaver.embed import Embedder

__all__ = ["QUALITY", "SemanticCache"]

log = logging.getLogger("llmsaver")

SIX_HOURS = 21_600.0
# What audits are booked under.
QUALITY = "quality"
_PREFIX = "s"


@dataclass(frozen=True, slots=True)
class _Asked:
    """One question on its way: what it is, its vector, what was decided, and what may be served.

    ``aside``: there would be something, and audits have shown that it is not to be trusted now.
    """

    question: Question
    vector: Any
    decision: Decision
    stored: Stored | None = None
    aside: bool = False


class SemanticCache:
    """Serves a stored answer to the same question in other words, with at most ``max_wrong`` wrong among those served.

    Only the last user text may differ; everything else of the request, tenant and account included, is the same.
    ``ttl``: how long an answer lives, in seconds or as "6h"; hits never extend it. ``audit``: the share of hits that
    are answered for real too, in the background, booked under the feature "quality", and learned from. ``shadow``:
    serve nothing, and learn what would have been served. ``embedder``: see ``llmsaver.embed``. ``judge``: a function
    (question, stored answer, new answer) -> bool, asked where two answers differ in their words. ``time_bound``:
    whether questions about "today" or "the latest" may be answered from the store. ``hide_hits``: a hit takes about as
    long as its answer once did, so that nobody can time who has asked what. Raises ``MissingExtra``.
    """

    name = "semantic cache"
    serves_stored = True  # "only-if-cached" is passed on to it

    def __init__(
        self,
        *,
        max_wrong: float = 0.01,
        ttl: float | str = SIX_HOURS,
        audit: float = 0.02,
        shadow: bool = False,
        embedder: Embedder | None = None,
        judge: Callable[[str, str, str], bool] | None = None,
        time_bound: bool = False,
        hide_hits: bool = False,
    ) -> None:
        if not 0 < max_wrong < 1:
            raise ConfigurationError(f"SemanticCache(max_wrong=) must be a share between 0 and 1, not {max_wrong!r}")
        if not 0 <= audit <= 1:
            raise ConfigurationError(f"SemanticCache(audit=) must be a share from 0 to 1, not {audit!r}")
        self._max_wrong = max_wrong
        self._ttl = seconds(ttl, "SemanticCache(ttl=)")
        self._audit = audit
        self._shadow = shadow
        self._embedder = embedder or default_embedder()
        self._judge = judge
        self._time_bound = time_bound
        self._hide_hits = hide_hits
        self._learning: Learning | None = None
        self._policy = ""
        self._random = random.Random()  # noqa: S311 - which hits are audited is no secret

    def use_caches(self, caches: Caches, beneath: Sequence[object]) -> None:
        """Take the Saver's store, and the layers beneath, whose policy is part of every namespace."""
        self._learning = Learning(caches, self._embedder, self._max_wrong, self._judge)
        self._policy = policy_of(beneath)

    def close(self) -> None:
        """Write down what was learned."""
        if self._learning is not None:
            self._learning.close()

    @property
    def learning(self) -> Learning:
        """What was learned; raises ``ConfigurationError`` outside a Saver's stack."""
        if self._learning is None:
            raise ConfigurationError(
                "a SemanticCache works in the stack of a Saver: Saver(stack=[..., SemanticCache(max_wrong=0.01)])"
            )
        return self._learning

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Serve a stored answer that is right by all that is known, or pass on and learn from what comes back."""
        control, learning = request.options.cache, self.learning
        asked = self._question(request) if control.read or control.write else None
        seen = None if asked is None else await request.runtime.offload(self._look, request, asked, learning)
        if seen is not None:
            if seen.aside:
                request.entry.act(self.name, "stepped aside", "audits found more wrong answers than promised")
            if seen.stored is not None:
                if self._hide_hits:
                    await request.runtime.sleep(seen.stored.latency_s * self._random.uniform(0.9, 1.1))
                return self._serve(request, seen, seen.stored)
        if control.only:
            raise CacheMiss("only a stored answer was asked for, and there is none to this question in any words")
        response = await call_next(request)
        if seen is not None and control.write and response.ok:
            response.on_complete(partial(self._learn, request, seen, control))
        return response

    def _question(self, request: Request) -> Question | None:
        """Return what is asked, None where it is nothing that other words could ask for too."""
        if unfit(request, "always") is not None:
            return None
        asked = question(request, self._policy)
        return None if asked is None or off(asked.text, time_bound=self._time_bound) is not None else asked

    def _look(self, request: Request, asked: Question, learning: Learning) -> _Asked | None:
        """Return what is known of the question, blocking; None, said once, where it cannot be embedded."""
        try:
            vector = self._embedder.embed([asked.text])[0]
            decision = learning.decide(asked, request.feature, vector, time.time())
        except Exception as error:  # noqa: BLE001 - whatever an embedder or a store raises costs nobody the call
            learning.failed(error)
            return None
        seen = _Asked(asked, vector, decision)
        if decision.serve is None or self._shadow or not request.options.cache.read:
            return seen
        stored = learning.stored(asked, decision.serve)
        if stored is None or not self._suits(request, stored):
            return seen
        try:
            stored.content  # noqa: B018 - parsed and written here, and not where others wait
        except ValueError:
            learning.drop(asked, stored.key)
            return seen
        if learning.steps_aside(request.feature):
            return replace(seen, aside=True)
        return replace(seen, stored=stored)

    def _suits(self, request: Request, stored: Stored) -> bool:
        """Return whether this caller may have an entry."""
        now, most = time.time(), request.options.cache.max_age
        young = most is None or now - stored.created_at <= most
        return young and stored.tenant == request.tenant and stored.live(now)

    def _serve(self, request: Request, seen: _Asked, stored: Stored) -> Response:
        """Return the stored answer, and now and then have it checked."""
        response = respond(stored)
        book_hit(request.entry, stored, "semantic")
        request.entry.act(self.name, "hit", seen.decision.why)
        self.learning.served(request.feature, stored.key)
        if self._random.random() < self._audit:
            self._check(request, seen)
        return response

    def _check(self, request: Request, seen: _Asked) -> None:
        """Have the question answered for real, later and by somebody else, and learn whether the hit was right."""
        again = request.again(QUALITY)
        if again is None:
            return
        learning = self.learning

        def audit() -> None:
            try:
                response = again()
                outcome = None if response is None else response.outcome
                message = outcome.message if outcome is not None and outcome.complete else None
            except Exception as error:  # noqa: BLE001 - a spent budget, a provider that is down: there is no audit then
                log.debug("llmsaver: an audit could not be made: %s", in_words(error))
                message = None
            if message is None or unkept(request.dialect, message) is not None:
                learning.counts["audits without an answer"] += 1
                return
            learning.submit(
                partial(learning.audited, seen.question, request.feature, seen.decision, request.dialect, message)
            )

        request.runtime.detach(audit)

    def _learn(self, request: Request, seen: _Asked, control: Caching, outcome: Outcome) -> None:
        """Keep a whole, good answer, and learn whether the one that was near would have been right."""
        entry = request.entry
        message = outcome.message if outcome.complete else None
        if message is None or entry.spilled or entry.hit_kind is not None or unkept(request.dialect, message):
            return
        key = exact_key(request, self._policy)
        if key is None:
            return
        now = time.time()
        cost_nano, cost_low, cost_high = costs_of(entry)
        stored = Stored(
            _PREFIX + key[1:],
            request.dialect,
            json_bytes(message),
            created_at=now,
            expires_at=now + self._ttl,
            tenant=request.tenant,
            feature=request.feature,
            model=entry.model or request.model or message.get("model"),
            tags=control.tags,
            latency_s=entry.elapsed(),
            namespace=seen.question.namespace,
            text=seen.question.text,
            embedder=self._embedder.name,
            cost_nano=cost_nano,
            cost_low=cost_low,
            cost_high=cost_high,
        )
        self.learning.submit(partial(self.learning.keep, stored, seen.question, seen.vector, seen.decision))
