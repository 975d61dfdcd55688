"""What an embedder of somebody else's hands over, as the unit vectors that are stored and compared."""

from __future__ import annotations

from typing import Any

from llmsaver.errors import ConfigurationError

__all__ = ["need_numpy", "unit_rows"]


def need_numpy() -> None:
    """Raise ``MissingExtra`` where numpy is not installed."""
    from importlib.util import find_spec

    from llmsaver.errors import MissingExtra

    if find_spec("numpy") is None:
        raise MissingExtra("SemanticCache (its vectors)", "semantic")


def unit_rows(vectors: Any, count: int, dimensions: int, name: str) -> Any:
    """Return vectors as float32 of length 1, of shape (count, dimensions); raises ``ConfigurationError`` for others."""
    need_numpy()
    import numpy as np

    if not count:
        return np.zeros((0, dimensions), np.float32)
    try:
        rows = np.asarray(vectors, np.float32)
    except (TypeError, ValueError):
        rows = np.zeros(0, np.float32)
    if rows.shape != (count, dimensions) or not np.isfinite(rows).all():
        raise ConfigurationError(
            f"the embedder {name} was asked for {count} vectors of {dimensions} numbers and gave {rows.shape}"
        )
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
