"""The embeddings endpoint: vectors that are equal for equal texts and close for texts that share words."""

import base64
import hashlib
import math
import re
import struct
from typing import Any

from llmsaver.testing.text import JSON, count

_DEFAULT_DIMENSIONS = 1536
_HASHES_PER_WORD = 4


def body(request: JSON) -> JSON:
    """Answer `POST /embeddings`; floats, or base64 of little-endian float32 when asked for."""
    inputs = _inputs(request["input"])
    size = request.get("dimensions") or _DEFAULT_DIMENSIONS
    encoded = request.get("encoding_format") == "base64"
    tokens = sum(len(item) if isinstance(item, list) else count(item) for item in inputs)
    vectors = [vector(str(item), size) for item in inputs]
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _base64(values) if encoded else values}
            for index, values in enumerate(vectors)
        ],
        "model": request.get("model", "azure-deployment"),
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def vector(text: str, size: int) -> list[float]:
    """Hash a text's words into a vector of length 1."""
    values = [0.0] * size
    for word in re.findall(r"\w+", text.lower()) or [text]:
        digest = hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest()
        for start in range(0, 8 * _HASHES_PER_WORD, 8):
            place = int.from_bytes(digest[start : start + 7], "big") % size
            values[place] += 1.0 if digest[start + 7] & 1 else -1.0
    length = math.sqrt(sum(value * value for value in values)) or 1.0
    return [value / length for value in values]


def _inputs(given: Any) -> list[Any]:
    if isinstance(given, str):
        return [given]
    return [given] if given and isinstance(given[0], int) else list(given)


def _base64(values: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
