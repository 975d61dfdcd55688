"""The usage object of the messages dialect as disjoint counts: additive, split by lifetime, and told per iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from llmsaver.pricing.reading import Reading, as_dict, count, main_count, strange_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["read_messages"]

_TOP: Final = frozenset(
    [
        "input_tokens",
        "output_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "cache_creation",
        "output_tokens_details",
        "server_tool_use",
        "service_tier",
        "speed",
        "inference_geo",
        "iterations",
        "fallback_credit",
        "type",
        "model",
        "total_tokens",
        "llmsaver",
    ]
)
_SPLIT: Final = frozenset(("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"))
# Iterations of the answer itself; a compaction or an advisor is billed on top of what the top level says.
_OWN: Final = frozenset(("message", "fallback_message"))
_EXTRA: Final = frozenset(("compaction", "advisor_message"))


def read_messages(usage: Mapping[str, Any]) -> list[Reading]:
    """Return one reading per model call that was billed, the answer's own first.

    Without ``iterations`` that is the top level. With them it is their sum, entry by entry, as the vendor documents:
    the top level leaves out compactions and advisors, and of a loop of server tools it may tell the first input only.
    """
    top = _entry(usage)
    strange_fields(usage, _TOP, top.flags)
    if usage.get("fallback_credit"):
        top.flags.append("fallback_credit")
    written = usage.get("iterations")
    if not isinstance(written, list) or not written:
        if written:
            top.flags.append("usage:iterations")
        return [top]
    entries = [(str(entry.get("type", "message")), entry) for entry in map(as_dict, written)]
    own = [_entry(entry) for kind, entry in entries if kind in _OWN]
    extra = [_entry(entry) for kind, entry in entries if kind in _EXTRA]
    for kind, _ in entries:
        if kind not in _OWN and kind not in _EXTRA:
            top.flags.append(f"iteration:{kind}")
    if not own or _told_less(own, top):
        # The entries don't account for the answer: the top level is billed, and the difference is flagged.
        if own:
            top.flags.append("usage:iterations")
        return [top, *extra]
    own[0].flags += top.flags
    if any(kind == "fallback_message" for kind, _ in entries):
        # Which attempts of a refused call are billed depends on when each was refused, which is not told.
        own[0].flags.append("fallback")
        for reading in own[:-1]:
            reading.low, reading.high = [], reading.units
    return [*own, *extra]


def _told_less(own: list[Reading], top: Reading) -> bool:
    """Whether the iterations of the answer add up to less than the answer."""
    if top.unknown:
        return False
    inputs = sum(reading.input_tokens for reading in own)
    outputs = sum(units for reading in own for kind, units in reading.units if kind in ("output", "reasoning"))
    told = sum(units for kind, units in top.units if kind in ("output", "reasoning"))
    return inputs < top.input_tokens or outputs < told


def _entry(usage: Mapping[str, Any]) -> Reading:
    reading = Reading()
    flags = reading.flags
    model = usage.get("model")
    reading.model = model if isinstance(model, str) else None
    fresh = main_count(usage, "input_tokens", flags)
    output = main_count(usage, "output_tokens", flags)
    missing = [name for name, total in (("input", fresh), ("output", output)) if total is None]
    reading.unknown = " ".join(missing)
    read = count(usage, "cache_read_input_tokens", flags)
    written = count(usage, "cache_creation_input_tokens", flags)
    units = reading.units
    if fresh:
        units.append(("input", fresh))
    if read:
        units.append(("cache_read", read))
    split = usage.get("cache_creation")
    if written or split:
        written = _writes(reading, written, as_dict(split))
    reading.input_tokens = (fresh or 0) + read + written
    reading.append(_output(usage, output or 0, flags))
    return reading


def _output(usage: Mapping[str, Any], output: int, flags: list[str]) -> list[tuple[str, int]]:
    details = usage.get("output_tokens_details")
    thought = count(as_dict(details), "thinking_tokens", flags) if details else 0
    if thought > output:
        flags.append("usage:thinking_tokens")
        thought = output
    return [("output", output - thought), ("reasoning", thought)]


def _writes(reading: Reading, written: int, split: Mapping[str, Any]) -> int:
    """Book cache writes by lifetime and return their sum; what the split leaves open has either one."""
    flags = reading.flags
    short = count(split, "ephemeral_5m_input_tokens", flags)
    long = count(split, "ephemeral_1h_input_tokens", flags)
    strange_fields(split, _SPLIT, flags)
    left = written - short - long
    known = [pair for pair in (("cache_write_5m", short), ("cache_write_1h", long)) if pair[1]]
    if left <= 0:
        if left < 0 and written:
            flags.append("usage:cache_creation")
        reading.units += known
        return short + long
    # A delta's total outgrows message_start's split; and some servers send no split at all.
    flags.append("usage:cache_creation")
    reading.low = [*reading.units, *known, ("cache_write_5m", left)]
    reading.high = [*reading.units, *known, ("cache_write_1h", left)]
    reading.units += [*known, ("cache_write_5m", left)]
    return written
