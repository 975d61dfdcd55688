"""The answers of a run on disk: kept through a kill, cut at a torn line, swept when nobody comes back."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from llmsaver.batch.spool import KEPT_SECONDS, Spool, folder_of
from llmsaver.errors import ConfigurationError
from llmsaver.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path


def test_what_was_added_is_there_for_the_next_program(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "b1")
    spool.add(0, 5, b'{"a":\n1}', ok=False, again=True, why="busy")
    spool.add(1, 5, b'{"b": "\xe2\x80\xa8"}', ok=True, nano=7)
    spool.add(1, 5, b"other", ok=True, nano=7)
    spool.add(0, 6, b"{}", ok=False, why="never")
    spool.sync()
    spool.close()
    assert (tmp_path / "b1.rows").stat().st_mode & 0o777 == 0o600
    with (tmp_path / "b1.rows").open("ab") as file:
        file.write(b'{"p": 2, "r": 7, "ok": true, "again": false, "nano": 9, "why": ""}\t{"torn"')
    spool = Spool(tmp_path, "b1")
    assert spool.line(5) == b'{"b": "\xe2\x80\xa8"}'
    assert spool.line(6) == b"{}"
    assert spool.line(7) is None
    assert (spool.answered, spool.failed, spool.spent_nano) == (1, 1, 7)
    assert spool.has(0, 5)
    assert not spool.has(2, 7)
    spool.add(2, 6, b"[]", ok=True)
    assert (spool.answered, spool.failed) == (2, 0)
    assert spool.line(6) == b"[]"
    with pytest.raises(ConfigurationError, match="another program"):
        Spool(tmp_path, "b1")
    spool.clear()
    assert (spool.rows, spool.answered, spool.spent_nano, spool.line(5)) == ({}, 0, 0, None)
    spool.close(remove=True)
    assert not list(tmp_path.iterdir())


def test_garbage_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "b2.rows").write_bytes(b"not json\tx\n")
    spool = Spool(tmp_path, "b2")
    assert spool.rows == {}
    spool.close()
    assert (tmp_path / "b2.rows").read_bytes() == b""


def test_what_nobody_comes_back_for_goes_unless_it_is_open(tmp_path: Path) -> None:
    mine = Spool(tmp_path, "mine")
    (tmp_path / "old.rows").write_bytes(b"")
    for name in ("mine", "old"):
        os.utime(tmp_path / f"{name}.rows", (0, time.time() - KEPT_SECONDS - 9))
    Spool(tmp_path, "new").close()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["mine.rows", "new.rows"]
    mine.close()


def test_where_it_lies(tmp_path: Path) -> None:
    assert folder_of(Ledger(tmp_path / "l.db")) == tmp_path / "batches"
    assert folder_of(Ledger("postgresql+psycopg://nobody@localhost/none")).name == "batches"
