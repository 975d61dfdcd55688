"""Names, pinned weights and where they are."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from llmsaver.errors import LocalModelError, MissingExtra
from llmsaver.local import digest, weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

NAME = "smollm2-135m"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace the catalogue's package by one with a tiny file that fails when it is imported."""
    folder = tmp_path / "site" / "tiny_weights"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError", encoding="utf-8")
    path = folder / "tiny.gguf"
    path.write_bytes(b"tiny")
    monkeypatch.syspath_prepend(str(folder.parent))
    tiny = replace(
        weights.catalogue()[NAME], filename="tiny.gguf", package="tiny_weights", sha256=digest.sha256(path), size=4
    )
    monkeypatch.setitem(weights._CATALOGUE, NAME, tiny)
    return path


@pytest.fixture
def hub(package: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path | None], list[Mapping[str, object]]]:
    """Install a hub with one file (None: an unreachable one) and take the package away."""
    package.rename(package.with_suffix(".elsewhere"))
    calls: list[Mapping[str, object]] = []

    def install(path: Path | None) -> list[Mapping[str, object]]:
        def hf_hub_download(repo: str, filename: str, *, revision: str, local_files_only: bool) -> str:
            calls.append({"repo": repo, "file": filename, "revision": revision, "offline": local_files_only})
            if path is None:
                raise OSError("no network")
            return str(path)

        module = ModuleType("huggingface_hub")
        module.__dict__["hf_hub_download"] = hf_hub_download
        monkeypatch.setitem(sys.modules, "huggingface_hub", module)
        monkeypatch.setattr(weights, "find_spec", lambda name: None if name == "tiny_weights" else object())
        return calls

    return install


def test_the_catalogue_pins_content_and_commit() -> None:
    for name, model in weights.catalogue().items():
        assert name == model.name
        assert len(model.sha256) == 64
        assert model.repo is None or len(model.revision or "") == 40
    assert [model.name for model in weights.known()] == list(weights.catalogue())


def test_the_package_is_found_without_importing_it(package: Path) -> None:
    assert weights.installed(NAME) == package
    assert weights.find(NAME) == package
    assert "tiny_weights" not in sys.modules


def test_a_changed_package_file_is_refused(package: Path) -> None:
    package.write_bytes(b"evil")
    with pytest.raises(LocalModelError, match="not the file that was pinned"):
        weights.find(NAME)


def test_own_names_win_and_are_not_verified(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own.gguf"
    own.touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights.find(NAME, {NAME: own}) == own != package
    assert weights.find("mine", {"mine": "~/own.gguf"}) == own
    assert weights.find(str(own)) == own
    assert weights.find("~/own.gguf") == own
    assert weights.installed("mine", {"mine": own}) == own


def test_a_path_without_a_file_says_so(tmp_path: Path) -> None:
    missing = tmp_path / "none.gguf"
    assert weights.installed(str(missing)) is None
    with pytest.raises(LocalModelError, match=r"there is no file .*none\.gguf"):
        weights.find(str(missing))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(LocalModelError, match=r"Known: local/mine, local/smollm2-135m\..*models=\{'gpt-4o'"):
        weights.find("gpt-4o", {"mine": "/x"})
    assert weights.installed("gpt-4o") is None


def test_the_hub_is_asked_for_the_pinned_commit(
    hub: Callable[[Path | None], list[Mapping[str, object]]], package: Path
) -> None:
    downloaded = package.with_suffix(".elsewhere")
    calls = hub(downloaded)
    assert weights.find(NAME) == downloaded
    assert weights.installed(NAME) == downloaded
    model = weights.catalogue()[NAME]
    assert [call["offline"] for call in calls] == [False, True]
    assert {call["revision"] for call in calls} == {model.revision}


def test_an_unreachable_hub_names_the_way_without_it(hub: Callable[[Path | None], list[Mapping[str, object]]]) -> None:
    hub(None)
    assert weights.installed(NAME) is None
    with pytest.raises(LocalModelError, match=r"no network.*models=\{'smollm2-135m'"):
        weights.find(NAME)


def test_neither_package_nor_hub_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtra, match=r"llmsaver\[local\]"):
        weights.find(NAME)


def test_a_model_may_have_a_package_only_or_a_hub_only(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = weights.catalogue()[NAME]
    monkeypatch.setitem(weights._CATALOGUE, NAME, replace(model, package=None, repo=None))
    assert weights.installed(NAME) is None
    package.unlink()
    monkeypatch.setitem(weights._CATALOGUE, NAME, replace(model, repo=None))
    assert weights.installed(NAME) is None
