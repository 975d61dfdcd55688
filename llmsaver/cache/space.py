"""The stored questions of one namespace: requests that are the same in all but the last user text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmsaver.cache import guards
from llmsaver.cache.evidence import LOOKED_AT, Neighbour, TrackRecord
from llmsaver.cache.index import Index
from llmsaver.cache.lexis import Frequencies, content_words

if TYPE_CHECKING:
    from llmsaver.cache.guards import Sketch

__all__ = ["Known", "Space"]


@dataclass(slots=True)
class Known:
    """A stored question: the key of its answer's entry, its answer's number, what it says, and until when."""

    key: str
    answer: int
    words: frozenset[str]
    text: str
    expires_at: float
    _sketch: Sketch | None = None

    @property
    def sketch(self) -> Sketch:
        """What it says, parsed when it is first near: most are never, and a hundred thousand would take a minute."""
        if self._sketch is None:
            self._sketch = guards.sketch(self.text)
        return self._sketch


class Space:
    """Questions by nearness. Its owner locks; at most ``most`` are kept, the oldest going first."""

    def __init__(self, dimensions: int, most: int) -> None:
        self.index = Index(dimensions)
        self.frequencies = Frequencies()
        self.record = TrackRecord()
        self.seq = 0
        self.looked_at = float("-inf")
        self._most = most
        self._known: dict[int, Known] = {}
        self._places: dict[str, int] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._known)

    def has(self, key: str, expires_at: float) -> bool:
        """Return whether this very entry is known."""
        place = self._places.get(key)
        return place is not None and self._known[place].expires_at == expires_at

    def add(self, key: str, text: str, vector: Any, answer: int, expires_at: float) -> None:
        """Add a question, or replace the one with this key; raises ``ValueError`` for a vector of another size."""
        self.remove(key)
        self.index.add(self._next, vector)
        place, self._next = self._next, self._next + 1
        self._places[key] = place
        self._known[place] = Known(key, answer, content_words(text), text, expires_at)
        if len(self._known) > self._most:
            self.remove(next(iter(self._places)))

    def remove(self, key: str) -> None:
        """Forget a question; one that is unknown is forgotten already."""
        place = self._places.pop(key, None)
        if place is not None:
            del self._known[place]
            self.index.remove(place)
            self.record.forget(place)

    def near(self, vector: Any, now: float) -> list[tuple[Known, Neighbour]]:
        """Return the live questions nearest to ``vector``, nearest first; expired ones are forgotten."""
        found = []
        for place, similarity in self.index.search(vector, LOOKED_AT):
            known = self._known[place]
            if known.expires_at <= now:
                self.remove(known.key)
            else:
                found.append((known, Neighbour(place, similarity, known.answer, known.words)))
        return found
