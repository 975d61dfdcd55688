"""Which tool outputs of a conversation are sent as stubs: decided where it costs no cached prefix, then kept.

What was sent is known by points: the ends of earlier requests that this one begins with, each with the time it was last
sent and which outputs were stubs in it. An output must have been sent whole before it becomes one. Up to the last point
that a provider may still have, nothing changes. What comes after it is not kept any more: old outputs there become
stubs at no cost. Before it, rewriting U tokens to V = c U costs w V - r U now and saves r (U - V) with each request
that follows in time, so that it pays where more than (w c - r) / (r (1 - c)) of them are expected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmsaver.core.caching import seconds
from llmsaver.core.shapes import BYTES_PER_TOKEN
from llmsaver.errors import ConfigurationError
from llmsaver.prompt.originals import MAX_BYTES, TTL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llmsaver.prompt.stub_blocks import Output
    from llmsaver.prompt.worth import Tariff

__all__ = ["Decision", "Past", "Prefix", "Stubs", "breaks_even_after", "decided"]

# Clocks differ, and a provider may keep a prefix a little longer than it says.
_MARGIN = 1.1


@dataclass(frozen=True, slots=True)
class Stubs:
    """Old tool outputs as stubs: what was read turns ago is told in a line, and can be called back.

    ``recent``: outputs of the last so many turns of tools stay. ``ttl`` and ``max_bytes``: how long originals are kept
    after their last use, and how many bytes of them. ``tool``: whether the model gets a tool to call one back itself; a
    stream of such a conversation is told when it is whole. ``least_tokens``: smaller outputs stay (tokens of four
    bytes). Raises ``ConfigurationError``.
    """

    recent: int = 3
    ttl: float | str = TTL
    max_bytes: int = MAX_BYTES
    tool: bool = False
    least_tokens: int = 400

    def __post_init__(self) -> None:
        for name, least in (("recent", 1), ("max_bytes", 1), ("least_tokens", 150)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigurationError(f"Stubs({name}=) must be a whole number of {least} or more, not {value!r}")
        seconds(self.ttl, "Stubs(ttl=)")


@dataclass(frozen=True, slots=True)
class Past:
    """A point that is known: when it was first and last sent, with which stubs, and with the tool or without.

    ``made_at`` is 0 where no request has ended with it in the form in which it was last sent.
    """

    made_at: float
    sent_at: float
    turns: int
    stubs: frozenset[int]
    tool: bool


@dataclass(frozen=True, slots=True)
class Prefix:
    """A request as far as the decision needs it.

    ``known``: what is known of points, by the number of the message that each ends with; ``tokens`` up to the end of
    each message as the application wrote it, ``blocks`` of each.
    """

    known: Mapping[int, Past]
    tokens: Sequence[int]
    blocks: Sequence[int]
    outputs: Sequence[Output]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a provider's cache costs (None: not known) and for how many seconds it keeps a prefix.

    ``steps``: whether any prefix is found again, not only those that earlier requests ended with; ``look_back``: in how
    many blocks before the end of a request those are looked for (None: in all).
    """

    tariff: Tariff | None
    keeps: float
    steps: bool = False
    look_back: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Which outputs are stubs, by number; ``rewrites`` says why a kept prefix, or one that was, becomes another."""

    stubs: frozenset[int]
    hot: int
    rewrites: str = ""


def decided(
    prefix: Prefix, old: Sequence[Output], sizes: Mapping[int, int], terms: Terms, now: float, further: float
) -> Decision:
    """Return the stubs of a request.

    ``old``: outputs that may become one; ``sizes``: bytes of each such output's stub, by number; ``further``: how many
    requests are expected to follow in time.
    """
    known = prefix.known
    hot = max((at for at, past in known.items() if now - past.sent_at <= terms.keeps * _MARGIN), default=-1)
    held = known[hot].stubs if hot >= 0 else frozenset()
    if hot == len(prefix.tokens) - 1:
        return Decision(held, hot)  # the same request again
    # What was never sent before was sent elsewhere or nowhere: nobody knows who has it, nor that the model has read it.
    read = max(known, default=-1)
    stubs = held | {output.number for output in old if hot < output.message <= read}
    if hot < 0:
        return Decision(stubs, hot, "the cached prefix is gone" if stubs else "")
    more = [output for output in old if output.message <= hot and output.number not in held]
    if more and terms.tariff is not None:
        saved = sum(output.size - sizes[output.number] for output in more) / BYTES_PER_TOKEN
        kept = _still_kept(prefix, more[0].message, terms, now)
        rewritten = _sent(prefix, hot, held, sizes) - _sent(prefix, kept, held, sizes)
        share = 1 - saved / max(rewritten, saved)
        needed = breaks_even_after(terms.tariff.read, max(terms.tariff.write.values()), share)
        if further > needed:
            why = f"{needed:.1f} further requests pay for it, {further:.1f} are expected"
            return Decision(stubs | {output.number for output in more}, hot, why)
    return Decision(stubs, hot)


def breaks_even_after(read: float, write: float, share: float) -> float:
    """Return how many further requests must follow for rewriting kept history to a ``share`` of it to pay."""
    if read <= 0 or share >= 1:
        return float("inf")
    return (write * share - read) / (read * (1 - share))


def _sent(prefix: Prefix, upto: int, held: frozenset[int], sizes: Mapping[int, int]) -> float:
    """Return the tokens of a prefix as it was sent, up to the end of a message (-1: none)."""
    if upto < 0:
        return 0.0
    less = 0.0
    for output in prefix.outputs:
        if output.message <= upto:
            told = sizes.get(output.number, output.size) if output.number in held else output.size
            less += len(output.text.encode("utf-8", "replace")) - told
    return prefix.tokens[upto] - less / BYTES_PER_TOKEN


def _still_kept(prefix: Prefix, changed: int, terms: Terms, now: float) -> int:
    """Return the last message before ``changed`` up to which a prefix is surely found again; -1 for none."""
    if terms.steps:
        return changed - 1
    young = [at for at, past in prefix.known.items() if at < changed and now - past.made_at <= terms.keeps]
    last = max(young, default=-1)
    near = terms.look_back is None or sum(prefix.blocks[last + 1 :]) <= terms.look_back
    return last if near else -1
