"""The default embedder: all-MiniLM-L6-v2 in int8 on onnxruntime, in this process, 1.5 ms for a short question."""

from __future__ import annotations

import gzip
import hashlib
import threading
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from llmsaver.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["MiniLM", "default_embedder"]

NEEDS = ("numpy", "onnxruntime", "tokenizers", "onnx")
_VOCABULARY = "bert-base-uncased.txt.gz"  # google-research/bert, Apache-2.0
_VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
_LONGEST = 256  # tokens; what the model was trained with


class MiniLM:
    """all-MiniLM-L6-v2 (Apache-2.0); texts are read up to 256 tokens, without case.

    ``path``: a model file in ONNX of one's own; by default the pinned one that is installed (see ``weights.find``).
    Raises ``MissingExtra`` or ``ConfigurationError``.
    """

    dimensions = 384

    def __init__(self, path: str | Path | None = None) -> None:
        missing = [name for name in NEEDS if find_spec(name) is None]
        if missing:
            raise MissingExtra("SemanticCache (its embedder)", "semantic")
        import onnxruntime
        from tokenizers import Tokenizer
        from tokenizers.models import WordPiece
        from tokenizers.normalizers import BertNormalizer
        from tokenizers.pre_tokenizers import BertPreTokenizer
        from tokenizers.processors import BertProcessing

        from llmsaver.embed import weights

        found = weights.find(path)
        self.name = found.name
        words = _vocabulary()
        numbers = {word: number for number, word in enumerate(words)}
        self._tokenizer = Tokenizer(WordPiece(numbers, unk_token="[UNK]"))  # noqa: S106 - a word, no password
        self._tokenizer.normalizer = BertNormalizer(lowercase=True)
        self._tokenizer.pre_tokenizer = BertPreTokenizer()
        self._tokenizer.post_processor = BertProcessing(("[SEP]", numbers["[SEP]"]), ("[CLS]", numbers["[CLS]"]))
        self._tokenizer.enable_truncation(_LONGEST)
        options = onnxruntime.SessionOptions()
        # One thread: the application's own threads are the parallelism, and a pool of spinning ones costs them CPU.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(found.path), options, providers=["CPUExecutionProvider"])

    def embed(self, texts: Sequence[str]) -> Any:
        """Return the mean of the token vectors, at length 1, for each text by itself.

        One at a time: quantisation would make a vector depend on the others of its batch.
        """
        import numpy as np

        vectors = np.zeros((len(texts), self.dimensions), np.float32)
        for row, text in enumerate(texts):
            # A lone surrogate has no UTF-8; what it stands for has no meaning to lose.
            encoded = self._tokenizer.encode(text.encode("utf-8", "replace").decode())
            numbers = np.array([encoded.ids], np.int64)
            told = {
                "input_ids": numbers,
                "attention_mask": np.ones_like(numbers),
                "token_type_ids": np.zeros_like(numbers),
            }
            vector = self._session.run(None, told)[0][0].mean(0)
            vectors[row] = vector / max(float(np.linalg.norm(vector)), 1e-12)
        return vectors


def _vocabulary() -> list[str]:
    raw = gzip.decompress((files(__package__) / _VOCABULARY).read_bytes())
    if hashlib.sha256(raw).hexdigest() != _VOCABULARY_SHA256:
        raise ValueError(f"{_VOCABULARY} of this installation is damaged; install llmsaver again")
    return raw.decode().splitlines()


_making = threading.Lock()


@cache
def _made() -> MiniLM:
    return MiniLM()


def default_embedder() -> MiniLM:
    """Return the process's one MiniLM, loaded at first use (0.4 s, 90 MB); ``MissingExtra`` without the extra."""
    with _making:
        return _made()
