"""What was sent is written down for a day or two, and within bounds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from llmsaver.prompt import stub_journal
from llmsaver.prompt.stub_blocks import Output
from llmsaver.prompt.stub_journal import counts_of, known_of, note
from llmsaver.prompt.stub_places import Place
from llmsaver.prompt.stub_tables import prompts
from llmsaver.prompt.stubbing import Past, Prefix

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from sqlalchemy import Connection

DAY = 86_400.0


def send(place: Place, point: str, now: float, *, turns: int = 0, known: dict[int, Past] | None = None) -> None:
    """Write down a request that ends at message 1, after one that ended at message 0 where that is known."""
    known = known or {}
    points = {"first": 0, point: 1} if known else {point: 1}
    sent = Past(now, now, turns, frozenset(), tool=False)
    place.transact(
        lambda connection: note(
            connection, Prefix(known, [1, 2], [1, 1], []), points, sent, hot=max(known, default=-1), owner=(None, "f")
        )
    )


def count(place: Place) -> int:
    query = select(func.count()).select_from(prompts)
    return place.transact(lambda connection: int(connection.execute(query).scalar() or 0))


def test_how_far_talks_go_is_counted(tmp_path: Path) -> None:
    place = Place(tmp_path / "o.db")
    for number in range(3):
        send(place, f"{number}fff", 1.0, turns=number)
    send(place, "ffff", 2.0, turns=9, known={0: Past(1.0, 1.0, 2, frozenset(), tool=False)})
    assert place.transact(lambda connection: counts_of(connection, "f")) == {0: (1, 0), 1: (1, 0), 2: (1, 1), 8: (1, 0)}
    assert place.transact(lambda connection: counts_of(connection, "g")) == {}
    place.close()


def test_a_point_that_is_sent_in_another_form_is_not_kept_in_it_but_for_the_last(tmp_path: Path) -> None:
    """Where a request ended in the old form, none ends in the new one: a provider finds it at its own end alone."""
    place = Place(tmp_path / "o.db")
    outputs = [Output(at, ("messages", at), at, at, "t", "x", 1, fixed=False) for at in range(3)]
    prefix = Prefix({}, [1, 2, 3], [1, 1, 1], outputs)

    def sent(now: float, stubs: set[int], upto: int) -> dict[int, Past]:
        points = {f"{at}fff": at for at in range(upto + 1)}

        def work(connection: Connection) -> dict[int, Past]:
            known = known_of(connection, points)
            past = Past(now, now, upto, frozenset(stubs), tool=False)
            note(connection, replace(prefix, known=known), points, past, hot=-1, owner=(None, "f"))
            return known_of(connection, points)

        return place.transact(work)

    for at in range(3):
        known = sent(float(at + 1), set(), at)
    assert [known[at].made_at for at in range(3)] == [1.0, 2.0, 3.0]
    known = sent(10.0, {1}, 2)
    assert [(past.made_at, sorted(past.stubs)) for _, past in sorted(known.items())] == [
        (1.0, []),
        (0.0, [1]),
        (10.0, [1]),
    ]
    assert {past.sent_at for past in known.values()} == {10.0}
    place.close()


def test_what_no_provider_has_is_forgotten(tmp_path: Path) -> None:
    place = Place(tmp_path / "o.db")
    send(place, "a" * 24, 0.0)
    send(place, "b" * 24, 1.5 * DAY)
    assert count(place) == 2
    send(place, "0" * 24, 2.5 * DAY)
    assert count(place) == 2
    assert set(place.transact(lambda connection: known_of(connection, {"a" * 24: 0, "b" * 24: 1}))) == {1}
    place.close()


def test_the_oldest_of_too_many_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stub_journal, "_MOST", 20)
    place = Place(tmp_path / "o.db")
    for number in range(25):
        send(place, f"{number:020d}ffff", float(number))
    send(place, "0" * 24, 30.0)
    assert count(place) == 18
    place.close()
