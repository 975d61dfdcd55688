"""LLMLingua in place of the selection of sentences: a model on this machine leaves out words one by one.

Never the default: it takes seconds of CPU for a thousand tokens, changes the words' own text, and kept fewer answers
than the selection of sentences where both were measured. The package is Microsoft's ``llmlingua`` (MIT), whose models
come from Hugging Face at its first use; ``LLMLingua-2`` (Pan et al., 2024) is asked for unless another is named.
"""

from __future__ import annotations

import importlib
import importlib.util
import threading
from typing import TYPE_CHECKING, Any

from llmsaver.errors import ConfigurationError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LLMLingua"]

_MODEL = "microsoft/llmlingua-2-bert-base-multilingual-cased-meetingbank"
_FORCED = ("\n", ".", "!", "?", ",")


class LLMLingua:
    """Shortens passages as ``Compress(passages=LLMLingua(), ratio=...)`` does: (text, question, ratio) to a text.

    ``model``: a model's name on Hugging Face or a folder; one with "llmlingua-2" in its name knows no question.
    ``device``: "cpu", "cuda" or "mps". ``force_tokens`` are never left out, nor are digits. ``compressor``: a
    ``PromptCompressor`` that is there already. Safe in threads, which wait for one another. Raises ``MissingExtra``
    where the package is missing.
    """

    def __init__(
        self,
        model: str = _MODEL,
        *,
        device: str = "cpu",
        force_tokens: Sequence[str] = _FORCED,
        compressor: Any = None,
    ) -> None:
        if compressor is None and importlib.util.find_spec("llmlingua") is None:
            raise MissingExtra("LLMLingua", "lingua")
        self._model = model
        self._device = device
        self._forced = list(force_tokens)
        self._compressor = compressor
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"LLMLingua({self._model!r})"

    def __call__(self, text: str, question: str, ratio: float) -> str:
        """Return a text about ``ratio`` times shorter; as it was, where the model would make it no shorter."""
        with self._lock:
            self._compressor = self._compressor or self._loaded()
            made = self._compressor.compress_prompt(
                [text],
                question=question,
                rate=1 / ratio,
                force_tokens=self._forced,
                force_reserve_digit=True,
                concate_question=False,
            )
        short = made.get("compressed_prompt") if isinstance(made, dict) else None
        if not isinstance(short, str):
            raise ConfigurationError("the LLMLingua compressor gave no 'compressed_prompt'")
        return short if short.strip() and len(short) < len(text) else text

    def _loaded(self) -> Any:
        make = importlib.import_module("llmlingua").PromptCompressor
        return make(model_name=self._model, device_map=self._device, use_llmlingua2="llmlingua-2" in self._model)
