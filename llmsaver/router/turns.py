"""What was decided at the turns of conversations: a bounded memory of fingerprints and tiers' names."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmsaver.router.conversation import answer_key, latest_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver.router.conversation import TurnKey

__all__ = ["Standing", "Turns"]


@dataclass(frozen=True, slots=True)
class Standing:
    """The tier (its model's name) that a conversation is with.

    ``same_turn``: it was decided at this very user turn. ``prompt_tokens``: how long the prompt was there, which is
    what that tier's provider has in its cache.
    """

    tier: str
    same_turn: bool
    prompt_tokens: int = 0


@dataclass(frozen=True, slots=True)
class _Decided:
    tier: str
    prompt_tokens: int
    until: float


class Turns:
    """Remembers the tier of each user turn for ``ttl`` seconds after its last use, the ``size`` latest at most.

    A few hundred bytes each; no text is kept. Safe from any thread. ``clock`` in seconds, never going back.
    """

    def __init__(
        self, *, size: int = 10_000, ttl: float = 3_600.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._size, self._ttl, self._clock = size, ttl, clock
        self._lock = threading.Lock()
        self._decided: OrderedDict[str, _Decided] = OrderedDict()

    def __len__(self) -> int:
        return len(self._decided)

    def standing(self, key: TurnKey) -> Standing | None:
        """Return what was decided at this turn, else at the one before; None where neither is remembered."""
        now = self._clock()
        with self._lock:
            for name in (key.turn, *key.before):
                found = self._decided.get(name)
                if found is not None and found.until > now:
                    self._decided.move_to_end(name)
                    return Standing(found.tier, name == key.turn, found.prompt_tokens)
        return None

    def remember(self, key: TurnKey, tier: str, *, prompt_tokens: int = 0, answer_id: str | None = None) -> None:
        """Note that ``tier`` answered; ``answer_id`` is the answer's ``id``, by which the responses dialect goes on."""
        decided = _Decided(tier, prompt_tokens, self._clock() + self._ttl)
        names = [key.turn, latest_key(key), None if answer_id is None else answer_key(key.scope, answer_id)]
        with self._lock:
            for name in filter(None, names):
                self._decided[name] = decided
                self._decided.move_to_end(name)
            while len(self._decided) > self._size:
                self._decided.popitem(last=False)
