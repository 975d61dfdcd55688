"""Whether a cheaper tier's answer may be served: what is wrong with it, how sure it is, and how sure it must be."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmsaver.errors import BudgetExceeded, in_words
from llmsaver.middleware.cascade_evidence import PREFIX, WHOLE, lane_of
from llmsaver.router.agreement import by_agreement
from llmsaver.router.answers import answer_of
from llmsaver.router.blend import combined
from llmsaver.router.confidence import Confidence, by_logprobs, prefix_confidence
from llmsaver.router.merit import PriceLevel, merit
from llmsaver.router.selfcheck import self_check_body, self_check_read
from llmsaver.router.validators import objection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from llmsaver.middleware.cascade_evidence import Evidence
    from llmsaver.middleware.cascade_terms import Terms
    from llmsaver.router.gatekeeper import Gatekeeper
    from llmsaver.router.tier import Tier
    from llmsaver.router.views import Answer, Asked

    # Asks the same tier once more with another body; None where it does not answer.
    AskAgain = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any] | None]]

__all__ = ["Heard", "Judge", "Verdict", "expected_gain"]

log = logging.getLogger("llmsaver")

# Two samples at temperature 0 are one sample.
_WARM = 0.7
# The signal of answers that say nothing of how sure they are.
_NONE = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer of a tier as the judge gets it: in the tier's dialect, with the body that it was asked with.

    ``price``: what the last tier would have cost for it, in nano-dollars, 0 where unknown. ``again`` asks the same tier
    another question; None where nothing more may be sent. ``gain``: by how much a gatekeeper expects the last tier to
    be better.
    """

    tier: Tier
    dialect: str
    body: Mapping[str, Any]
    message: Mapping[str, Any]
    price: int = 0
    again: AskAgain | None = None
    gain: float | None = None

    @property
    def answer(self) -> Answer:
        """What it says."""
        return answer_of(self.dialect, self.message)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an answer is accepted and ``why`` (a sentence); ``merit`` is its confidence made comparable.

    ``signals`` is what was measured; ``threshold`` what the merit was held against, None where it did not matter.
    """

    accepted: bool
    why: str
    merit: float | None = None
    signal: str = _NONE
    threshold: float | None = None
    signals: Mapping[str, float] = field(default_factory=dict)


class Judge:
    """Judges answers; whatever goes wrong in it, the answer is not accepted: the safe side is up."""

    def __init__(self, terms: Terms, evidence: Evidence) -> None:
        self._terms = terms
        self._evidence = evidence
        self._levels = PriceLevel()

    async def judge(self, feature: str, asked: Asked, heard: Heard) -> Verdict:
        """Judge a whole answer; in a tool loop only what is plainly wrong with it, since the turn is decided."""
        try:
            answer = heard.answer
            objected = objection(asked, answer, self._terms.validators)
            if objected is not None:
                return Verdict(accepted=False, why=f"{objected.validator}: {objected.why}")
            if asked.in_tool_loop:
                return Verdict(accepted=True, why="nothing is wrong with it, and the turn was decided before")
            found = await self.confidence(feature, asked, heard, answer)
            return self._held(feature, heard, answer, found)
        except BudgetExceeded:
            raise
        except Exception as error:
            log.warning("llmsaver: an answer could not be judged: %s", in_words(error), exc_info=True)
            return Verdict(accepted=False, why=f"it could not be judged ({type(error).__name__})")

    def prefix(self, feature: str, heard: Heard) -> Verdict | None:
        """Judge the beginning of an answer; None where nothing can be said of it yet."""
        try:
            answer = heard.answer
            if answer.calls:
                return None
            found = prefix_confidence(answer.text, answer.logprobs)
            return None if found is None else self._held(feature, heard, answer, found)
        except Exception as error:
            log.warning("llmsaver: an answer's beginning could not be judged: %s", in_words(error), exc_info=True)
            return Verdict(accepted=False, why=f"it could not be judged ({type(error).__name__})")

    def beginning(self, answer: Answer) -> Confidence | None:
        """Return the confidence that the beginning of a whole answer would have had."""
        tokens = self._terms.hold_tokens
        return prefix_confidence(answer.text[: 4 * tokens], (answer.logprobs or ())[:tokens] or None)

    async def confidence(self, feature: str, asked: Asked, heard: Heard, answer: Answer) -> Confidence | None:
        """Return how sure an answer is, by the first signal that there is: none of them needs training."""
        found = by_logprobs(answer)
        if found is None and self._terms.agreement and heard.again is not None:
            other = await heard.again(_warmed(heard.body))
            if other is not None:
                found = by_agreement(answer, answer_of(heard.dialect, other), asked)
        if found is None and self._terms.self_check and self._evidence.self_check_helps(feature, heard.tier.model):
            found = await self.self_check(heard, answer)
        return found

    async def self_check(self, heard: Heard, answer: Answer) -> Confidence | None:
        """Return what a tier itself says of its answer; None where it says nothing that can be read."""
        if heard.again is None:
            return None
        said = await heard.again(self_check_body(heard.dialect, heard.body, answer))
        return None if said is None else self_check_read(answer_of(heard.dialect, said))

    def merit(self, feature: str, heard: Heard, answer: Answer, found: Confidence) -> float:
        """Return a confidence made comparable with those of other answers."""
        price = self._levels.relative(feature, heard.price)
        told = found.signal in ("logprobs", PREFIX)
        value = merit(found.value, price=price, chars=len(answer.text) if told else 0)
        blend = getattr(self._terms.gatekeeper, "blend", None)
        return combined(value, heard.gain, blend) or 0.0

    def _held(self, feature: str, heard: Heard, answer: Answer, found: Confidence | None) -> Verdict:
        """Hold a confidence against the bar."""
        bar = self._evidence.bar(feature, heard.tier.model, WHOLE if found is None else lane_of(found.signal))
        if found is None:
            threshold = self._evidence.threshold(bar, _NONE)
            accepted = threshold <= 0
            return Verdict(accepted, "nothing says how sure it is", threshold=threshold)
        value = self.merit(feature, heard, answer, found)
        if not math.isfinite(value):
            return Verdict(accepted=False, why=f"its {found.signal} are no number", signal=found.signal)
        threshold = self._evidence.threshold(bar, found.signal)
        accepted = value >= threshold
        if bar.signal not in (None, found.signal):
            why = f"{found.signal} has no evidence; what was promised rests on {bar.signal}"
        else:
            why = f"{found.signal} {value:.3f} {'reaches' if accepted else 'is below'} {threshold:.3f}"
        signals = {found.signal: found.value, "merit": value, **_finite(found.details)}
        return Verdict(accepted, why, value, found.signal, threshold, signals)


def expected_gain(keeper: Gatekeeper | None, text: str) -> float | None:
    """Return by how much a gatekeeper expects the last tier to be better; None where there is none, or it breaks."""
    if keeper is None:
        return None
    try:
        return float(keeper.gain([text])[0])
    except Exception as error:  # noqa: BLE001 - numpy is missing, or its file is of another version
        log.warning("llmsaver: the gatekeeper says nothing: %s", in_words(error))
        return None


def _warmed(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body whose answer is another sample."""
    warmed = {key: value for key, value in body.items() if key != "seed"}
    cold = warmed.get("temperature")
    if isinstance(cold, int | float) and cold < _WARM:
        warmed["temperature"] = _WARM
    return warmed


def _finite(details: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in details.items() if math.isfinite(value)}
