"""How long answers get: a quantile sketch of each feature's output lengths, in bounded memory."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from llmsaver.wire.payload import count

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    from llmsaver.ledger import Ledger

    Key: TypeAlias = tuple[str, str, str]

__all__ = ["Lengths", "Sketch"]

# Two neighbouring buckets differ by so much, so a quantile is told at most 2 % too high or too low.
_STEP: Final = 1.04
_LOG: Final = math.log(_STEP)
_MOST_TOKENS: Final = 10_000_000
# From so many on all counts are halved: what a feature did lately counts more than what it once did.
_HALF_LIFE: Final = 20_000
_MOST_KEYS: Final = 2_000
_HISTORY: Final = 3_000


class Sketch:
    """Counts of lengths in buckets of a geometric scale; at most 412 of them. DDSketch (Masson et al., VLDB 2019)."""

    __slots__ = ("_buckets", "total")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.total = 0

    def add(self, length: int) -> None:
        """Count one length, in tokens."""
        at = math.ceil(math.log(min(max(1, length), _MOST_TOKENS)) / _LOG)
        self._buckets[at] = self._buckets.get(at, 0) + 1
        self.total += 1
        if self.total >= _HALF_LIFE:
            self._buckets = {at: number // 2 for at, number in self._buckets.items() if number > 1}
            self.total = sum(self._buckets.values())

    def quantile(self, share: float) -> int:
        """Return a length that at least ``share`` (0 to 1) of those seen do not exceed; 0 where none was seen."""
        left = math.ceil(share * self.total)
        for at in sorted(self._buckets):
            left -= self._buckets[at]
            if left <= 0:
                return math.ceil(_STEP**at)
        return 0


class Lengths:
    """Output lengths by feature, model and effort; thread-safe.

    A model that is new to a feature, or another effort, starts anew: what reasons more writes more.
    """

    def __init__(self) -> None:
        self._sketches: OrderedDict[Key, Sketch] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, key: Key, tokens: int) -> None:
        """Count the output tokens of one answer, hidden reasoning included."""
        with self._lock:
            sketch = self._sketches.get(key)
            if sketch is None:
                sketch = self._sketches[key] = Sketch()
                if len(self._sketches) > _MOST_KEYS:
                    self._sketches.popitem(last=False)
            else:
                self._sketches.move_to_end(key)
            sketch.add(tokens)

    def quantile(self, key: Key, share: float, least: int) -> tuple[int, int] | None:
        """Return a quantile and of how many it is; None before there are ``least``."""
        with self._lock:
            sketch = self._sketches.get(key)
            if sketch is None or sketch.total < least:
                return None
            return sketch.quantile(share), sketch.total

    def read(self, ledger: Ledger) -> int:
        """Take in the latest whole answers in the books; blocking. Returns how many; raises what the ledger raises.

        The books don't tell the effort, so their lengths are those of calls that name none.
        """
        with ledger.open().reader() as reader:
            rows = reader.calls(limit=_HISTORY, complete=1, hit=0, truncated=0)
        found = 0
        for row in rows:
            attempts = row.get("attempts") or [{}]
            key = _row_key(row, attempts[-1])
            tokens = count(row.get("output_tokens"))
            if key is not None and tokens is not None and len(attempts) == 1:
                self.note(key, tokens)
                found += 1
        return found


def _row_key(row: Mapping[str, Any], attempt: Mapping[str, Any]) -> Key | None:
    feature, model = row.get("feature"), attempt.get("model")
    return (feature, model, "") if isinstance(feature, str) and isinstance(model, str) else None
