"""How prompts were last sent, in the place of the originals: what is frozen is read here, by every process."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from llmsaver.prompt.stub_lengths import bucket_of
from llmsaver.prompt.stub_tables import lengths, prompts, tenant_key
from llmsaver.prompt.stubbing import Past

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from llmsaver.prompt.stub_lengths import Counts
    from llmsaver.prompt.stubbing import Prefix

__all__ = ["counts_of", "known_of", "note"]

_AT_ONCE = 400
# No provider keeps a prefix for longer than a day; what is older than two is of no use, nor are more rows than these.
_LONGEST = 2 * 86_400.0
_MOST, _ROOM = 100_000, 0.9
_SWEEP_EVERY = 256

# Built once: building them costs more than running them.
_POINTS = prompts.c.point.in_(bindparam("points", expanding=True))
_POINT = prompts.c.point == bindparam("at")
_COLUMNS = (prompts.c.point, *(prompts.c[name] for name in ("made_at", "sent_at", "turns", "stubs", "tool")))
_KNOWN = select(*_COLUMNS).where(_POINTS)
_SENT = update(prompts).where(_POINTS).values(sent_at=bindparam("now"))
_RESHAPED = update(prompts).where(_POINT).values(stubs=bindparam("told"), made_at=bindparam("made"))
_GONE = delete(prompts).where(_POINT)
_ADD = insert(prompts)
_COUNTS = select(lengths.c.bucket, lengths.c.reached, lengths.c.went_on).where(lengths.c.feature == bindparam("of"))
_COUNT = (
    update(lengths)
    .where(lengths.c.feature == bindparam("of"), lengths.c.bucket == bindparam("at"))
    .values(reached=lengths.c.reached + bindparam("one"), went_on=lengths.c.went_on + bindparam("more"))
)
_BEGIN = insert(lengths)


def known_of(connection: Connection, points: Mapping[str, int]) -> dict[int, Past]:
    """Return what is known of points, by the number of the message that each ends with; broken rows are not known."""
    names = list(points)
    found: dict[int, Past] = {}
    for at in range(0, len(names), _AT_ONCE):
        for row in connection.execute(_KNOWN, {"points": names[at : at + _AT_ONCE]}):
            past = _past(row)
            if past is not None:
                found[points[row.point]] = past
    return found


def counts_of(connection: Connection, feature: str) -> dict[int, Counts]:
    """Return how far talks of a feature went, by bucket."""
    found = connection.execute(_COUNTS, {"of": _key(feature)})
    return {bucket: (reached, went_on) for bucket, reached, went_on in found}


def note(
    connection: Connection,
    prefix: Prefix,
    points: Mapping[str, int],
    sent: Past,
    *,
    hot: int,
    owner: tuple[str | None, str],
) -> None:
    """Write down how a request is sent, for it and for the points it begins with.

    ``points``: hash to message, the request's own last; ``hot``: the message up to which a provider may have had it;
    ``owner``: tenant and feature.
    """
    tenant, feature = owner
    ends = {output.number: output.message for output in prefix.outputs}
    by_message = {message: point for point, message in points.items()}
    names = [by_message[message] for message in prefix.known]
    for at in range(0, len(names), _AT_ONCE):
        connection.execute(_SENT, {"points": names[at : at + _AT_ONCE], "now": sent.sent_at})
    last = max(by_message)
    for message, past in prefix.known.items():
        stubs = frozenset(number for number in sent.stubs if ends[number] <= message)
        if stubs != past.stubs:
            # In its new form no request has ended at this point, so that no provider finds it there, but at the last.
            made = sent.made_at if message == last else 0.0
            connection.execute(_RESHAPED, {"at": by_message[message], "told": _told(stubs), "made": made})
    if last in prefix.known:
        return  # the same request again
    row = {"point": by_message[last], "tenant": tenant_key(tenant), "made_at": sent.made_at, "sent_at": sent.sent_at}
    connection.execute(_GONE, {"at": by_message[last]})  # a broken row
    connection.execute(_ADD, {**row, "stubs": _told(sent.stubs), "turns": sent.turns, "tool": sent.tool})
    _count(connection, feature, sent.turns, reached=1, went_on=0)
    if hot in prefix.known:
        _count(connection, feature, prefix.known[hot].turns, reached=0, went_on=1)
    if int(by_message[last][-4:], 16) % _SWEEP_EVERY == 0:
        _sweep(connection, sent.sent_at)


def _count(connection: Connection, feature: str, turns: int, *, reached: int, went_on: int) -> None:
    name, bucket = _key(feature), bucket_of(turns)
    if not connection.execute(_COUNT, {"of": name, "at": bucket, "one": reached, "more": went_on}).rowcount:
        row = {"feature": name, "bucket": bucket, "reached": reached, "went_on": went_on}
        connection.execute(_BEGIN, row)


def _sweep(connection: Connection, now: float) -> None:
    """Forget prompts that no provider has any more, and the oldest of too many."""
    connection.execute(delete(prompts).where(prompts.c.sent_at < now - _LONGEST))
    count = int(connection.execute(select(func.count()).select_from(prompts)).scalar() or 0)
    if count > _MOST:
        nth = select(prompts.c.sent_at).order_by(prompts.c.sent_at).offset(count - int(_ROOM * _MOST)).limit(1)
        connection.execute(delete(prompts).where(prompts.c.sent_at < connection.execute(nth).scalar()))


def _key(feature: str) -> str:
    return blake2b(feature.encode("utf-8", "replace"), digest_size=16, person=b"feature").hexdigest()


def _told(stubs: frozenset[int]) -> str:
    return json.dumps(sorted(stubs), separators=(",", ":"))


def _past(row: Any) -> Past | None:
    """Return what a row says; None where it is not what was written."""
    try:
        stubs = json.loads(row.stubs)
        if isinstance(stubs, list) and all(type(number) is int and number >= 0 for number in stubs):
            return Past(float(row.made_at), float(row.sent_at), int(row.turns), frozenset(stubs), bool(row.tool))
    except (TypeError, ValueError):
        pass
    return None
