"""Tools that come in another order than before, or with their keys in another: the same tools, but not to a cache.

A provider's cache compares bytes. The order of tools, and of the keys of JSON objects, has no meaning by any of the
dialects; yet a model reads them in an order, and with a strict schema writes its arguments in the order of its
properties. So it is told whenever a new order comes, which no cache has, and the first order is sent only where the
caller asked for it.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from hashlib import blake2b
from typing import Any

__all__ = ["FirstSeen"]

_SETS, _ORDERS, _LONGEST = 200, 2_000, 200_000
_write = json.JSONEncoder(separators=(",", ":")).encode
_write_sorted = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


class FirstSeen:
    """Remembers sets of tools as they first came, by group, and which orders came since.

    Safe in threads; at most 200 sets of 200 kB each, and 2,000 orders by their hash.
    """

    def __init__(self) -> None:
        self._sets: OrderedDict[tuple[str, tuple[str, ...]], tuple[str, list[Any]]] = OrderedDict()
        self._as_first: OrderedDict[str, str] = OrderedDict()
        self._orders: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def reorders(self, group: str, tools: Any) -> bool:
        """Return whether tools that came before come in an order in which they did not: once for each order."""
        plain = _plain(tools)
        if plain is None:
            return False
        name = blake2b(f"{group}\0{plain}".encode("utf-8", "replace"), digest_size=12).digest()
        with self._lock:
            known = name in self._orders
            self._orders[name] = None
            self._orders.move_to_end(name)
            while len(self._orders) > _ORDERS:
                self._orders.popitem(last=False)
        return not known and self.first(group, tools) is not None

    def first(self, group: str, tools: Any) -> list[Any] | None:
        """Return the same tools in the order, and with the keys in the order, in which they first came.

        None where they come so now, are new, or are no JSON. What is returned equals what was given but for order.
        """
        plain = _plain(tools)
        if plain is None:
            return None
        with self._lock:
            if self._as_first.get(group) == plain:
                return None
        try:
            names = tuple(sorted(map(_write_sorted, tools)))
        except (TypeError, ValueError, RecursionError):
            return None
        with self._lock:
            written, known = self._sets.setdefault((group, names), (plain, json.loads(plain)))
            self._sets.move_to_end((group, names))
            while len(self._sets) > _SETS:
                self._sets.popitem(last=False)
            if written == plain:
                self._as_first[group] = plain
                self._as_first.move_to_end(group)
                while len(self._as_first) > _SETS:
                    self._as_first.popitem(last=False)
                return None
        return known


def _plain(tools: Any) -> str | None:
    """Return tools as they are written, None where they are none, no JSON, or too long."""
    if not isinstance(tools, list) or not tools:
        return None
    try:
        plain = _write(tools)
    except (TypeError, ValueError, RecursionError):
        return None
    return plain if len(plain) <= _LONGEST else None
