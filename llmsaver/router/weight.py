"""How many bytes of text a model reads in a request, with pictures and files counted as text that costs as much."""

from __future__ import annotations

from typing import Any

__all__ = ["MEDIA", "weight"]

# Parts of a message that are no text, by their type.
MEDIA = frozenset({"image_url", "input_image", "image", "document", "file", "input_file", "input_audio", "audio",
                   "video", "video_url", "container_upload"})  # fmt: skip
# Some 1,600 tokens: what vendors document for a picture of a megapixel.
_PICTURE = 4_800
_PICTURES = frozenset({"image_url", "input_image", "image"})
# A page of a PDF file is some 50 kB in Base64 and 2,000 tokens; so few bytes of it weigh as much as one of text.
_PER_BYTE = 8
# What a vendor wraps around a message or a field of a schema.
_OBJECT = 12


def weight(value: Any) -> int:
    """Return the bytes of all text in a JSON value, keys included; media by what they cost, not by their Base64."""
    total = 0
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, str):
            total += _bytes(each)
        elif isinstance(each, list):
            left += each
        elif isinstance(each, dict):
            total += _OBJECT
            if isinstance(each.get("type"), str) and each["type"] in MEDIA:
                total += _media(each)
                continue
            total += sum(map(_bytes, each))
            left += each.values()
        else:
            total += 2
    return total


def _media(part: dict[str, Any]) -> int:
    if part["type"] in _PICTURES:
        return _PICTURE
    longest = 0
    left: list[Any] = [part]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            left += each.values()
        elif isinstance(each, list):
            left += each
        elif isinstance(each, str):
            longest = max(longest, len(each))
    return max(_PICTURE, longest // _PER_BYTE)


def _bytes(text: str) -> int:
    # A lone surrogate has no UTF-8, and weighs what any other letter of its size does.
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
