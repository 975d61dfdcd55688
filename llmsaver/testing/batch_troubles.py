"""Trouble of the batch endpoints, at random but seeded: what a job of hours meets sooner or later."""

import random
import threading
from dataclasses import dataclass, field

ASKED_TOO_MUCH = "token_limit_exceeded"
"""What OpenAI says of a batch that exceeds the tokens it lets an organisation have in line; it is not run."""


@dataclass(slots=True)
class BatchTroubles:
    """How often each thing goes wrong, as a probability.

    - `refused`: a request to a batch or file endpoint is answered with a 5xx, and nothing is done.
    - `lost`: a batch is begun, and its creation answered with a 5xx all the same.
    - `cut`: a download breaks off in the middle.
    - `expired`: a batch runs out of time; about half of its lines were answered, and are charged.
    - `limited`: an OpenAI batch fails its validation because too many tokens are in line.
    - `line`: a line fails with a 5xx.
    - `late`: a line expires.
    """

    seed: int = 0
    refused: float = 0.0
    lost: float = 0.0
    cut: float = 0.0
    expired: float = 0.0
    limited: float = 0.0
    line: float = 0.0
    late: float = 0.0
    _random: random.Random = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    counted: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - the same trouble for the same seed

    def strikes(self, name: str, chance: float | None = None) -> bool:
        """Decide whether one of them happens now, and count it; `chance` replaces the one of that name."""
        with self._lock:
            struck = self._random.random() < (getattr(self, name) if chance is None else chance)
            if struck:
                self.counted[name] = self.counted.get(name, 0) + 1
        return struck

    def unlucky(self, count: int) -> set[int]:
        """Choose about half of so many lines."""
        with self._lock:
            return {index for index in range(count) if self._random.random() < 0.5}  # noqa: PLR2004 - a half
