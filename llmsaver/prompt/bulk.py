"""What no model reads: long runs of base64, alone or in data addresses, and space at the ends of lines."""

from __future__ import annotations

import re

__all__ = ["without_bulk", "without_trailing_space"]

_FEWEST = 200
_DATA = re.compile(rf"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.-]+)*;base64,([A-Za-z0-9+/=_\s-]{{{_FEWEST},}})")
_RUN = re.compile(
    rf"(?<![A-Za-z0-9+/=_-])(?:[A-Za-z0-9+/_-]{{{_FEWEST},}}(?:\r?\n[A-Za-z0-9+/_-]{{40,}})*|(?:[A-Za-z0-9+/]{{60,76}}\r?\n){{3,}}[A-Za-z0-9+/]+)"
    r"(?:[A-Za-z0-9+/]*={1,2})?(?![A-Za-z0-9+/=_-])"
)
_TRAILING = re.compile(r"[ \t]+$", re.MULTILINE)
_MIXED = (re.compile(r"[a-z]"), re.compile(r"[A-Z]"), re.compile(r"\d"))


def without_bulk(text: str) -> str:
    """Return a text in which base64 of at least 200 characters is told by its kind and size.

    What is of one case only, or has no digit, is a word or a sequence of letters and stays.
    """

    def data(found: re.Match[str]) -> str:
        return f"[{found[1] or 'data'}, {_bytes(found[2]):,} bytes in base64, left out]"

    def run(found: re.Match[str]) -> str:
        if not all(kind.search(found.group()) for kind in _MIXED):
            return found.group()
        return f"[{_bytes(found.group()):,} bytes in base64, left out]"

    return _RUN.sub(run, _DATA.sub(data, text))


def without_trailing_space(text: str) -> str:
    """Return a text without the spaces and tabs at the ends of its lines."""
    return _TRAILING.sub("", text)


def _bytes(coded: str) -> int:
    return len("".join(coded.split()).rstrip("=")) * 3 // 4
