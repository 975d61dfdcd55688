"""What layers did to calls, in rows and in sums that must agree."""

import time
from collections.abc import Callable

from llmsaver.core.entry import Attempt, Entry
from llmsaver.ledger import CallRow, Ledger
from llmsaver.ledger.shaped import LayerLine

DAY = 86_400.0
NOON = 20_000 * DAY + DAY / 2
CACHE, COMPRESS = {"prompt cache": [None, None, 700, "time, line 3"]}, {"compress": [1000, 400, 60]}


def found(ledger: Ledger, since: float | None = None, until: float | None = None) -> list[LayerLine]:
    with ledger.reader() as reader:
        return reader.layers(since=since, until=until)


def test_an_entrys_shapes_are_in_its_row(either: Ledger) -> None:
    entry = Entry("chat", "m", prefix=["m", 1])
    entry.attempts.append(Attempt("h", "m", 200))
    entry.act("compress", "shortened", "json", before=4000, after=1600)
    assert either.write(CallRow.of(entry)).ok
    assert either.write(CallRow("plain")).ok
    with either.reader() as reader:
        row, plain = reader.call(entry.id), reader.call("plain")
    assert row is not None
    assert plain is not None
    assert (row["shaped"], row["prefix"]) == ({"compress": [1000, 400]}, ["m", 1])
    assert (plain["shaped"], plain["prefix"], plain["routing"]) == ({}, None, None)


def test_sums_and_rows_say_the_same(either: Ledger) -> None:
    for n in range(6):
        shaped = CACHE | COMPRESS if n % 2 else CACHE
        assert either.write(CallRow(f"e{n}", started_at=NOON + n * DAY, feature="f", shaped=shaped)).ok
    assert either.write(CallRow("e9", started_at=NOON, feature="g", shaped={"effort": []})).ok
    wanted = [
        LayerLine("f", "prompt cache", 6, 6, 0, 0, 4200),
        LayerLine("f", "compress", 3, 3, 3000, 1200, 180),
        LayerLine("g", "effort", 1, 0, 0, 0, 0),
    ]
    loose = found(either)
    assert loose == wanted
    assert either.fold() == 7
    assert found(either) == wanted
    assert either.write(CallRow("late", started_at=NOON, feature="f", shaped=COMPRESS)).ok
    assert found(either)[1] == LayerLine("f", "compress", 4, 4, 4000, 1600, 240)
    part = found(either, NOON - 60, NOON + DAY + 60)
    assert part[0] == LayerLine("f", "prompt cache", 2, 2, 0, 0, 1400)


def test_what_a_budget_refused_was_shaped_for_nothing(either: Ledger) -> None:
    assert either.write(CallRow("e1", started_at=NOON, shaped=COMPRESS, refused=True)).ok
    assert found(either) == []
    assert either.fold() == 1
    assert found(either) == []


def test_a_row_written_again_is_in_the_sums_once(either: Ledger) -> None:
    assert either.write(CallRow("e1", started_at=NOON, shaped=CACHE)).ok
    assert either.fold() == 1
    assert either.write(CallRow("e1", started_at=NOON, shaped=COMPRESS)).ok
    assert found(either) == [LayerLine("default", "compress", 1, 1, 1000, 400, 60)]
    assert either.fold() == 1
    assert found(either) == [LayerLine("default", "compress", 1, 1, 1000, 400, 60)]


def test_what_is_pruned_is_in_no_sum(either: Ledger) -> None:
    for n in (0, 2):
        assert either.write(CallRow(f"e{n}", started_at=NOON + n * DAY, shaped=CACHE)).ok
    either.fold()
    assert either.prune(NOON + DAY) == 1
    assert found(either) == [LayerLine("default", "prompt cache", 1, 1, 0, 0, 700)]


def test_what_is_no_object_is_nothing(make: Callable[..., Ledger], place: str) -> None:
    ledger = make(place)
    assert ledger.write(CallRow("e1", started_at=time.time(), shaped=[1])).ok  # type: ignore[arg-type]  # on purpose
    assert found(ledger) == []
