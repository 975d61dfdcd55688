"""What of a request stands elsewhere than the caller put it, as far as it was asked for: volatile text and tools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmsaver.prompt.behind import put_behind
from llmsaver.prompt.canonical import FirstSeen
from llmsaver.prompt.moving import Movable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from llmsaver.prompt.moving import Taken

__all__ = ["Arranged", "Arranging"]

_ORDER = "tools come in another order than before"


@dataclass(frozen=True, slots=True)
class Arranged:
    """A request as its prefix should be, without what goes behind it, and what is to be told: (action, why)."""

    body: Mapping[str, Any]
    taken: Taken | None = None
    told: Sequence[tuple[str, str]] = ()
    reordered: bool = False

    @property
    def changed(self) -> bool:
        """Whether anything stands elsewhere."""
        return self.taken is not None or self.reordered

    def whole(self, dialect: str, marked: Mapping[str, Any] | None, *, keeps_tail: bool) -> Mapping[str, Any] | None:
        """Return the request that is sent, with its marks, if it has any; None where nothing is other than it was."""
        body = self.body if marked is None else marked
        if self.taken is None:
            return body if self.reordered else marked
        return put_behind(dialect, body, self.taken.said, self.taken.role, keeps_tail=keeps_tail)


class Arranging:
    """Arranges requests, group by group; ``moves``: whether anything may, or it is only told. Safe in threads."""

    def __init__(self, *, moves: bool) -> None:
        self._moves = moves
        self._movable = Movable()
        self._tools = FirstSeen()

    def arranged(self, group: str, dialect: str, body: Mapping[str, Any], now: datetime) -> Arranged:
        """Return a request with its tools as they first came and without the instructions that change, if asked for."""
        if not self._moves or body.get("previous_response_id") or body.get("conversation"):
            # A continued response has none of the earlier instructions, but all of the earlier messages.
            return Arranged(body, told=[("broken", _ORDER)] if self._tools.reorders(group, body.get("tools")) else ())
        tools = self._tools.first(group, body.get("tools"))
        told = []
        if tools is not None:
            body = {**body, "tools": tools}
            told.append(("reordered", f"{_ORDER}; sent in that"))
        taken = self._movable.taken(group, dialect, body, now)
        if taken is None or put_behind(dialect, taken.body, taken.said, taken.role, keeps_tail=False) is None:
            return Arranged(body, None, told, tools is not None)
        told.append(("moved", f"of the system prompt to the end: {', '.join(taken.kinds)}"))
        return Arranged(taken.body, taken, told, tools is not None)
