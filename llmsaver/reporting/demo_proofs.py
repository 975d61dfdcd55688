"""Whether each layer of the demo had an effect: judged by what the upstream counted, never by a layer's word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmsaver.core.stack import layer_name
from llmsaver.reporting.demo_layers import FailOnce

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from llmsaver.core.entry import LayerAct
    from llmsaver.reporting.demo_calls import Said, Step
    from llmsaver.saver import Saver

__all__ = ["Made", "Proof", "prove"]

_OK = 200


@dataclass(frozen=True, slots=True)
class Made:
    """One call as it went: its number from 1, the step it belongs to, what was said, and the step's wall seconds."""

    number: int
    step: Step
    said: Said
    wall_s: float

    @property
    def tokens(self) -> tuple[int, int] | None:
        """Input and output tokens as the upstream counted them; None where no upstream was asked or it did not say."""
        entry = self.said.entry
        if entry is None:
            return self.said.usage
        return None if entry.usage is None else (entry.usage.input_tokens, entry.usage.output_tokens)

    @property
    def seconds(self) -> float:
        """Seconds from the request to the end of the answer, retries included."""
        entry = self.said.entry
        return self.wall_s if entry is None or entry.latency_s is None else entry.latency_s

    @property
    def acts(self) -> Sequence[LayerAct]:
        """What the layers did, each act once however many attempts repeated it."""
        return list(dict.fromkeys(self.said.entry.layers)) if self.said.entry else ()


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether ``layer`` had an effect, and the figures that say so."""

    layer: str
    holds: bool
    figures: str


def prove(saver: Saver, calls: Sequence[Made]) -> list[Proof]:
    """Return one proof per layer of the stack, outermost first; a layer that nobody can judge has no proven effect."""
    proofs = []
    for layer in saver.layers:
        name = layer_name(layer)
        judge = _JUDGES.get(name)
        holds, figures = judge(saver, calls) if judge else (False, "the demo has no proof for this layer")
        proofs.append(Proof(name, holds, figures))
    return proofs


def _record(saver: Saver, calls: Sequence[Made]) -> tuple[bool, str]:
    """Look every call's entry up: whole, and the one its answer names."""
    kept = [(call.said, call.said.entry) for call in calls if call.said.entry is not None and not call.said.refused]
    whole = [
        entry
        for said, entry in kept
        if saver.entry(entry.id) is entry and entry.complete and entry.status == _OK and said.noted in {None, entry.id}
    ]
    holds = bool(kept) and len(whole) == len(kept) == len({entry.id for entry in whole})
    return holds, f"{len(whole)} of {len(kept)} calls kept, whole, under ids of their own"


def _memo(_saver: Saver, calls: Sequence[Made]) -> tuple[bool, str]:
    """Compare each repeated request with the first: the same text, and nothing left for an upstream."""
    first = {call.step.role: call for call in calls}
    repeats = [call for call in calls if call.step.repeats]
    right = [
        call
        for call in repeats
        if call.said.entry is not None
        and not call.said.entry.attempts
        and call.said.text == first[call.step.repeats].said.text
    ]
    tokens = [sum(first[call.step.repeats].tokens or ()) for call in right]
    figures = f"{len(right)} of {len(repeats)} repeats answered without an upstream call"
    return bool(repeats) and len(right) == len(repeats), f"{figures}, {sum(tokens)} tokens not spent"


def _house_style(_saver: Saver, calls: Sequence[Made]) -> tuple[bool, str]:
    """Compare with the same question past every layer: the upstream counted another prompt, and no longer an answer."""
    by_role = {call.step.role: call for call in calls}
    bare, styled = (by_role[role].tokens if role in by_role else None for role in ("bare", "styled"))
    if bare is None or styled is None:
        return False, "no two calls to compare"
    figures = f"the same question: {bare[1]} -> {styled[1]} tokens out, {bare[0]} -> {styled[0]} in"
    return styled[0] != bare[0] and styled[1] <= bare[1], figures


def _fail_once(saver: Saver, calls: Sequence[Made]) -> tuple[bool, str]:
    """Look for the SDK's second attempt, inside the entry of the first, and for the answer."""
    layer = next((layer for layer in saver.layers if isinstance(layer, FailOnce)), None)
    entry = next((call.said.entry for call in calls if call.step.role == "retried"), None)
    if layer is None or entry is None:
        return False, "no call was retried"
    holds = layer.retried == [0, 1] and len(entry.attempts) == 1 and entry.status == _OK
    return holds, "one simulated 503, retried by the SDK, one entry for both attempts"


def _budget(saver: Saver, calls: Sequence[Made]) -> tuple[bool, str]:
    """Look whether the call that could not fit was refused before an attempt, or let past where budgets only warn."""
    call = next((call for call in calls if call.step.role == "capped"), None)
    if call is None or call.said.entry is None:
        return False, "no call was made under a budget"
    if saver.settings.mode == "observe":
        return not call.said.refused, "mode observe: counted and let past"
    holds = call.said.refused and not call.said.entry.attempts
    return holds, "a call that could pass its cap was refused, nothing was sent" if holds else "the cap did not hold"


_JUDGES: Mapping[str, Callable[[Saver, Sequence[Made]], tuple[bool, str]]] = {
    "record": _record,
    "memo": _memo,
    "house-style": _house_style,
    "fail-once": _fail_once,
    "budget": _budget,
}
