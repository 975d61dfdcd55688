"""What a planner learns of provider caches from other processes, by way of the ledger.

A provider's cache is shared by all who use one account: what another process wrote is there to be read by this one, and
how soon a prefix comes again is only seen by looking at all of them. Each planned call leaves in its row the salted
hashes of its prefixes, their sizes and what was marked, about 250 bytes and no text. Who shares the ledger, the salt
and the account knows the same prefixes by the same hashes.
"""

from __future__ import annotations

import logging
import time
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from llmsaver.errors import LLMSaverError, in_words
from llmsaver.prompt.outline import Outline
from llmsaver.prompt.planner import KEEPS, Heard

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llmsaver.core.request import Request
    from llmsaver.core.runtime import Runtime
    from llmsaver.ledger import Ledger
    from llmsaver.ledger.prefixes import PrefixRow
    from llmsaver.prompt.planner import Plan, Planner

__all__ = ["Learner", "Told", "told_of"]

log = logging.getLogger("llmsaver")

_POINTS = 6
_ROWS, _DAYS_S = 8_000, 3 * 86_400.0
# A process looks again after 15 seconds, then after twice as long each time, up to two minutes: bursts are short.
_SOON_S, _REFRESH_S = 15.0, 120.0
# How an id begins that this process gave; see ``core.entry``.
_SERIES = 21
_FAILED = 400


class Told(NamedTuple):
    """What a row tells of a planned call; sizes are in estimated tokens, ``minimum`` the fewest that are kept.

    ``static`` and ``tail`` say for how long tools and instructions, and the whole, were marked to be kept: "" not at
    all. ``old_results`` is what tools said before the model's last answer. ``points`` are the last hashes, the whole
    request's at the end.
    """

    model: str
    minimum: int
    prefix: str
    prefix_tokens: int
    tokens: int
    old_results: int
    static: str
    tail: str
    points: tuple[str, ...]

    @classmethod
    def read(cls, values: Sequence[Any]) -> Told | None:
        """Return what a row's list says, None where it is not one of ours."""
        fields = len(cls._fields) - 1
        if len(values) <= fields:
            return None
        model, minimum, prefix, *rest = values[:fields]
        *sizes, static, tail = rest
        points = tuple(values[fields:])
        numbers = (minimum, *sizes)
        words = (model, prefix, static, tail, *points)
        if any(type(number) is not int for number in numbers) or any(type(word) is not str for word in words):
            return None
        return cls._make([model, minimum, prefix, *sizes, static, tail, points])

    def listed(self) -> list[Any]:
        """Return it as a row has it."""
        return [*self[:-1], *self.points]


def told_of(model: str, minimum: int, outline: Outline, plan: Plan) -> Told:
    """Return what is told of a planned request."""
    return Told(
        model,
        minimum,
        outline.static,
        outline.static_tokens,
        outline.total_tokens,
        outline.old_results,
        plan.static or "",
        plan.tail or "",
        # Before the last of the leading instructions the hashes are anyone's to compute: nobody's salt is in them.
        tuple(outline.points[max(0, outline.leading - 1) :][-_POINTS:]),
    )


class Learner:
    """Has a planner learn from ``ledger``: once from the last days, then every few minutes what is new in it.

    Nothing is read before the first call, nor in its thread; at most 8,000 rows.
    """

    def __init__(self, ledger: Ledger, planner: Planner) -> None:
        self.ready = False
        self._ledger = ledger
        self._planner = planner
        self._secret = b""
        self._own: set[str] = set()
        self._after = 0
        self._due, self._pause = 0.0, _SOON_S

    async def begin(self, runtime: Runtime) -> None:
        """Read the salt, once: no file is read on an event loop."""
        await runtime.offload(self._read_salt)

    def _read_salt(self) -> None:
        self._secret = self._ledger.salt.value[:64]
        self.ready = True

    def scope(self, account: str) -> bytes:
        """Return what makes the hashes of prefixes those of one account, for who has the salt."""
        return blake2b(account.encode(), digest_size=16, key=self._secret, person=b"prefix").digest()

    def note(self, request: Request) -> None:
        """Note that a call is planned, and see whether it is time to learn."""
        self._own.add(request.entry.id[:_SERIES])
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + self._pause  # two threads at once both ask for it; the second finds little
        self._pause = min(2 * self._pause, _REFRESH_S)
        if not request.runtime.detach(self.learn):
            self._due = 0.0

    def learn(self) -> int:
        """Read what other processes wrote, and tell the planner; return how many requests there were. Blocking."""
        now = time.time()
        try:
            with self._ledger.reader() as reader:
                rows, last = reader.prefixes(self._after, since=now - _DAYS_S, limit=_ROWS)
        except LLMSaverError as error:  # none yet, down, or a newer version's: one's own calls teach as well
            log.debug("llmsaver: what other processes know of prompts cannot be read: %s", in_words(error))
            return self._planner.learn((), now)
        self._after = last
        return self._planner.learn(self._heard(rows), now)

    def _heard(self, rows: Sequence[PrefixRow]) -> Iterator[Heard]:
        """Yield what others did; a failed call, or one that the provider kept nothing of, says less."""
        for row in rows:
            told = Told.read(row.prefix)
            if told is None or row.id[:_SERIES] in self._own or (row.status or 0) >= _FAILED:
                continue
            *before, whole = told.points
            points, tokens = [*before, whole], [told.tokens] * len(told.points)
            outline = Outline(told.prefix, told.prefix_tokens, points, tokens, [1] * len(points), 0, tools=False)
            kept = bool(row.cache_read_tokens or row.cache_write_tokens)
            static, tail = (keep if kept and keep in KEEPS else None for keep in (told.static, told.tail))
            yield Heard(row.started_at, outline, f"{row.feature} {told.model}", told.minimum, static, tail)
