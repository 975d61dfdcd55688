"""Embedders of the sentence-transformers library, on its own PyTorch: slower to load, any of its models."""

from __future__ import annotations

import hashlib
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from llmsaver.embed.vectors import unit_rows
from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SentenceTransformers"]


class SentenceTransformers:
    """A model of sentence-transformers, by its id on the hub or its folder; further ``options`` are its constructor's.

    Its name holds a hash of all its weights. Raises ``ConfigurationError`` where the library is not installed, and what
    the library raises for a model that it cannot load.
    """

    def __init__(self, model: str = "sentence-transformers/all-MiniLM-L6-v2", **options: Any) -> None:
        if find_spec("sentence_transformers") is None:
            raise ConfigurationError("this embedder needs its library: pip install sentence-transformers")
        self._model = import_module("sentence_transformers").SentenceTransformer(model, **options)
        self.name = f"{model.rstrip('/').rpartition('/')[2]}:{_hash_of(self._model)[:16]}"
        self.dimensions: int = self._model.get_sentence_embedding_dimension()

    def embed(self, texts: Sequence[str]) -> Any:
        """Return one vector of length 1 for each text."""
        written = [text.encode("utf-8", "replace").decode() for text in texts]
        made = self._model.encode(written, convert_to_numpy=True, show_progress_bar=False) if written else []
        return unit_rows(made, len(texts), self.dimensions, self.name)


def _hash_of(model: Any) -> str:
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode())
        # As float32: numpy has no bfloat16.
        found.update(tensor.detach().cpu().float().numpy().tobytes())
    return found.hexdigest()
