"""The most tokens that an image can be billed as, from its size in pixels."""

from __future__ import annotations

import base64
import binascii
import re
import struct
from typing import Final

__all__ = ["audio_tokens", "data_url", "image_size", "image_tokens"]

# Enough of a file to find its size in; a JPEG's comes after its metadata.
_HEAD: Final = 1 << 20
# Anthropic scales images down to at most 4,784 visual tokens; the rest is for the block around them.
_CLAUDE_MOST: Final = 5_000
_CLAUDE_HOSTS: Final = frozenset(("anthropic",))
# OpenAI's rules: tiles (at most 8 of them, dearest per tile on gpt-4o-mini: 2,833 + 8 * 5,667), or patches of 32 by 32
# pixels times a factor of at most 2.46, which small models cap at 1,536 patches and large ones don't.
_TILES_MOST: Final = 48_169
_SMALL_MOST: Final = 3_800
_PATCH: Final = 32
_TILED_MINI: Final = re.compile(r"4o-mini")
_OPENAI_HOSTS: Final = frozenset(("openai", "azure"))
_JPEG_SIZE: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_JPEG_BARE: Final = frozenset({0x01, *range(0xD0, 0xD9)})


def data_url(url: str) -> str | None:
    """Return the base64 text of a ``data:`` URL, or None for any other."""
    head, comma, data = url[:256].partition(",")
    if not comma or not head.lower().startswith("data:") or not head.lower().endswith(";base64"):
        return None
    return data + url[256:]


def image_tokens(provider: str, model: str, data: str) -> int | None:
    """Return the most an image can count as, or None where no rule of the provider's bounds it."""
    if provider in _CLAUDE_HOSTS or "claude" in model:
        return _CLAUDE_MOST
    if provider not in _OPENAI_HOSTS:
        return None
    if _TILED_MINI.search(model):
        return _TILES_MOST
    size = image_size(data)
    if size is None:
        return None
    width, height = size
    patches = -(-width // _PATCH) * -(-height // _PATCH)
    return max(_SMALL_MOST, patches * 5 // 4 + 64)


def audio_tokens(data: str) -> int:
    """Return a bound for base64 audio: vendors count at most some 10 tokens a second, no format has fewer bytes."""
    return len(data) * 3 // 4 + 64


def image_size(data: str) -> tuple[int, int] | None:
    """Return width and height of a base64 PNG, JPEG, GIF or WebP; None for what is none of them."""
    head = data[: _HEAD // 4 * 4]
    try:
        raw = base64.b64decode(head + "=" * (-len(head) % 4))
    except (binascii.Error, ValueError):
        return None
    try:
        size = _size(raw)
    except (struct.error, IndexError):
        return None
    return size if size is not None and size[0] > 0 and size[1] > 0 else None


def _size(raw: bytes) -> tuple[int, int] | None:
    if raw.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack(">II", raw[16:24])
        return width, height
    if raw[:6] in (b"GIF87a", b"GIF89a"):
        width, height = struct.unpack("<HH", raw[6:10])
        return width, height
    if raw[:4] == b"RIFF" and raw[8:12] == b"WEBP":
        return _webp(raw)
    return _jpeg(raw) if raw.startswith(b"\xff\xd8") else None


def _webp(raw: bytes) -> tuple[int, int] | None:
    kind = raw[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(raw[24:27], "little"), 1 + int.from_bytes(raw[27:30], "little")
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", raw[26:30])
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        bits = int.from_bytes(raw[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None


def _jpeg(raw: bytes) -> tuple[int, int] | None:
    at = 2
    while raw[at] == 0xFF:  # noqa: PLR2004 - every JPEG marker starts with this byte
        marker = raw[at + 1]
        if marker in _JPEG_SIZE:
            height, width = struct.unpack(">HH", raw[at + 5 : at + 9])
            return width, height
        at += 2 if marker in _JPEG_BARE else 2 + struct.unpack(">H", raw[at + 2 : at + 4])[0]
    return None
