"""What a local model's server was up and busy for, so that a report can say what its idle time cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func

from llmsaver.ledger.schema import servers
from llmsaver.ledger.statements import Statement, inserted

if TYPE_CHECKING:
    from sqlalchemy import Dialect

__all__ = ["SERVER", "ServerRow", "server_values"]


@dataclass(frozen=True, slots=True)
class ServerRow:
    """One server's time from its start until ``updated_at`` (seconds since the epoch), whoever used it.

    ``busy_s`` are the seconds of ``up_s`` in which it worked on any call; ``hourly_nano`` is what an hour of it costs,
    up or busy, in nano-dollars, None where nobody said.
    """

    id: str
    name: str
    started_at: float
    updated_at: float
    up_s: float
    busy_s: float
    hourly_nano: int | None = None


def _put(dialect: Dialect) -> Any:
    """Return an upsert that never takes time back: of several programs that tell, the one that saw most is right."""
    statement = inserted(servers)(dialect)
    most = func.max if dialect.name == "sqlite" else func.greatest
    grown = {name: most(servers.c[name], statement.excluded[name]) for name in ("updated_at", "up_s", "busy_s")}
    price = func.coalesce(statement.excluded.hourly_nano, servers.c.hourly_nano)
    return statement.on_conflict_do_update(index_elements=["id"], set_={**grown, "hourly_nano": price})


COLUMNS = ("id", "name", "started_at", "updated_at", "up_s", "busy_s", "hourly_nano")
SERVER = Statement(_put, *COLUMNS)


def server_values(row: ServerRow) -> list[Any]:
    """Return the row's values in the order of ``SERVER``."""
    return [getattr(row, name) for name in COLUMNS]
