"""What can happen to a server: connections cut, deadlocks, a commit that may or may not have happened, a fork."""

from collections.abc import Callable
from subprocess import Popen
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from llmsaver.ledger import Budget, CallRow, Claim, Hold, Ledger, LedgerUnavailable
from llmsaver.ledger.statements import Transaction

Make = Callable[..., Ledger]


def cut(url: str) -> None:
    """End every other connection to the database, as a restart does."""
    engine = create_engine(url)
    with engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    engine.dispose()


def test_connections_that_were_cut_are_made_again(make: Make, postgres: str) -> None:
    ledger = make(postgres)
    assert ledger.write(CallRow("e1")).ok
    cut(postgres)
    assert ledger.write(CallRow("e2")).ok
    claim = Claim(Budget("b", limit_calls=1))
    cut(postgres)
    assert isinstance(ledger.reserve([claim], nano=0), Hold)
    with ledger.reader() as reader:
        assert reader.totals().calls == 2


def test_a_commit_that_was_cut_is_not_done_twice(make: Make, postgres: str) -> None:
    ledger = make(postgres)
    tries = []

    def work(transaction: Transaction) -> None:
        transaction.cursor.execute("SELECT 1")
        tries.append(1)
        cut(postgres)

    with pytest.raises(LedgerUnavailable, match="cannot be used"):
        ledger.store.transact(work, 5.0)
    assert len(tries) == 1


def test_a_deadlock_is_tried_again_as_long_as_there_is_patience(make: Make, postgres: str) -> None:
    from psycopg.errors import DeadlockDetected

    ledger = make(postgres)
    tries: list[int] = []

    def work(_: Transaction) -> str:
        tries.append(1)
        if len(tries) < 3:
            raise DeadlockDetected("deadlock detected")
        return "done"

    assert ledger.store.transact(work, 5.0) == "done"

    def never(_: Transaction) -> Any:
        raise DeadlockDetected("deadlock detected")

    with pytest.raises(LedgerUnavailable, match="deadlock"):
        ledger.store.transact(never, 0.05)


def test_what_the_application_raises_goes_through(make: Make, postgres: str) -> None:
    ledger = make(postgres)

    def work(transaction: Transaction) -> None:
        transaction.cursor.execute("INSERT INTO meta VALUES ('a', 'b')")
        raise KeyError("mine")

    with pytest.raises(KeyError):
        ledger.store.transact(work, 1.0)
    with ledger.reader() as reader:
        assert "a" not in reader.meta()


def test_it_opens_at_first_use_and_again_after_being_closed(postgres: str) -> None:
    ledger = Ledger(postgres)
    assert ledger.write(CallRow("e1")).ok
    ledger.close()
    assert ledger.write(CallRow("e2")).ok
    ledger.store.tidy()
    ledger.close()


def test_a_plain_url_means_the_driver_that_is_installed(postgres: str) -> None:
    with Ledger(postgres.replace("postgresql+psycopg:", "postgresql:")) as ledger:
        assert ledger.write(CallRow("e1")).ok


FORK = """
import os, sys
from llmsaver.ledger import CallRow, Ledger
ledger = Ledger(sys.argv[1]).open()
assert ledger.write(CallRow("parent-1")).ok
pid = os.fork()
if pid == 0:
    ok = all(ledger.write(CallRow(f"child-{i}")).ok for i in range(20))
    ledger.close()
    os._exit(0 if ok else 1)
assert all(ledger.write(CallRow(f"more-{i}")).ok for i in range(20))
assert os.waitpid(pid, 0)[1] == 0
with ledger.reader() as reader:
    print(reader.totals().calls)
ledger.close()
"""


def test_a_forked_child_has_connections_of_its_own(postgres: str, python: Callable[..., Popen[str]]) -> None:
    assert python(FORK, postgres).communicate()[0].strip() == "41"
