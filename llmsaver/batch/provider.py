"""What a provider of batches offers a run, whoever it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from llmsaver.batch.parts import Limits
    from llmsaver.ledger.batches import BatchPart
    from llmsaver.wire.batch_lines import Answered

__all__ = ["Found", "Jobs", "Look", "Told", "lines_of"]


@dataclass(frozen=True, slots=True)
class Look:
    """How a job stands: whether it ended, how many of its requests have, and in which files its answers are.

    ``refused``: why it was not run at all; ``later``: whether it may be at another time.
    """

    ended: bool
    answered: int = 0
    files: tuple[str, ...] = ()
    refused: str = ""
    later: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A job that was looked for: ``job``, None where there is none; ``wait``: it cannot be told yet.

    ``extra``: others of the same part, which must not run too.
    """

    job: str | None = None
    wait: bool = False
    extra: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """One line of a job's answers: whose it is, and how it went; ``answered`` is what is billed."""

    custom_id: str
    line: bytes
    ok: bool
    again: bool = False
    why: str = ""
    answered: Answered | None = None


class Jobs(Protocol):
    """A provider's batches. Errors are the SDK's own, but for those that say how to go on."""

    limits: Limits
    host: str

    def upload(self, part: BatchPart, bodies: Iterable[tuple[str, dict[str, Any]]]) -> str:
        """Bring the requests there (id, body) where that is a step of its own; return what they are called there."""

    def create(self, part: BatchPart, bodies: Iterable[tuple[str, dict[str, Any]]]) -> str:
        """Begin a job, by one request that is never repeated; return its id."""

    def find(self, part: BatchPart, since: float, known: frozenset[str]) -> Found:
        """Look for the job that was begun for a part, at ``since`` (seconds since the epoch) or later.

        ``known`` are jobs that belong to other parts.
        """

    def look(self, job: str) -> Look:
        """Say how a job stands."""

    def told(self, job: str, look: Look) -> Iterator[Told]:
        """Yield the lines of an ended job's answers, as they arrive."""

    def cancel(self, job: str) -> None:
        """Ask for a job to be cancelled."""


def lines_of(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut bytes into lines at line feeds alone: JSON may hold what others take for a line's end."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from filter(None, lines)
    if rest.strip():
        yield rest
