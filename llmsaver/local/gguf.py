"""What a GGUF file says about itself: its architecture, its size in memory per token, its longest context.

The format is that of https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, TypeGuard

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Header", "read"]

_MAGIC = b"GGUF"
_VERSIONS = frozenset({2, 3})
_STRING, _ARRAY = 8, 9
_NUMBERS = {0: "B", 1: "b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "?", 10: "<Q", 11: "<q", 12: "<d"}
_CACHE_BYTES = 2  # a number of the KV cache, in 16 bits
_LAYERS = 10_000
_LONGEST = 1 << 24  # more than any name or template has, less than would hurt


class _Unreadable(Exception):  # noqa: N818 - never leaves this module
    """It ends too early, or is no GGUF file."""


@dataclass(frozen=True, slots=True)
class Header:
    """What was found; None where the file does not say. ``kv_bytes`` is the cache's memory per token, in 16 bits.

    ``pools``: it says how its tokens' vectors become one, as embedding models do.
    """

    architecture: str | None = None
    name: str | None = None
    max_context: int | None = None
    kv_bytes: int | None = None
    pools: bool = False


def read(path: Path) -> Header | None:
    """Read the header of a GGUF file; None where it cannot be read or is none."""
    try:
        with path.open("rb") as file:
            return _header(_pairs(file))
    except (OSError, _Unreadable):
        return None


def _header(pairs: dict[str, Any]) -> Header:
    kind = pairs.get("general.architecture")
    whole = {key: value for key, value in pairs.items() if isinstance(value, int) and value > 0}
    name, longest = pairs.get("general.name"), whole.get(f"{kind}.context_length")
    return Header(
        kind if isinstance(kind, str) else None,
        name if isinstance(name, str) else None,
        longest,
        _kv(pairs, kind),
        pools=f"{kind}.pooling_type" in whole,
    )


def _kv(pairs: dict[str, Any], kind: Any) -> int | None:
    """Return 2 bytes x layers x KV heads x (key size + value size); heads may differ by layer."""
    layers, heads = pairs.get(f"{kind}.block_count"), pairs.get(f"{kind}.attention.head_count")
    held = pairs.get(f"{kind}.attention.head_count_kv", heads)
    wide = pairs.get(f"{kind}.embedding_length")
    each = wide // heads if isinstance(wide, int) and isinstance(heads, int) and heads > 0 else None
    per_layer = [held] * layers if isinstance(held, int) and isinstance(layers, int) and layers < _LAYERS else held
    sizes = [pairs.get(f"{kind}.attention.{part}_length", each) for part in ("key", "value")]
    return _CACHE_BYTES * sum(per_layer) * sum(sizes) or None if _whole(per_layer) and _whole(sizes) else None


def _whole(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and bool(value) and all(isinstance(each, int) for each in value)


def _pairs(file: BinaryIO) -> dict[str, Any]:
    """Read the metadata; arrays of text (vocabularies) are skipped, their values are not kept."""
    if _take(file, 4) != _MAGIC or _number(file, "<I") not in _VERSIONS:
        raise _Unreadable
    _number(file, "<Q")  # of tensors
    found: dict[str, Any] = {}
    for _ in range(_count(file)):
        key = _text(file)
        found[key] = _value(file, _number(file, "<I"))
    return found


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _text(file)
    if kind != _ARRAY:
        return _number(file, _NUMBERS.get(kind))
    inner, length = _number(file, "<I"), _count(file)
    if inner == _STRING:
        for _ in range(length):
            _take(file, _count(file))
        return None
    form = _NUMBERS.get(inner)
    if form is None:
        raise _Unreadable
    size = struct.calcsize(form)
    content = _take(file, size * length)
    return [struct.unpack(form, content[at : at + size])[0] for at in range(0, len(content), size)]


def _text(file: BinaryIO) -> str:
    return _take(file, _count(file)).decode("utf-8", "replace")


def _count(file: BinaryIO) -> int:
    number = _number(file, "<Q")
    if number > _LONGEST:
        raise _Unreadable
    return int(number)


def _number(file: BinaryIO, form: str | None) -> Any:
    if form is None:
        raise _Unreadable
    return struct.unpack(form, _take(file, struct.calcsize(form)))[0]


def _take(file: BinaryIO, length: int) -> bytes:
    content = file.read(length)
    if len(content) != length:
        raise _Unreadable
    return content
