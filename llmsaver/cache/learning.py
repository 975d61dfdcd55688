"""The semantic cache's memory: questions in memory, answers in the store, and what audits and misses teach."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter, OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmsaver.cache.answers import answer_text
from llmsaver.cache.lexis import content_words
from llmsaver.cache.semantic import Questions
from llmsaver.cache.shadow import STATE
from llmsaver.compare import same
from llmsaver.core.background import Background
from llmsaver.embed import default_cross_encoder
from llmsaver.errors import in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llmsaver.cache.caches import Caches
    from llmsaver.cache.decision import Decision
    from llmsaver.cache.judge import Reads
    from llmsaver.cache.key import Question
    from llmsaver.cache.space import Space
    from llmsaver.cache.stored import Stored
    from llmsaver.embed import Embedder

__all__ = ["Learning"]

log = logging.getLogger("llmsaver")

# How often other programs' entries are looked for, and what was learned is written down.
LOOK_SECONDS, SAVE_SECONDS = 2.0, 5.0
_VECTORS = 2_000
_MOST_COMPARED = 6


class Learning:
    """What one ``SemanticCache`` knows; thread-safe. Nothing here raises but ``decide``, whose caller passes on."""

    def __init__(
        self,
        caches: Caches,
        embedder: Embedder,
        max_wrong: float,
        judge: Callable[[str, str, str], bool] | None = None,
    ) -> None:
        self._caches = caches
        self._embedder = embedder
        self._judge = judge
        self.counts: Counter[str] = Counter()
        self.questions = Questions(max_wrong, embedder.dimensions, state=self._state, reads=self._read)
        self._reads: Reads | None = None
        self._background = Background()
        self._generation: int | None = None
        self._saved_at = time.monotonic()
        self._told: set[str] = set()
        self._vectors: OrderedDict[str, Any] = OrderedDict()

    def decide(self, asked: Question, feature: str, vector: Any, now: float) -> Decision:
        """Return what is known of a question, with what other programs have stored; blocking."""
        if vector.shape != (self._embedder.dimensions,) or not all(map(math.isfinite, vector.tolist())):
            raise ValueError(f"the embedder {self._embedder.name} made no {self._embedder.dimensions} finite numbers")
        self._look(asked.namespace)
        return self.questions.decide(asked.namespace, feature, asked.text, vector, now)

    def stored(self, asked: Question, key: str) -> Stored | None:
        """Return an entry; one that is gone from the store is forgotten here too."""
        stored = self._caches.get(key)
        if stored is None or stored.namespace != asked.namespace:
            with self.questions.lock:
                self.questions.space(asked.namespace).remove(key)
            return None
        return stored

    def steps_aside(self, feature: str) -> bool:
        """Return whether a feature's checked hits contradict the promise; said once each time that it begins."""
        with self.questions.lock:
            broken = self.questions.tally(feature).broken
        if broken and feature not in self._told:
            self._told.add(feature)
            log.warning(
                "llmsaver: the semantic cache steps aside for feature %r: of the hits that were checked, more were "
                "wrong than max_wrong=%g; the exact cache goes on, and so does the checking",
                feature,
                self.questions.max_wrong,
            )
        elif not broken:
            self._told.discard(feature)
        return broken

    def served(self, feature: str, key: str) -> None:
        """Count a hit."""
        self.questions.count_hit(feature)
        self._caches.note_hit(key)

    def drop(self, asked: Question, key: str) -> None:
        """Drop an entry that is broken or was proven wrong."""
        with self.questions.lock:
            self.questions.space(asked.namespace).remove(key)
        self._caches.forget([key])

    def submit(self, work: Callable[[], None]) -> None:
        """Have ``work`` done in a thread of its own, which audits, however slow, never keep waiting."""

        def guarded() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - an application's embedder or comparison, after the call
                self.failed(error)

        self._background.submit(guarded)

    def keep(self, stored: Stored, asked: Question, vector: Any, decision: Decision) -> None:
        """Store an answer to a question that was missed, and learn whether the decision about it would have been right.

        Its number is that of a neighbour's answer that says the same, else one of its own.
        """
        group = self._group(stored, asked, decision)
        if decision.answer is not None:
            right = group == decision.answer
            self.questions.learn(asked.namespace, stored.feature, decision, right=right, audited=False)
        else:
            self.questions.unmatched(stored.feature)
        kept = replace(stored, group=group, vector=vector.astype("<f4").tobytes())
        with self.questions.lock:
            space = self.questions.space(asked.namespace)
            space.add(kept.key, asked.text, vector, group, kept.expires_at)
        self._caches.put(kept, replace=True)
        self._save()

    def audited(
        self, asked: Question, feature: str, decision: Decision, dialect: str, message: Mapping[str, Any]
    ) -> None:
        """Learn from the real answer to a question that was served from the store; a wrong entry is dropped."""
        if decision.serve is None:
            return
        stored = self._caches.get(decision.serve)
        if stored is None:
            return
        right = self._same(asked.text, stored, answer_text(dialect, message))
        self.counts["audits"] += 1
        self.questions.learn(asked.namespace, feature, decision, right=right, audited=True)
        self._caches.guarded(lambda: self._caches.store.note_verdict(stored.key, right=right), None)
        if not right:
            self.counts["audits that found a wrong answer"] += 1
            self.drop(asked, stored.key)
        self._save()

    def failed(self, error: Exception) -> None:
        """Count a failure, and say it the first time."""
        self.counts["failed"] += 1
        if self.counts["failed"] == 1:
            log.warning("llmsaver: the semantic cache cannot be used, calls go on without it: %s", in_words(error))

    def drain(self, seconds: float = 2.0) -> bool:
        """Wait until what was submitted is learned; return whether it is."""
        return self._background.drain(seconds)

    def close(self) -> None:
        """Write down what was learned."""
        self.drain()
        self._save(at_once=True)

    def _group(self, stored: Stored, asked: Question, decision: Decision) -> int:
        """Return the number of the neighbour's answer that the new one equals, or a number no other answer has."""
        text = answer_text(stored.dialect, stored.message)
        # The one voted for comes first, or what it teaches could be missed.
        near = sorted(decision.near.items(), key=lambda each: each[0] != decision.answer)
        for group, key in near[:_MOST_COMPARED]:
            known = self._caches.get(key)
            if known is not None and self._same(asked.text, known, text):
                return group
        return int(stored.key[1:16], 16)

    def _same(self, question: str, stored: Stored, text: str) -> bool:
        """Return whether a new answer says what a stored one does; in doubt the user's judge decides, else it is no."""
        old = answer_text(stored.dialect, stored.message)
        verdict = same(old, text)
        if verdict.how == "words" and not verdict.same:
            verdict = same(old, text, vectors=(self._vector(old), self._vector(text)))
        if verdict.same or self._judge is None:
            return verdict.same
        try:
            return bool(self._judge(question, old, text))
        except Exception as error:  # noqa: BLE001 - an application's own function
            self.failed(error)
            return False

    def _vector(self, text: str) -> Any:
        found = self._vectors.get(text)
        if found is None:
            found = self._vectors[text] = self._embedder.embed([text])[0].tolist()
            if len(self._vectors) > _VECTORS:
                self._vectors.popitem(last=False)
        return found

    def _read(self, one: str, other: str) -> float | None:
        """Read two questions together, with what is loaded at the first; None, said once, where that cannot be done."""
        try:
            if self._reads is None:
                self._reads = _unread
                self._reads = default_cross_encoder().logit
            return self._reads(one, other)
        except Exception as error:  # noqa: BLE001 - a model file that is gone, or broken: other channels go on
            self.counts["failed to read"] += 1
            if self.counts["failed to read"] == 1:
                log.warning("llmsaver: the semantic cache serves fewer rewordings: %s", in_words(error))
            return None

    def _look(self, namespace: str) -> None:
        """Take in what other programs stored, and forget what somebody deleted."""
        space = self.questions.space(namespace)
        now = time.monotonic()
        if now - space.looked_at < LOOK_SECONDS:
            return
        space.looked_at = now
        store = self._caches.store
        generation = self._caches.guarded(store.generation, self._generation or 0)
        if self._generation is not None and generation != self._generation:
            self.questions.clear()
            space = self.questions.space(namespace)
            space.looked_at = now
        self._generation = generation
        nothing: list[Stored] = []
        for stored in self._caches.guarded(lambda: store.newer(namespace, space.seq), nothing):
            self._take(space, stored)

    def _take(self, space: Space, stored: Stored) -> None:
        """Add another program's entry, or an earlier run's; one that cannot be read is passed over."""
        import numpy as np

        with self.questions.lock:
            space.seq = max(space.seq, stored.seq)
            if stored.vector is None or stored.text is None or stored.embedder != self._embedder.name:
                return
            if stored.group is None or space.has(stored.key, stored.expires_at) or not stored.live(time.time()):
                return
            try:
                space.add(stored.key, stored.text, np.frombuffer(stored.vector, "<f4"), stored.group, stored.expires_at)
                space.frequencies.add(content_words(stored.text))
            except ValueError as error:
                self.failed(error)

    def _state(self, name: str) -> Mapping[str, Any] | None:
        return self._caches.guarded(lambda: self._caches.store.state(STATE + name), None)

    def _save(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if not at_once and now - self._saved_at < SAVE_SECONDS:
            return
        self._saved_at = now
        for name, state in self.questions.states().items():
            self._caches.guarded(lambda: self._caches.store.set_state(STATE + name, state), None)  # noqa: B023 - called at once


def _unread(_one: str, _other: str) -> None:
    """Read nothing: what was to do so could not be loaded."""
