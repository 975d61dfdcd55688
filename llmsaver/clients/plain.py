"""Values that an SDK's request transform returns as they are."""

from __future__ import annotations

from typing import Any

__all__ = ["is_plain"]

_SCALARS = frozenset({str, int, float, bool, type(None)})
# Beyond this the walk would cost what it saves; it also ends a structure that contains itself.
_LARGEST = 200_000


def is_plain(value: Any) -> bool:
    """Tell whether ``value`` is built of exactly dict, list, str, int, float, bool and None."""
    waiting = [value]
    seen = 0
    while waiting:
        item = waiting.pop()
        kind = type(item)
        if kind is dict:
            if not all(type(key) is str for key in item):
                return False
            parts: Any = item.values()
        elif kind is list:
            parts = item
        elif kind in _SCALARS:
            continue
        else:
            return False
        waiting += [part for part in parts if type(part) not in _SCALARS]
        seen += len(item)
        if seen > _LARGEST:
            return False
    return True
