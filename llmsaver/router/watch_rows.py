"""What a watch has seen, as a row of JSON: shares in six digits, words as a bit each."""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["WORDS", "row_of", "sequences_of"]

# Words are told apart by so many numbers, which is fewer than there are words.
WORDS = 1 << 16
# More than a watch ever has of one kind: what says otherwise is no watch's.
_MOST = 10_000


def row_of(seen: Mapping[str, Iterable[float]], words: Iterable[int]) -> dict[str, Any]:
    """Return lists of shares and a set of numbers below ``WORDS`` as JSON has them."""
    bits = bytearray(WORDS // 8)
    for word in words:
        bits[word % WORDS // 8] |= 1 << word % 8
    told: dict[str, Any] = {name: [float(f"{float(each):.6g}") for each in values] for name, values in seen.items()}
    return {**told, "words": base64.b64encode(zlib.compress(bytes(bits))).decode()}


def sequences_of(row: Mapping[str, Any], names: Sequence[str]) -> tuple[dict[str, list[float]], set[int]] | None:
    """Return what ``row_of`` was given; None for what it did not make."""
    found: dict[str, list[float]] = {}
    for name in names:
        values = row.get(name)
        if not isinstance(values, list) or len(values) > _MOST or not all(map(_is_number, values)):
            return None
        found[name] = [float(each) for each in values]
    try:
        unpacked = zlib.decompressobj()
        bits = unpacked.decompress(base64.b64decode(row["words"], validate=True), WORDS // 8)
    except (KeyError, TypeError, ValueError, zlib.error, binascii.Error):
        return None
    return found, {8 * at + bit for at, byte in enumerate(bits) if byte for bit in range(8) if byte >> bit & 1}


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and isinstance(value, int | float) and math.isfinite(value)
