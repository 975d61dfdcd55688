"""The decision by itself: what is kept stays, what is gone is free, and what pays is rewritten."""

from __future__ import annotations

from typing import Any

import pytest

from llmsaver.errors import ConfigurationError
from llmsaver.prompt.stub_blocks import Output
from llmsaver.prompt.stubbing import Decision, Past, Prefix, Stubs, Terms, breaks_even_after, decided
from llmsaver.prompt.worth import Tariff

NOW = 10_000.0
TARIFF = Tariff(0.1, {"30m": 1.25})
TERMS = Terms(TARIFF, 1_800)
SIZE, STUB = 8_000, 400


def outputs(count: int) -> list[Output]:
    """Return outputs of 2,000 tokens in messages 2, 4, 6 ..."""
    return [
        Output(
            number=number,
            place=("messages", 2 * number + 2, "content"),
            message=2 * number + 2,
            turn=number + 1,
            name="bash",
            text="x" * SIZE,
            size=SIZE,
            fixed=False,
        )
        for number in range(count)
    ]


def past(age: float, *stubs: int, made: float | None = None) -> Past:
    return Past(NOW - (age if made is None else made), NOW - age, 1, frozenset(stubs), tool=False)


def decide(
    known: dict[int, Past], count: int = 6, further: float = 0.0, terms: Terms = TERMS, recent: int = 2
) -> Decision:
    """Decide on a conversation of 1,000 tokens and then 2,000 with each output."""
    given = outputs(count)
    tokens = [1_000 + 2_000 * (message // 2) for message in range(2 * count + 1)]
    prefix = Prefix(known, tokens, [1] * len(tokens), given)
    sizes = {output.number: STUB for output in given}
    return decided(prefix, given[:-recent], sizes, terms, NOW, further)


def test_what_nobody_knows_is_left_alone() -> None:
    assert decide({}) == Decision(frozenset(), -1)


def test_what_is_kept_stays_as_it_was() -> None:
    assert decide({10: past(60)}) == Decision(frozenset(), 10)
    assert decide({10: past(60, 0, 1)}) == Decision(frozenset({0, 1}), 10)
    assert decide({10: past(1_979)}).stubs == frozenset()


def test_what_is_gone_is_free() -> None:
    assert decide({10: past(1_981)}) == Decision(frozenset({0, 1, 2, 3}), -1, "the cached prefix is gone")
    assert decide({10: past(1_981), 4: past(60)}) == Decision(frozenset({2, 3}), 4)
    assert decide({2: past(1_981)}).stubs == frozenset({0})


def test_the_same_request_again_is_the_same() -> None:
    assert decide({12: past(60, 1)}, further=1e9) == Decision(frozenset({1}), 12)


@pytest.mark.parametrize(("read", "write", "share", "needed"), [(0.1, 1.25, 0.5, 10.5), (0.05, 1.25, 0.5, 23.0)])
def test_the_break_even_is_the_known_one(read: float, write: float, share: float, needed: float) -> None:
    assert breaks_even_after(read, write, share) == pytest.approx(needed)
    assert breaks_even_after(0, write, share) == float("inf")
    assert breaks_even_after(read, write, 1) == float("inf")


def test_a_kept_prefix_is_rewritten_when_that_pays() -> None:
    """Of 11,000 tokens four outputs of 2,000 become 100 each: 3,400 are left, 0.31 of it."""
    share = 3_400 / 11_000
    needed = breaks_even_after(0.1, 1.25, share)
    assert decide({10: past(60)}, further=needed - 0.01).stubs == frozenset()
    told = decide({10: past(60)}, further=needed + 1)
    assert told.stubs == frozenset({0, 1, 2, 3})
    assert told.rewrites == f"{needed:.1f} further requests pay for it, {needed + 1:.1f} are expected"


def test_what_is_rewritten_counts_from_what_is_found_again() -> None:
    """With the first two stubbed before, only what follows message 6's beginning is written anew."""
    known = {4: past(60, 0, 1), 10: past(60, 0, 1)}
    needed = breaks_even_after(0.1, 1.25, 1 - 3_800 / 6_000)
    assert decide(known, further=needed - 0.01).stubs == frozenset({0, 1})
    assert decide(known, further=needed + 0.01).stubs == frozenset({0, 1, 2, 3})
    # Found where it is near enough to the end, or anywhere.
    near = Terms(TARIFF, 1_800, look_back=3)
    assert decide(known, further=needed + 0.01, terms=near).stubs == frozenset({0, 1})
    anywhere = Terms(TARIFF, 1_800, steps=True)
    assert decide({10: past(60, 0, 1)}, further=needed + 0.01, terms=anywhere).stubs == frozenset({0, 1, 2, 3})
    # What was written long ago may have been read lately, or not: it is not counted on.
    doubtful = {4: past(60, 0, 1, made=9_000), 10: past(60, 0, 1)}
    assert decide(doubtful, further=needed + 0.01).stubs == frozenset({0, 1})


def test_a_whole_prefix_of_old_outputs_pays_at_once() -> None:
    terms = Terms(Tariff(0.5, {"30m": 1.0}), 1_800, steps=True)
    assert decide({10: past(60)}, further=0.01, terms=terms, recent=1).stubs == frozenset(range(5))


def test_without_prices_nothing_is_given_up() -> None:
    assert decide({10: past(60)}, further=1e9, terms=Terms(None, 86_400)).stubs == frozenset()


@pytest.mark.parametrize(
    "bad",
    [
        {"recent": 0},
        {"recent": True},
        {"recent": 1.5},
        {"ttl": "soon"},
        {"ttl": -1},
        {"max_bytes": 0},
        {"least_tokens": 10},
    ],
)
def test_bad_options_name_the_fix(bad: Any) -> None:
    with pytest.raises(ConfigurationError):
        Stubs(**bad)
    assert Stubs() == Stubs(recent=3, ttl="7d", tool=False)
