"""Embedders behind an API: OpenAI's, and llama.cpp's server, through a client that the application has."""

from __future__ import annotations

import hashlib
import inspect
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmsaver.embed.vectors import need_numpy, unit_rows
from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LlamaCpp", "OpenAIEmbeddings"]

# OpenAI's own, which need not be asked (https://platform.openai.com/docs/guides/embeddings).
_KNOWN = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536}
_AT_ONCE = 256
_LOCAL = "local/"


class OpenAIEmbeddings:
    """Vectors from the embeddings endpoint that ``client`` (an ``OpenAI`` of the SDK's or of ours) talks to.

    Through a client of ours each call is in the ledger, and repeated texts come from the exact cache. ``dimensions``:
    fewer numbers than the model's own, where it can do that. A model's name says all that a provider tells of its
    weights, so the address is part of this embedder's name. Raises ``ConfigurationError``.
    """

    def __init__(self, client: Any, model: str = "text-embedding-3-small", *, dimensions: int | None = None) -> None:
        need_numpy()
        if inspect.iscoroutinefunction(inspect.unwrap(client.embeddings.create)):
            raise ConfigurationError(
                "an embedder's calls block: give it a synchronous client (OpenAI, not AsyncOpenAI); the cache "
                "calls it in a thread of its own"
            )
        self._client = client
        self._model = model
        self._asked = {} if dimensions is None else {"dimensions": dimensions}
        if dimensions is not None or model in _KNOWN:
            self.dimensions = dimensions or _KNOWN[model]

    @cached_property
    def name(self) -> str:
        """The model, where it is asked, and how many numbers it gives."""
        address = str(getattr(self._client, "base_url", "")).rstrip("/")
        return f"{self._model}@{address}:{self.dimensions}"

    @cached_property
    def dimensions(self) -> int:
        """How many numbers a vector has; asked of the provider where it is not known."""
        return len(self._vectors(["dimensions"])[0])

    def embed(self, texts: Sequence[str]) -> Any:
        """Return one vector of length 1 for each text; raises what the client raises."""
        made: list[Any] = []
        for start in range(0, len(texts), _AT_ONCE):
            made += self._vectors([_written(text) for text in texts[start : start + _AT_ONCE]])
        return unit_rows(made, len(texts), self.dimensions, self._model)

    def _vectors(self, texts: list[str]) -> list[Any]:
        answer = self._client.embeddings.create(model=self._model, input=texts, encoding_format="float", **self._asked)
        return [item.embedding for item in sorted(answer.data, key=lambda item: item.index)]


class LlamaCpp(OpenAIEmbeddings):
    """Vectors from a model that llama.cpp runs.

    ``client`` talks to a llama-server that was started with ``--embeddings``
    (``OpenAI(base_url="http://127.0.0.1:8080/v1", api_key="none")``), or is one of ours for a tier that was declared
    as ``LocalModel("mine", path=..., embeddings=True)`` and is named ``local/mine``. The name of its vectors holds a
    hash of the file ``weights``, or where that is left out of what the server says of its model. Raises
    ``ConfigurationError``.
    """

    def __init__(self, client: Any, model: str, *, weights: str | Path | None = None) -> None:
        super().__init__(client, model)
        self._weights = None if weights is None else Path(weights).expanduser()
        if self._weights is None and model.startswith(_LOCAL):
            raise ConfigurationError(
                f"say which weights {model} runs, so that others' vectors are kept apart: weights="
            )
        if self._weights is not None and not self._weights.is_file():
            raise ConfigurationError(f"there is no embedding model at {self._weights}")

    @cached_property
    def name(self) -> str:
        """The model and a hash of its weights."""
        return f"{self._model.removeprefix(_LOCAL)}:{self._hash()[:16]}"

    def _hash(self) -> str:
        if self._weights is not None:
            with self._weights.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        for told in self._client.models.list().data:
            meta = getattr(told, "meta", None)
            if meta:
                return hashlib.sha256(repr((told.id, sorted(meta.items()))).encode()).hexdigest()
        raise ConfigurationError(f"the server says nothing of the weights of {self._model}: name the file, weights=")


def _written(text: str) -> str:
    """Return a text that every provider takes: they refuse an empty one, and JSON has no lone surrogate."""
    return text.encode("utf-8", "replace").decode() or " "
