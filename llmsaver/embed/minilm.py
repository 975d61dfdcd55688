"""The default embedder: all-MiniLM-L6-v2 in int8 on onnxruntime, in this process, 1.5 ms for a short question."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from llmsaver.embed.once import Once
from llmsaver.embed.wordpiece import readable, tokenizer
from llmsaver.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["NEEDS", "MiniLM", "default_embedder", "session", "states"]

NEEDS = ("numpy", "onnxruntime", "tokenizers", "onnx")
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
        from llmsaver.embed import weights

        found = weights.find(path)
        self.name = found.name
        self._tokenizer = tokenizer(_LONGEST)
        self._session = session(found.path)

    def embed(self, texts: Sequence[str]) -> Any:
        """Return the mean of the token vectors, at length 1, for each text by itself.

        One at a time: quantisation would make a vector depend on the others of its batch.
        """
        import numpy as np

        vectors = np.zeros((len(texts), self.dimensions), np.float32)
        for row, text in enumerate(texts):
            vector = states(self._session, self._tokenizer.encode(readable(text))).mean(0)
            vectors[row] = vector / max(float(np.linalg.norm(vector)), 1e-12)
        return vectors


def session(path: Path) -> Any:
    """Return a model that is ready to run, on one thread: the application's own threads are the parallelism."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # A pool of spinning threads costs the application's own CPU.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def states(loaded: Any, encoded: Any) -> Any:
    """Return what a model makes of each piece of a text, or of two, that is encoded: a row per piece."""
    import numpy as np

    numbers, sides = (np.array([each], np.int64) for each in (encoded.ids, encoded.type_ids))
    told = {"input_ids": numbers, "attention_mask": np.ones_like(numbers), "token_type_ids": sides}
    return loaded.run(None, told)[0][0]


DEFAULT = Once(MiniLM)


def default_embedder() -> MiniLM:
    """Return the process's one MiniLM, loaded at first use (0.4 s, 90 MB); ``MissingExtra`` without the extra."""
    return DEFAULT.get()
