"""Which of the pinned weights are run, and what may take their places."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from llmsaver.embed import dynamic, weights
from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

REGISTRY, HUB = (replace(each, sha256=sha256(each.name.encode()).hexdigest(), package=None) for each in weights.PINNED)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder of models, and pin files that a test can write."""
    monkeypatch.setattr(weights, "folder", lambda: tmp_path / "models")
    monkeypatch.setattr(weights, "PINNED", (REGISTRY, HUB))
    return tmp_path / "models"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Return the hub's file as it is fetched."""
    path = tmp_path / "fetched.onnx"
    path.write_bytes(HUB.name.encode())
    return path


def test_the_sources_are_named() -> None:
    assert [each.source for each in weights.PINNED] == ["registry", "hub"]


def test_what_was_fetched_is_checked_copied_and_run_as_it_is(published: Path, folder: Path) -> None:
    assert weights.chosen() is None
    path = weights.take(HUB, published)
    assert [each.name for each in folder.iterdir()] == [path.name]
    assert weights.chosen() is HUB
    found = weights.find()
    assert (found.path, found.name) == (path, f"all-MiniLM-L6-v2-q8:{HUB.sha256[:16]}")


def test_something_else_is_never_taken(published: Path) -> None:
    published.write_bytes(b"something else")
    with pytest.raises(ConfigurationError, match="not what was pinned"):
        weights.take(HUB, published)
    assert weights.installed(HUB) is None


def test_the_registrys_go_before_the_hubs(published: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights.take(HUB, published)
    weights.place(REGISTRY).write_bytes(REGISTRY.name.encode())
    monkeypatch.setattr(weights, "convert", lambda source, target: target.write_bytes(source.read_bytes() + b"!"))
    found = weights.find()
    assert found.name == f"all-MiniLM-L6-v2-int8:{REGISTRY.sha256[:16]}.{dynamic.VERSION}"
    assert found.path.read_bytes() == REGISTRY.name.encode() + b"!"
    weights.place(REGISTRY).unlink()
    assert weights.find() == found
    assert found.path.parent == folder


def test_a_pulled_file_that_changed_is_refused_with_the_fix(published: Path) -> None:
    weights.take(HUB, published).write_bytes(b"changed")
    with pytest.raises(ConfigurationError, match="llmsaver models pull"):
        weights.find()
