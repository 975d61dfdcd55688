"""The fake's own tokens, identifiers and JSON: deterministic, and close enough to the vendors' in shape."""

import hashlib
import json
import re
from typing import Any, TypeAlias

JSON: TypeAlias = dict[str, Any]

_PIECE = re.compile(r"\s*\w{1,6}|\s*[^\w\s]|\s+")
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_MAX_DELTAS = 1000


def pieces(text: str) -> list[str]:
    """Cut a text into tokens; joined they are the text again."""
    return _PIECE.findall(text)


def count(text: str) -> int:
    """Count tokens without keeping them, for texts of many megabytes."""
    return sum(1 for _ in _PIECE.finditer(text))


def deltas(text: str) -> list[tuple[str, int]]:
    """Cut a text into what each streamed event carries, with its number of tokens; at most some 1,000 events."""
    tokens = pieces(text)
    step = len(tokens) // _MAX_DELTAS + 1
    groups = (tokens[start : start + step] for start in range(0, len(tokens), step))
    return [("".join(group), len(group)) for group in groups]


def identifier(prefix: str, *seed: object, length: int = 24) -> str:
    """Make the same vendor-like id (`chatcmpl-...`, `msg_01...`) from the same seed."""
    digest = hashlib.sha512(repr(seed).encode()).digest()
    return prefix + "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:length])


def dumps(value: object) -> bytes:
    """Write compact UTF-8 JSON as the vendors do; lone surrogates, which UTF-8 cannot carry, become escapes."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()
