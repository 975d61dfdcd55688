"""The embedding model's weights, listed and fetched."""

from __future__ import annotations

import errno
import io
import json
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import pytest
from rich.console import Console

from llmsaver.embed import weights
from llmsaver.errors import LocalModelError
from llmsaver.reporting import models

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REGISTRY, HUB = (
    replace(each, sha256=sha256(each.name.encode()).hexdigest(), package=f"no_such_{each.source}")
    for each in weights.PINNED
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder of models, and pin files that a test can write."""
    monkeypatch.setattr(weights, "folder", lambda: tmp_path / "models")
    monkeypatch.setattr(weights, "PINNED", (REGISTRY, HUB))
    monkeypatch.setattr(weights, "convert", lambda source, target: target.write_bytes(source.read_bytes() + b"!"))
    monkeypatch.setattr(weights, "adapt", lambda source, target, _: target.write_bytes(source.read_bytes() + b"?"))
    return tmp_path / "models"


class Network:
    """Stands where pip and the hub do; ``trouble`` is raised by a source."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        self.trouble: dict[str, BaseException] = {}
        self.content = {"registry": REGISTRY.name.encode(), "hub": HUB.name.encode()}
        self.member = f"{REGISTRY.package}/{REGISTRY.file}"
        self._folder = folder

    def wheel_of(self, requirement: str, folder: Path, came: Callable[[int], object]) -> Path:
        self._ask("registry")
        assert requirement == REGISTRY.requirement
        came(7)
        with ZipFile(folder / "x.whl", "w") as archive:
            archive.writestr(self.member, self.content["registry"])
        return folder / "x.whl"

    def from_hub(self, pinned: Any, told: Any, *, kind: str) -> Path:
        self._ask("hub")
        assert (pinned, kind) == (HUB, "")
        told("asking")
        path = self._folder / "cached"
        path.write_bytes(self.content["hub"])
        return path

    def _ask(self, source: str) -> None:
        self.asked.append(source)
        if source in self.trouble:
            raise self.trouble[source]


@pytest.fixture(autouse=True)
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Network:
    made = Network(tmp_path)
    monkeypatch.setattr(models, "wheel_of", made.wheel_of)
    monkeypatch.setattr(models, "from_hub", made.from_hub)
    return made


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=100)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_registry_is_asked_first_once_and_what_it_gives_is_made_ready(
    network: Network, console: Console, folder: Path
) -> None:
    path = models.pulled(console=console)
    assert path.read_bytes() == REGISTRY.name.encode() + b"!"
    assert said(console) == "downloading\nchecking sha256\n"
    assert models.pulled(console=console) == path
    assert network.asked == ["registry"]
    made = sorted(each.read_bytes() for each in folder.iterdir())
    assert made == [REGISTRY.name.encode() + end for end in (b"", b"!", b"!?")]


def test_what_cannot_be_converted_yet_is_kept_as_it_is(monkeypatch: pytest.MonkeyPatch, console: Console) -> None:
    monkeypatch.setattr(models, "find_spec", lambda name: None if name == "onnx" else object())
    assert models.pulled(console=console).read_bytes() == REGISTRY.name.encode()


def test_then_the_hub(network: Network, console: Console) -> None:
    network.trouble["registry"] = LocalModelError("pip cannot")
    path = models.pulled(console=console)
    assert network.asked == ["registry", "hub"]
    assert path == weights.place(HUB)
    assert path.read_bytes() == HUB.name.encode()
    assert models.pulled("hub", console) == path


def test_a_source_can_be_chosen(network: Network, console: Console) -> None:
    models.pulled("registry", console)
    assert models.pulled("hub", console) == weights.place(HUB)  # here, though the registry's go before it
    assert network.asked == ["registry", "hub"]


def test_when_nobody_has_it_each_says_why_and_what_to_do_without_a_network(network: Network, console: Console) -> None:
    network.trouble = {"registry": LocalModelError("pip cannot"), "hub": LocalModelError("the hub cannot be reached")}
    with pytest.raises(LocalModelError, match=r"(?s)pip cannot\nthe hub cannot be reached\n.*PIP_FIND_LINKS"):
        models.pulled(console=console)


@pytest.mark.parametrize("source", ["registry", "hub"])
def test_something_else_is_not_used(source: models.Source, network: Network, console: Console, folder: Path) -> None:
    network.content[source] = b"something else"
    with pytest.raises(LocalModelError, match="not what was pinned"):
        models.pulled(source, console)
    assert list(folder.iterdir()) == []


def test_a_package_without_the_file_is_told(network: Network, console: Console) -> None:
    network.member = "other/file"
    with pytest.raises(LocalModelError, match=r"x\.whl does not hold model\.onnx"):
        models.pulled("registry", console)


def test_a_pulled_file_that_changed_is_fetched_again(network: Network, console: Console) -> None:
    models.pulled("hub", console).write_bytes(b"changed")
    assert models.pulled("hub", console).read_bytes() == HUB.name.encode()
    assert network.asked == ["hub", "hub"]


def test_a_packages_file_that_changed_is_left_alone(
    network: Network, console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "theirs.onnx"
    package.write_bytes(b"changed")
    real = weights.installed
    monkeypatch.setattr(weights, "installed", lambda pinned: real(pinned) or package)
    models.pulled("hub", console)
    assert network.asked == ["hub"]
    assert package.exists()


@pytest.mark.parametrize(
    ("number", "expected"), [(errno.ENOSPC, "is full: free 100 MB"), (errno.EACCES, "cannot be kept in")]
)
def test_a_disk_that_takes_nothing(number: int, expected: str, network: Network, console: Console) -> None:
    network.trouble["registry"] = OSError(number, "no")
    with pytest.raises(LocalModelError, match=expected):
        models.pulled(console=console)


def test_the_list_says_what_is_here_and_used(console: Console) -> None:
    models.as_text(models.listed(), console)
    assert "fetch it: llmsaver models pull" in said(console)
    models.pulled("hub", Console(file=io.StringIO()))
    rows = models.listed()
    assert [(row.name, row.path is not None, row.used) for row in rows] == [
        ("minilm-int8", False, False),
        ("minilm-q8", True, True),
    ]
    told = json.loads(models.as_json(rows))["models"]
    assert told[1]["sha256"] == HUB.sha256
    before = len(said(console))
    models.as_text(rows, console)
    assert "fetch it" not in said(console)[before:]
