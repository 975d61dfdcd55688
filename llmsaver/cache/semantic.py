"""Which stored answer, if any, a new question may have."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmsaver.cache import guards
from llmsaver.cache.calibration import Calibration
from llmsaver.cache.decision import Decision
from llmsaver.cache.evidence import Evidence, Neighbour, weigh
from llmsaver.cache.judge import Asked, Judge
from llmsaver.cache.lexis import content_words
from llmsaver.cache.prior import shipped
from llmsaver.cache.space import Space
from llmsaver.cache.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llmsaver.cache.guards import Sketch
    from llmsaver.cache.judge import Reads
    from llmsaver.cache.prior import Prior
    from llmsaver.cache.space import Known

__all__ = ["Questions"]

# The log-odds that one answer serves two questions that the guards call equivalent: 99.75 %.
ALIKE_LOGIT = 6.0
# Spaces in memory, and questions in each and in all (2.5 kB each); the store may hold more.
SPACES, QUESTIONS, ALL_QUESTIONS = 128, 200_000, 250_000
_CHECKED, _JUDGED = 5, 3
_CONTESTED = 0.1
# What the nearest question with another answer takes off the judge's log-odds, for each unit of cosine that it is
# nearer than ROOM behind: where questions lie close, words nearly the same more often want different answers. Chosen on
# the first shuffle of each stream and the first trap suite.
ROOM, CROWDED = 0.25, 15.0
# One witness is none: a lone neighbour is judged by its words alone.
_WITNESSES = 2


@dataclass(frozen=True, slots=True)
class _Unread:
    """A question and a stored one, still to be read together: its log-odds before that, and the decision else."""

    asked: Asked
    stored: Asked
    candidate: Known
    logit: float
    voted: Decision


class Questions:
    """All spaces, and by feature what was learned: a calibration for each channel and a tally; thread-safe.

    ``max_wrong`` is the promised share of wrong answers among those served. ``state`` returns what an earlier program
    learned, by name; ``changed`` are the names whose state is to be kept anew (see ``states``). ``reads`` returns the
    log-odds of two texts read together, for a lone neighbour; without it only equivalence counts.
    """

    def __init__(
        self,
        max_wrong: float,
        dimensions: int,
        *,
        state: Callable[[str], Mapping[str, Any] | None] = lambda _: None,
        prior: Prior | None = None,
        reads: Reads | None = None,
    ) -> None:
        self.max_wrong = max_wrong
        self._dimensions = dimensions
        self._state = state
        self._prior = prior or shipped()
        self._judge = None if reads is None else Judge(reads)
        self._spaces: OrderedDict[str, Space] = OrderedDict()
        self._calibrations: dict[tuple[str, str], Calibration] = {}
        self._tallies: dict[str, Tally] = {}
        self._changed: set[str] = set()
        self.lock = threading.RLock()
        _all.add(self)

    def decide(self, namespace: str, feature: str, text: str, vector: Any, now: float) -> Decision:
        """Return which stored answer the question may have, and why (not)."""
        known = self._known(namespace, feature, text, vector, now)
        if isinstance(known, Decision):
            return known
        # Reading takes longer than all else here, so nobody waits for it.
        reading = self._judge.reading(known.asked, known.stored) if self._judge else None
        if reading is None:
            return known.voted
        with self.lock:
            judged = self._reworded(feature, "judged", known.logit + reading, known.candidate, known.voted.near)
        return replace(judged, voted=known.voted)

    def _known(self, namespace: str, feature: str, text: str, vector: Any, now: float) -> Decision | _Unread:
        """Return the decision, or the neighbour that is to be read together with the question before it."""
        with self.lock:
            space = self.space(namespace)
            words = content_words(text)
            space.frequencies.add(words)
            near = space.near(vector, now)
            if not near:
                return Decision(None, "no question like it is stored")
            asked = guards.sketch(text)
            keys: dict[int, str] = {}
            for known, _ in near:
                keys.setdefault(known.answer, known.key)
            alike = self._alike(feature, asked, near, keys)
            if alike is not None:
                return alike
            voted = self._voted(space, feature, asked, words, near, keys)
            if voted.evidence is None or voted.evidence.agreeing >= _WITNESSES:
                return voted
            return self._likeliest(Asked(text, asked), near, voted) or voted

    def _voted(
        self,
        space: Space,
        feature: str,
        asked: Sketch,
        words: frozenset[str],
        near: list[tuple[Known, Neighbour]],
        keys: dict[int, str],
    ) -> Decision:
        """Return the decision by the neighbours' answers."""
        evidence = weigh(words, [neighbour for _, neighbour in near], space.frequencies, space.record)
        by_place = {neighbour.place: known for known, neighbour in near}
        supporters = [by_place[each.place] for each in evidence.supporters[:_CHECKED]]
        return self._agreed(feature, asked, evidence, supporters, keys)

    def _alike(
        self, feature: str, asked: Sketch, near: list[tuple[Known, Neighbour]], keys: dict[int, str]
    ) -> Decision | None:
        """Return the decision for a question that is a stored one in other words, None where it is not."""
        for known, _ in near[:_CHECKED]:
            if guards.equivalent(asked, known.sketch) and not self._contested(asked, known, near):
                # It is served all the same, and makes room in the budget of what the judge admits.
                self.calibration(feature, "judged").admits(ALIKE_LOGIT)
                return self._reworded(feature, "alike", ALIKE_LOGIT, known, keys)
        return None

    def _likeliest(self, asked: Asked, near: list[tuple[Known, Neighbour]], voted: Decision) -> _Unread | None:
        """Return the neighbour that, before it is read, is most likely the question in other words; None: none is.

        A channel of its own: where classes make the judge wrong it falls silent, and sure rewordings are still served.
        """
        best: _Unread | None = None
        for known, neighbour in near[:_JUDGED] if self._judge else ():
            stored = Asked(known.text, known.sketch)
            logit = self._judge.beforehand(asked, stored, neighbour.similarity) if self._judge else None
            # Last, for it parses every stored question that is about as near.
            if logit is None or self._contested(asked.sketch, known, near):
                continue
            logit -= _crowded(known, neighbour, near)
            if best is None or logit > best.logit:
                best = _Unread(asked, stored, known, logit, voted)
        return best

    def _reworded(self, feature: str, channel: str, logit: float, known: Known, keys: Mapping[int, str]) -> Decision:
        calibration = self.calibration(feature, channel)
        serve = known.key if calibration.admits(logit) else None
        chance = calibration.probability(logit)
        why = f"a stored question in other words ({chance:.1%} right)"
        return Decision(serve, why, known.key, known.answer, channel, logit, chance, fit=True, near=keys)

    def _contested(self, asked: Sketch, known: Known, near: list[tuple[Known, Neighbour]]) -> bool:
        """Return whether a question with another answer is about as near, and nothing tells it from the one asked.

        Then words alone decide nothing: on Banking77 most wrong answers by them were such, and a vote settles them.
        """
        best = near[0][1].similarity
        return any(
            other.answer != known.answer
            and neighbour.similarity > best - _CONTESTED
            and not guards.VETOES & guards.differences(asked, other.sketch)
            for other, neighbour in near
        )

    def _agreed(
        self, feature: str, asked: Sketch, evidence: Evidence, supporters: list[Known], keys: dict[int, str]
    ) -> Decision:
        """Return the decision by the vote of the neighbours' answers."""
        first = supporters[0]
        logit = self._prior.logit(evidence.features)
        calibration = self.calibration(feature, "agreement")
        admitted = calibration.admits(logit)
        chance = calibration.probability(logit)
        # What one neighbour with this answer shares with the question, or what sets two of them apart, is no obstacle.
        vetoes = guards.VETOES.intersection(*(guards.differences(asked, each.sketch) for each in supporters))
        alone = evidence.agreeing < _WITNESSES
        if vetoes:
            why = f"differs from every stored question with this answer: {', '.join(sorted(vetoes))}"
        elif alone:
            why = "one stored question is near, and not alike enough"
        else:
            why = f"{evidence.agreeing} stored questions agree ({chance:.1%} right)"
        fit = not vetoes and not alone
        serve = first.key if admitted and fit else None
        return Decision(
            serve, why, first.key, evidence.answer, "agreement", logit, chance, fit=fit, near=keys, evidence=evidence
        )

    def learn(self, namespace: str, feature: str, decision: Decision, *, right: bool, audited: bool) -> None:
        """Take in whether the answer that a decision was about is right: after a miss, or ``audited`` after a hit."""
        with self.lock:
            self.calibration(feature, decision.channel).observe(decision.logit, right=right)
            voted = decision.voted
            if voted is not None and voted.answer == decision.answer:
                self.calibration(feature, voted.channel).observe(voted.logit, right=right)
                self._changed.add(f"{voted.channel}:{feature}")
            evidence = decision.evidence if voted is None or voted.answer != decision.answer else voted.evidence
            if evidence is not None:
                self.space(namespace).record.note(evidence, right=right)
            tally = self.tally(feature)
            tally.note(decision, right=right, audited=audited)
            self._changed |= {f"{decision.channel}:{feature}", f"tally:{feature}"}

    def unmatched(self, feature: str) -> None:
        """Count a question that no stored one is like, for the curve of what other promises would serve."""
        with self.lock:
            self.tally(feature).unmatched()
            self._changed.add(f"tally:{feature}")

    def count_hit(self, feature: str) -> None:
        """Count a hit."""
        with self.lock:
            self.tally(feature).served += 1
            self._changed.add(f"tally:{feature}")

    def space(self, namespace: str) -> Space:
        """Return a namespace's questions."""
        with self.lock:
            space = self._spaces.get(namespace)
            if space is None:
                space = self._spaces[namespace] = Space(self._dimensions, QUESTIONS)
                while len(self._spaces) > 1 and (len(self._spaces) > SPACES or self._kept() > ALL_QUESTIONS):
                    self._spaces.popitem(last=False)
            self._spaces.move_to_end(namespace)
            return space

    def _kept(self) -> int:
        return sum(map(len, self._spaces.values()))

    def clear(self) -> None:
        """Forget all questions: entries were deleted by somebody else; what was learned stays."""
        with self.lock:
            self._spaces.clear()

    def calibration(self, feature: str, channel: str) -> Calibration:
        """Return how a feature's traffic has borne out the prior."""
        with self.lock:
            found = self._calibrations.get((feature, channel))
            if found is None:
                state = self._state(f"{channel}:{feature}")
                found = Calibration.restored(self.max_wrong, state or {}, rises=channel != "judged")
                self._calibrations[feature, channel] = found
            return found

    def tally(self, feature: str) -> Tally:
        """Return a feature's counts and outcomes."""
        with self.lock:
            found = self._tallies.get(feature)
            if found is None:
                state = self._state(f"tally:{feature}")
                found = self._tallies[feature] = Tally.restored(self.max_wrong, state or {})
            return found

    def states(self) -> dict[str, dict[str, Any]]:
        """Return, once, what was learned since the last time, by name."""
        with self.lock:
            changed, self._changed = self._changed, set()
            told = {}
            for name in changed:
                channel, _, feature = name.partition(":")
                source: Any = self.tally(feature) if channel == "tally" else self.calibration(feature, channel)
                told[name] = source.state()
            return told


_all: weakref.WeakSet[Questions] = weakref.WeakSet()


def _after_fork() -> None:
    """Give a child locks of its own: a thread that held one is not in it."""
    for each in _all:
        each.lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)


def _crowded(known: Known, neighbour: Neighbour, near: list[tuple[Known, Neighbour]]) -> float:
    """Return what to take off the log-odds of a neighbour because one with another answer is not far behind it."""
    rival = max((each.similarity for other, each in near if other.answer != known.answer), default=-1.0)
    return CROWDED * max(0.0, ROOM - (neighbour.similarity - rival))
