"""Engines for a PostgreSQL server; what they do is tried by the stores on a real one."""

from __future__ import annotations

import pytest
from sqlalchemy import make_url

from llmsaver.errors import ConfigurationError
from llmsaver.ledger import postgresql as module
from llmsaver.ledger.postgresql import postgresql


def test_the_driver_is_ours_and_nothing_is_connected_yet() -> None:
    engine = postgresql(make_url("postgresql://u:p@nowhere.invalid/db"), "ledger", size=2)
    assert engine.url.drivername == "postgresql+psycopg"


def test_another_kind_of_server_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r"the cache is kept .* mysql is neither: set cache= to a path"):
        postgresql(make_url("mysql://u@h/db"), "cache", size=2)


def test_a_driver_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_here(*_: object, **__: object) -> None:
        raise ImportError("No module named 'psycopg'")

    monkeypatch.setattr(module, "create_engine", none_here)
    with pytest.raises(ConfigurationError, match=r"psycopg.*pip install 'llmsaver\[postgres\]'"):
        postgresql(make_url("postgresql://h/db"), "ledger", size=2)
