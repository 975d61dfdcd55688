"""Two settings over the same recorded prompts: how many tokens each takes, and whether the answers still say the same.

Pairs cancel what makes prompts differ from one another, so a few dozen show what a thousand unpaired calls would.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from llmsaver.compare import same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["Comparison", "Pair", "Said", "paired"]

_DRAWS: Final = 2_000
_TAIL: Final = 0.025


@dataclass(frozen=True, slots=True)
class Said:
    """One answer: its text, its output tokens, its cost where it is known."""

    text: str
    tokens: int
    nano: int = 0


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt's two answers.

    ``good``: whether each is good, by a judge that knows what is right; else both None, and ``same`` is whether the two
    say the same, as ``compare.same`` sees it, which doubts.
    """

    one: Said
    other: Said
    same: bool
    good: tuple[bool, bool] | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changing one setting for the other did, over all prompts; ``failed`` could not be answered under both."""

    pairs: Sequence[Pair]
    failed: int = 0
    seed: int = 0
    tokens: tuple[int, int] = field(init=False)
    nano: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        both = [(each.one, each.other) for each in self.pairs]
        object.__setattr__(self, "tokens", (sum(a.tokens for a, _ in both), sum(b.tokens for _, b in both)))
        object.__setattr__(self, "nano", (sum(a.nano for a, _ in both), sum(b.nano for _, b in both)))

    @property
    def saving(self) -> float:
        """The share of output tokens saved, negative where there are more of them; NaN without any."""
        return _saving(self.pairs)

    @property
    def saving_range(self) -> tuple[float, float]:
        """The 95 % interval of ``saving``, by a bootstrap over the pairs."""
        drawn = random.Random(self.seed)  # noqa: S311 - a bootstrap is no secret, and is to be repeated
        number = len(self.pairs)
        found = sorted(_saving(drawn.choices(self.pairs, k=number)) for _ in range(_DRAWS)) if number else [math.nan]
        return found[int(_TAIL * len(found))], found[int((1 - _TAIL) * len(found))]

    @property
    def same(self) -> float:
        """The share of pairs whose answers say the same; NaN without any."""
        return sum(each.same for each in self.pairs) / len(self.pairs) if self.pairs else math.nan

    @property
    def good(self) -> tuple[float, float] | None:
        """The share of good answers under each setting; None where nobody judged."""
        judged = [each.good for each in self.pairs if each.good is not None]
        if not judged:
            return None
        return sum(one for one, _ in judged) / len(judged), sum(other for _, other in judged) / len(judged)

    @property
    def changed(self) -> tuple[int, int]:
        """How many judged prompts got worse, and how many better."""
        judged = [each.good for each in self.pairs if each.good is not None]
        return sum(one and not other for one, other in judged), sum(other and not one for one, other in judged)

    @property
    def p_worse(self) -> float:
        """The chance of so many worse, against so few better, were there no difference: McNemar's exact test."""
        worse, better = self.changed
        number = worse + better
        return math.fsum(math.comb(number, each) for each in range(worse, number + 1)) / math.pow(2, number)

    def as_dict(self) -> dict[str, Any]:
        """Return all figures, for JSON."""
        good = self.good
        low, high = self.saving_range
        return {
            "prompts": len(self.pairs),
            "failed": self.failed,
            "tokens": list(self.tokens),
            "nano_usd": list(self.nano),
            "saving": self.saving,
            "saving_range": [low, high],
            "same": self.same,
            "good": None if good is None else list(good),
            "worse": self.changed[0],
            "better": self.changed[1],
            "p_worse": self.p_worse,
        }


def _saving(pairs: Sequence[Pair]) -> float:
    before = sum(pair.one.tokens for pair in pairs)
    return 1 - sum(pair.other.tokens for pair in pairs) / before if before else math.nan


def paired(
    prompts: Iterable[Mapping[str, Any]],
    one: Callable[[Mapping[str, Any]], Said],
    other: Callable[[Mapping[str, Any]], Said],
    *,
    judge: Callable[[Mapping[str, Any], str], bool] | None = None,
    seed: int = 0,
) -> Comparison:
    """Ask every prompt under both settings and return the comparison; each prompt's two calls follow one another.

    ``one`` and ``other`` answer a recorded request's body, the first as it is done now; which of them goes first is
    drawn, so that a provider's cache or a busy machine favours neither. ``judge`` (body, answer) says whether an answer
    is right, where that is known. A prompt that raises under either is counted, and left out under both.
    """
    drawn = random.Random(seed)  # noqa: S311 - an order is no secret
    pairs, failed = [], 0
    for body in prompts:
        try:
            if drawn.random() < 0.5:  # noqa: PLR2004 - a coin
                first, second = one(body), other(body)
            else:
                second = other(body)
                first = one(body)
            good = None if judge is None else (judge(body, first.text), judge(body, second.text))
        except Exception:  # noqa: BLE001 - a provider that fails, or a judge that does, costs one pair
            failed += 1
            continue
        pairs.append(Pair(first, second, same(first.text, second.text).same, good))
    return Comparison(pairs, failed, seed)
