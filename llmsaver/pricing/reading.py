"""A provider's usage object as disjoint counts, read without trust: nonsense is flagged, never believed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Reading", "as_dict", "count", "read_embeddings", "read_openai", "strange_fields"]

# No single answer is this long; a number beyond it is a broken server, not a bill.
ABSURD: Final = 10**9
# Fields that change no price, by every server met so far; what is in none of these sets is flagged.
_TOP: Final = frozenset(
    [
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
        "input_tokens",
        "output_tokens",
        "input_tokens_details",
        "output_tokens_details",
        "cached_tokens",
        "prompt_cache_hit_tokens",
        "prompt_cache_miss_tokens",
        "queue_time",
        "prompt_time",
        "completion_time",
        "total_time",
        "cost",
        "cost_details",
        "is_byok",
        "cost_in_usd_ticks",
        "reasoning_tokens",
        "search_context_size",
        "audio_seconds",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "llmsaver",
    ]
)
_IN: Final = frozenset(
    [
        "cached_tokens",
        "cache_write_tokens",
        "cache_write_tokens_details",
        "audio_tokens",
        "image_tokens",
        "text_tokens",
        "cached_tokens_details",
        "video_tokens",
    ]
)
_OUT: Final = frozenset(
    [
        "reasoning_tokens",
        "audio_tokens",
        "text_tokens",
        "image_tokens",
        "accepted_prediction_tokens",
        "rejected_prediction_tokens",
    ]
)


@dataclass(slots=True)
class Reading:
    """Counts by kind, none of them zero; ``input_tokens`` is all of the input, which decides the long-context rate.

    ``low`` and ``high`` stand for ``units`` where the object leaves open which of two kinds was billed. ``unknown`` is
    "input", "output" or "input output": what the object does not tell in numbers that can be believed.
    """

    units: list[tuple[str, int]] = field(default_factory=list)
    input_tokens: int = 0
    flags: list[str] = field(default_factory=list)
    low: list[tuple[str, int]] | None = None
    high: list[tuple[str, int]] | None = None
    unknown: str = ""
    model: str | None = None

    def append(self, counted: Iterable[tuple[str, int]]) -> None:
        """Add counts that are certain, whichever way the rest was billed."""
        pairs = [pair for pair in counted if pair[1]]
        self.units += pairs
        if self.low is not None:
            self.low += pairs
        if self.high is not None:
            self.high += pairs


def as_dict(value: object) -> Mapping[str, Any]:
    """Return ``value`` where it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def count(owner: Mapping[str, Any], name: str, flags: list[str]) -> int:
    """Return a count; absent and null are 0, and so is what cannot be one, which is flagged."""
    value = owner.get(name)
    if type(value) is int and 0 <= value <= ABSURD:
        return value
    if value is None:
        return 0
    if type(value) is float and value.is_integer() and 0 <= value <= ABSURD:
        return int(value)
    flags.append(f"usage:{name}")
    return 0


def main_count(owner: Mapping[str, Any], name: str, flags: list[str]) -> int | None:
    """Return a total, or None where it is missing or cannot be one; both are flagged."""
    before = len(flags)
    number = count(owner, name, flags)
    if owner.get(name) is None:
        flags.append(f"usage:{name}")
    return None if len(flags) > before else number


def strange_fields(owner: Mapping[str, Any], known: frozenset[str], flags: list[str]) -> None:
    """Flag fields that nobody here knows and that count something."""
    if owner.keys() <= known:
        return
    for name in sorted(owner.keys() - known, key=str):
        value = owner[name]
        if isinstance(value, int | float) and value and value is not True:
            flags.append(f"field:{name}")


def read_openai(usage: Mapping[str, Any], names: tuple[str, str]) -> Reading:
    """Read a usage object whose totals include their parts.

    ``names``: ("prompt", "completion") for chat, ("input", "output") for responses.
    """
    first, second = names
    reading = Reading()
    flags = reading.flags
    strange_fields(usage, _TOP, flags)
    total_in = main_count(usage, f"{first}_tokens", flags)
    total_out = main_count(usage, f"{second}_tokens", flags)
    if total_in is None or total_out is None:
        reading.unknown = " ".join(
            name for name, total in (("input", total_in), ("output", total_out)) if total is None
        )
    if total_in is not None:
        reading.input_tokens = total_in
        _input(reading, usage, as_dict(usage.get(f"{first}_tokens_details")), total_in)
    if total_out is not None:
        details = as_dict(usage.get(f"{second}_tokens_details"))
        reading.append(_output(usage, details, total_in or 0, total_out, flags))
    return reading


