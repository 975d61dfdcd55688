"""What an answer cost whose usage was never told: a range from what was sent and what arrived."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from llmsaver.pricing.limits import answers, asked_tokens, model_tokens, thinks
from llmsaver.pricing.measure import measure, text_bytes
from llmsaver.pricing.messages_reading import read_messages
from llmsaver.pricing.reading import Reading, as_dict, read_embeddings, read_openai

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.pricing.card import Card
    from llmsaver.pricing.values import Billed

__all__ = ["estimate_reading", "visible_bytes"]

# Bytes per token: the longest tokens of the vendors' vocabularies have 128, three is on the dear side of ordinary prose
# (four to five) and code (three to four), and one is the most tokens there can be.
_MOST_BYTES: Final = 128
_USUAL_BYTES: Final = 3
# Where not even the request is known.
_LONGEST: Final = 131_072
_LONGEST_INPUT: Final = 1_048_576
_PLACEHOLDER: Final = 1_000
_INPUTS: Final = frozenset(
    [
        "input",
        "cache_read",
        "cache_write_5m",
        "cache_write_30m",
        "cache_write_1h",
        "cache_write_12h",
        "audio_in",
        "audio_cached",
        "image_in",
        "image_cached",
    ]
)
_NOT_TEXT: Final = frozenset(
    [
        "id",
        "type",
        "role",
        "status",
        "call_id",
        "object",
        "index",
        "model",
        "signature",
        "encrypted_content",
        "finish_reason",
        "logprobs",
        "annotations",
        "citations",
        "created",
        "system_fingerprint",
        "data",
    ]
)


def estimate_reading(
    billed: Billed,
    usage: Mapping[str, Any],
    card: Card,
    known: Reading | None = None,
    *,
    aborted: bool = False,
    hard: bool = False,
) -> Reading:
    """Return a reading with a range for what the usage object leaves out.

    ``known`` is what could be read of it. ``aborted``: an output count in it is what had been told by then, so the
    least; ``hard``: the figure is the most that can have been billed.
    """
    if known is None and usage:
        known = _read(billed.dialect, usage)
    known = known or Reading(unknown="input output", flags=["usage:missing"])
    reading = Reading(flags=[*known.flags, "aborted"] if aborted else known.flags, model=known.model)
    inputs = [pair for pair in known.units if pair[0] in _INPUTS]
    if "input" in known.unknown:
        least, likely, most, dearest = _input(billed, card)
        if "usage:zero" in known.flags or (aborted and billed.message is None):
            # A provider that had not begun, or says so, bills nothing; that is a bound and not the figure.
            least = 0
        reading.input_tokens = most if hard else likely
        dear = [(dearest, most)]
        parts = ([("cache_read", least)], dear if hard else [("input", likely)], dear)
    else:
        reading.input_tokens = known.input_tokens
        parts = (_inputs(known.low, inputs), inputs, _inputs(known.high, inputs))
    reading.low, reading.units, reading.high = (list(part) for part in parts)
    outputs = [pair for pair in known.units if pair[0] not in _INPUTS]
    if billed.dialect != "embeddings" and ("output" in known.unknown or aborted):
        least, likely, most = _output(billed, card, sum(number for _, number in outputs))
        reading.low.append(("output", least))
        reading.units.append(("output", most if hard else likely))
        reading.high.append(("output", most))
    else:
        reading.append(outputs)
    return reading


def _read(dialect: str, usage: Mapping[str, Any]) -> Reading:
    if dialect == "messages":
        return read_messages(usage)[0]
    if dialect == "embeddings":
        return read_embeddings(usage)
    return read_openai(usage, ("prompt", "completion") if dialect == "chat" else ("input", "output"))


def _inputs(units: list[tuple[str, int]] | None, otherwise: list[tuple[str, int]]) -> list[tuple[str, int]]:
    return otherwise if units is None else [pair for pair in units if pair[0] in _INPUTS]


def _input(billed: Billed, card: Card) -> tuple[int, int, int, str]:
    """Return least, likely and most input tokens, and the dearest kind they may be."""
    if billed.body is None:
        return 1, _PLACEHOLDER, card.context_window or _LONGEST_INPUT, "cache_write_30m"
    found = measure(billed.body, billed.dialect, card.provider, card.model)
    most = found.tokens
    if found.windowed or found.reasons:
        most = max(most, card.context_window or _LONGEST_INPUT)
    likely = min(-(-found.text // _USUAL_BYTES) + found.image_tokens, most)
    kinds = {"input"} | ({"cache_write_30m"} if billed.dialect in ("chat", "responses") else set())
    kinds |= {f"cache_write_{each}" for each in found.lifetimes if each in ("5m", "1h", "30m", "12h")}
    dearest = max(sorted(kinds), key=lambda kind: card.step(most).rates[kind])
    return max(1, found.text // _MOST_BYTES), max(1, likely), max(1, most), dearest


def _output(billed: Billed, card: Card, told: int) -> tuple[int, int, int]:
    """Return least, likely and most output tokens; ``told`` had been reported by then."""
    body = billed.body or {}
    model = (billed.model or billed.asked or card.model).lower()
    arrived = visible_bytes(billed.message)
    least = max(told, -(-arrived // _MOST_BYTES))
    cap = asked_tokens(body, billed.dialect)
    if cap is None:
        cap = model_tokens(model, card.context_window) or _LONGEST
    most = max(cap * answers(body, billed.dialect), least, 1)
    if billed.message is None and billed.body is None:
        return least, max(least, min(_PLACEHOLDER, most)), most
    counted = billed.message is not None and not thinks(body, model)
    likely = max(-(-arrived // _USUAL_BYTES), least, 1) if counted else most
    return least, min(likely, most), most


def visible_bytes(message: Mapping[str, Any] | None) -> int:
    """Return the bytes of all that a model wrote in an answer of any dialect: texts, thoughts, tool arguments."""
    if not message:
        return 0
    pending: list[object] = [as_dict(message).get(name) for name in ("choices", "output", "content")]
    total = 0
    while pending:
        one = pending.pop()
        if isinstance(one, str):
            total += text_bytes(one)
        elif isinstance(one, list):
            pending += one
        elif isinstance(one, dict):
            for key, value in one.items():
                if key == "input" and isinstance(value, dict):
                    total += text_bytes(json.dumps(value, ensure_ascii=False, default=str)) if value else 0
                elif key not in _NOT_TEXT:
                    pending.append(value)
    return total
