"""What a text's meaning is measured with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Embedder"]


class Embedder(Protocol):
    """Turns texts into vectors; near vectors mean near meanings.

    ``name`` identifies the very weights: vectors of different names are never compared. Calls block and may come from
    several threads.
    """

    @property
    def name(self) -> str:
        """The model and a hash of its weights."""

    @property
    def dimensions(self) -> int:
        """How many numbers a vector has."""

    def embed(self, texts: Sequence[str]) -> Any:
        """Return one vector of length 1 for each text: a float32 array of shape (texts, dimensions)."""
