"""The sha256 check and its memory."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

import pytest

from llmsaver.errors import LocalModelError
from llmsaver.local import digest

if TYPE_CHECKING:
    from pathlib import Path

RIGHT = hashlib.sha256(b"weights").hexdigest()


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Record which files were really read."""
    files: list[Path] = []
    real = digest.sha256

    def counted(path: Path) -> str:
        files.append(path)
        return real(path)

    monkeypatch.setattr(digest, "sha256", counted)
    return files


def test_the_right_file_is_hashed_once(tmp_path: Path, hashed: list[Path]) -> None:
    path = tmp_path / "w.gguf"
    path.write_bytes(b"weights")
    for _ in range(3):
        digest.check(path, RIGHT)
    assert hashed == [path]
    (marker,) = (tmp_path / "cache" / "llmsaver" / "verified").iterdir()
    assert stat.S_IMODE(marker.stat().st_mode) == 0o600


def test_a_changed_file_is_hashed_again_and_refused(tmp_path: Path, hashed: list[Path]) -> None:
    path = tmp_path / "w.gguf"
    path.write_bytes(b"weights")
    digest.check(path, RIGHT)
    path.write_bytes(b"WEIGHTS")
    os.utime(path, ns=(1, 1))
    with pytest.raises(LocalModelError, match="not the file that was pinned"):
        digest.check(path, RIGHT)
    assert len(hashed) == 2


def test_a_wrong_file_is_never_remembered(tmp_path: Path, hashed: list[Path]) -> None:
    path = tmp_path / "w.gguf"
    path.write_bytes(b"other")
    for _ in range(2):
        with pytest.raises(LocalModelError, match=RIGHT):
            digest.check(path, RIGHT, tmp_path / "memory")
    assert len(hashed) == 2


def test_a_folder_that_cannot_be_written_costs_a_second_hash_only(tmp_path: Path, hashed: list[Path]) -> None:
    path = tmp_path / "w.gguf"
    path.write_bytes(b"weights")
    (tmp_path / "file").touch()
    for _ in range(2):
        digest.check(path, RIGHT, tmp_path / "file" / "below")
    assert len(hashed) == 2