def _input(reading: Reading, usage: Mapping[str, Any], details: Mapping[str, Any], total: int) -> None:
    flags = reading.flags
    strange_fields(details, _IN, flags)
    # Zero needs no proof that it is a count, and most of these are zero.
    cached = details.get("cached_tokens") and count(details, "cached_tokens", flags)
    if not cached:
        cached = count(usage, "prompt_cache_hit_tokens", flags) or count(usage, "cached_tokens", flags)
    written = (details.get("cache_write_tokens") and count(details, "cache_write_tokens", flags)) or 0
    audio = (details.get("audio_tokens") and count(details, "audio_tokens", flags)) or 0
    image = (details.get("image_tokens") and count(details, "image_tokens", flags)) or 0
    fresh = total - cached - written
    if fresh < 0:
        flags.append("usage:cached_tokens")
        _open(reading, [("input", total)], low=[("cache_read", total)])
        return
    writes = _writes(details, written, flags) if written else ()
    if audio > fresh:
        # Part of the audio came from the cache, and how much of what is cached was audio is not said.
        overlap = min(audio - fresh, cached)
        flags.append("usage:audio_tokens")
        _open(
            reading,
            [("cache_read", cached - overlap), *writes, ("audio_in", fresh), ("audio_cached", overlap)],
            low=[("cache_read", cached), *writes, ("audio_in", fresh)],
            high=[("audio_cached", cached), *writes, ("audio_in", fresh)],
        )
        return
    if image:
        image = min(image, fresh - audio)
    counted = (("input", fresh - audio - image), ("cache_read", cached), *writes)
    reading.append((*counted, ("audio_in", audio), ("image_in", image)) if audio or image else counted)


def _writes(details: Mapping[str, Any], written: int, flags: list[str]) -> tuple[tuple[str, int], ...]:
    """Split cache writes by lifetime; without a split they have the default one, thirty minutes."""
    split = as_dict(details.get("cache_write_tokens_details"))
    if not split:
        return (("cache_write_30m", written),)
    short, long = count(split, "ttl_30m_tokens", flags), count(split, "ttl_12h_tokens", flags)
    strange_fields(split, frozenset({"ttl_30m_tokens", "ttl_12h_tokens"}), flags)
    if short + long != written:
        flags.append("usage:cache_write_tokens_details")
        long = min(max(long, written - short), written)
        short = written - long
    return (("cache_write_30m", short), ("cache_write_12h", long))


def _output(
    usage: Mapping[str, Any], details: Mapping[str, Any], total_in: int, total: int, flags: list[str]
) -> tuple[tuple[str, int], ...]:
    """Split an output; rejected predictions are in its plain part, and billed like the rest."""
    if not details:
        return (("output", total),)
    strange_fields(details, _OUT, flags)
    thought = (details.get("reasoning_tokens") and count(details, "reasoning_tokens", flags)) or 0
    audio = (details.get("audio_tokens") and count(details, "audio_tokens", flags)) or 0
    image = (details.get("image_tokens") and count(details, "image_tokens", flags)) or 0
    if not (thought or audio or image):
        return (("output", total),)
    if thought and usage.get("total_tokens") == total_in + total + thought:
        # xAI and others count what was thought beside the completion; the grand total gives them away.
        total += thought
    if thought + audio + image > total:
        flags.append("usage:completion_tokens_details")
        thought = min(thought, total)
        audio = min(audio, total - thought)
        image = min(image, total - thought - audio)
    plain = total - thought - audio - image
    return (("output", plain), ("reasoning", thought), ("audio_out", audio), ("image_out", image))


def _open(
    reading: Reading,
    units: list[tuple[str, int]],
    *,
    low: list[tuple[str, int]],
    high: list[tuple[str, int]] | None = None,
) -> None:
    """Book ``units`` of the input, and the other two ways they may have been counted."""
    reading.low = [pair for pair in low if pair[1]]
    reading.high = [pair for pair in (high or units) if pair[1]]
    reading.units += [pair for pair in units if pair[1]]


def read_embeddings(usage: Mapping[str, Any]) -> Reading:
    """Read an embeddings answer: input only."""
    reading = Reading()
    strange_fields(usage, _TOP, reading.flags)
    total = main_count(usage, "prompt_tokens", reading.flags)
    if total is None:
        reading.unknown = "input"
    else:
        reading.input_tokens = total
        reading.append((("input", total),))
    return reading
