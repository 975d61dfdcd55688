"""Whether two questions want the same answer, read together: MiniLM with small changes of its weights, and a head."""

from __future__ import annotations

from importlib.resources import as_file, files
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from llmsaver.embed.minilm import NEEDS, session, states
from llmsaver.embed.once import Once
from llmsaver.embed.wordpiece import readable, tokenizer
from llmsaver.errors import MissingExtra

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CHANGES", "CrossEncoder", "default_cross_encoder", "ready"]

# Made by benchmarks/cache_cross_encoder.py: low-rank changes of the pinned int8 weights, and the head that reads them.
CHANGES = "cross_encoder.npz"
# Pieces of both texts together. It was fitted on questions of up to some forty words, and says nothing of longer ones.
LONGEST = 128
# It is never surer than this: one in three thousand.
GREATEST = 8.0


class CrossEncoder:
    """Reads two questions together, 4 CPU-ms for two of twelve words; thread-safe.

    A text's own vector cannot tell "from A to B" from "from B to A"; here each word sees the other question's words
    (Nogueira and Cho 2019, arXiv:1901.04085). Fitted by low-rank changes (Hu et al. 2021, arXiv:2106.09685) of the
    embedder's own weights, so that 3 MB are shipped, not 22. Raises ``MissingExtra`` or ``ConfigurationError``.
    """

    def __init__(self) -> None:
        if any(find_spec(name) is None for name in NEEDS):
            raise MissingExtra("SemanticCache (its cross-encoder)", "semantic")
        self._head = _head()
        found = ready()
        try:
            self._session = session(found)
        except Exception:  # noqa: BLE001 - onnxruntime's own; a full disk or a sudden end left half a file
            found.unlink(missing_ok=True)
            self._session = session(ready())
        self._tokenizer = tokenizer(LONGEST + 1)
        self._unknown = self._tokenizer.token_to_id("[UNK]")

    def logit(self, one: str, other: str) -> float | None:
        """Return the log-odds that one answer serves both, before any calibration.

        None for what is too long, and where a word cannot be told from others: the vocabulary has no part of it.
        """
        import numpy as np

        encoded = self._tokenizer.encode(readable(one), readable(other))
        if len(encoded.ids) > LONGEST or self._unknown in encoded.ids:
            return None
        rows, sides = states(self._session, encoded), np.array(encoded.type_ids)
        here, there = rows[sides == 0].mean(0), rows[sides == 1].mean(0)
        read = np.concatenate([rows[0], np.abs(here - there), here * there, (here + there) / 2])
        hidden = self._head["hidden.weight"] @ read + self._head["hidden.bias"]
        # A ReLU, where most encoders have a GELU: numpy has no erf.
        logit = float(self._head["out.weight"] @ np.maximum(hidden, 0) + self._head["out.bias"])
        return max(-GREATEST, min(logit, GREATEST))


def ready() -> Path:
    """Return the model to run, made of the embedder's weights where it is not here yet; ``ConfigurationError``."""
    from llmsaver.embed import weights

    with as_file(files(__package__) / CHANGES) as changes:
        return weights.adapted(changes)


def _head() -> dict[str, Any]:
    import numpy as np

    with as_file(files(__package__) / CHANGES) as changes, np.load(changes, allow_pickle=False) as kept:
        return {name[5:]: kept[name].astype(np.float32) for name in kept.files if name.startswith("head:")}


_default = Once(CrossEncoder)


def default_cross_encoder() -> CrossEncoder:
    """Return the process's one, loaded at first use (0.1 s, 35 MB); ``MissingExtra`` without the extra."""
    return _default.get()
