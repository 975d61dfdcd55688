"""The most a call can cost, before it is sent."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from llmsaver.pricing.limits import answers, asked_tokens, model_tokens
from llmsaver.pricing.measure import Measure, measure, text_bytes
from llmsaver.pricing.money import MILLION, bill
from llmsaver.pricing.values import UNPRICED, Bound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.pricing.card import Card, Step

__all__ = ["bound_call", "output_room"]

# Flags of a card under which its rates are no proof: who answers, or on which terms, is not known.
_UNPROVEN: Final = (UNPRICED, "tier:", "speed:", "geo:", "region:", "assumed-provider:")
# Known to cost at most the list price, which is what the bound takes.
_AT_MOST_LIST: Final = frozenset(("tier:flex", "tier:scale"))
_LIFETIMES: Final = {"5m": "cache_write_5m", "1h": "cache_write_1h", "30m": "cache_write_30m", "12h": "cache_write_12h"}


def bound_call(body: Mapping[str, Any], dialect: str, provider: str, cards: tuple[Card, ...]) -> Bound:
    """Return the bound over every set of terms that may apply.

    Input: no token is shorter than a byte, so the bytes of all text bound it, plus what providers wrap around messages
    and tools, plus the most that media can count as; at the dearest of fresh input and the cache writes that may
    happen, past the long-context threshold where the input may be that long. Output: the request's max-tokens value
    for each choice (the model's documented maximum without one), reasoning included. Source: facts on budgets.
    """
    model = _model(body)
    found = measure(body, dialect, provider, model)
    reasons = list(found.reasons)
    tokens = _input_tokens(found, cards, reasons)
    output, output_reason = _output_tokens(body, dialect, model, cards)
    if output_reason:
        reasons.append(output_reason)
    input_sum = total = 0
    for card in cards:
        reasons += _doubts(card)
        for step in _reachable(card, tokens):
            spent = _input_sum(step, card, found, tokens, dialect, reasons)
            longest = output * _output_rate(step, card, body) if output else 0
            input_sum = max(input_sum, spent)
            total = max(total, spent + longest)
    return Bound(
        nano_usd=bill(total, up=True),
        tokens=tokens + output,
        unbounded=tuple(dict.fromkeys(reasons)),
        input_nano=bill(input_sum, up=True),
        input_tokens=tokens,
        output_tokens=output,
    )


def output_room(
    remaining_nano: int, body: Mapping[str, Any], dialect: str, provider: str, cards: tuple[Card, ...]
) -> int | None:
    """Return the largest max-tokens value whose bound is at most ``remaining_nano``, never above the request's own."""
    model = _model(body)
    found = measure(body, dialect, provider, model)
    reasons = list(found.reasons)
    tokens = _input_tokens(found, cards, reasons)
    own, _ = _output_tokens({**body, "n": 1, "prediction": None}, dialect, model, cards)
    room = own or None
    choices = answers(body, dialect)
    for card in cards:
        reasons += _doubts(card)
        for step in _reachable(card, tokens):
            each = _output_rate(step, card, body)
            left = remaining_nano * MILLION - _input_sum(step, card, found, tokens, dialect, reasons)
            left -= _predicted(body) * each
            if left < 0:
                room = 0
            elif each:
                fits = left // (each * choices)
                room = fits if room is None else min(room, fits)
    return None if reasons else room


def _doubts(card: Card) -> list[str]:
    return [flag for flag in card.flags if flag.startswith(_UNPROVEN) and flag not in _AT_MOST_LIST]


def _model(body: Mapping[str, Any]) -> str:
    model = body.get("model")
    return model.lower() if isinstance(model, str) else ""


def _input_tokens(found: Measure, cards: tuple[Card, ...], reasons: list[str]) -> int:
    if not found.windowed:
        return found.tokens
    windows = [card.context_window for card in cards if card.context_window]
    if not windows:
        reasons.append("document")
        return found.tokens
    # A provider refuses a request that is longer than the model's window.
    return max(found.tokens, *windows)


def _output_tokens(body: Mapping[str, Any], dialect: str, model: str, cards: tuple[Card, ...]) -> tuple[int, str]:
    if dialect == "embeddings":
        return 0, ""
    each = asked_tokens(body, dialect)
    if each is None:
        window = next((card.context_window for card in cards if card.context_window), None)
        each = model_tokens(model, window)
    if each is None:
        return 0, "no-max-tokens"
    return each * answers(body, dialect) + _predicted(body), ""


def _predicted(body: Mapping[str, Any]) -> int:
    """Rejected tokens of a prediction are billed as output, on top of what the answer shows."""
    prediction = body.get("prediction")
    if not isinstance(prediction, dict):
        return 0
    content = prediction.get("content")
    if isinstance(content, str):
        return text_bytes(content)
    parts = content if isinstance(content, list) else []
    return sum(text_bytes(str(part.get("text", ""))) for part in parts if isinstance(part, dict))


def _reachable(card: Card, tokens: int) -> list[Step]:
    return [step for step in card.steps if step.above == 0 or tokens > step.above]


def _input_sum(step: Step, card: Card, found: Measure, tokens: int, dialect: str, reasons: list[str]) -> int:
    """Return the input's bound in units times nano-dollars per million."""
    kinds = {"input", "cache_read"}
    if dialect in ("chat", "responses"):
        kinds.add("cache_write_30m")
    # A lifetime that nobody documents yet may cost as much as the longest.
    kinds |= {_LIFETIMES.get(lifetime, "cache_write_12h") for lifetime in found.lifetimes}
    text = max(_most(step, card, kind, reasons, asked=kind == "input") for kind in kinds)
    image = max(text, _most(step, card, "image_in", reasons)) if found.image_tokens else 0
    audio = max(text, _most(step, card, "audio_in", reasons, asked=True)) if found.audio_tokens else 0
    plain = tokens - found.image_tokens - found.audio_tokens
    return plain * text + found.image_tokens * image + found.audio_tokens * audio + step.rates["requests"]


def _output_rate(step: Step, card: Card, body: Mapping[str, Any]) -> int:
    kinds = ["output", "reasoning"]
    modalities = body.get("modalities")
    for word, kind in (("audio", "audio_out"), ("image", "image_out")):
        if isinstance(modalities, list) and word in modalities:
            kinds.append(kind)
    return max(_most(step, card, kind, []) for kind in kinds)


def _most(step: Step, card: Card, kind: str, reasons: list[str], *, asked: bool = False) -> int:
    """Return the most a kind can cost; a rate that is not known at all is a reason where it is sure to be billed."""
    rate = step.rates[kind]
    if kind in step.unsure:
        flag, _, rate = step.unsure[kind]
        if asked and flag.startswith(UNPRICED):
            reasons.append(flag)
    return rate if card.exact else math.ceil(rate * card.high)
