"""Names, pinned weights and where they are."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from llmsaver.errors import ConfigurationError, LocalModelError
from llmsaver.local import catalogue, digest, gguf, pull, weights
from llmsaver.local.models import Attach, LocalModel

if TYPE_CHECKING:
    from pathlib import Path

NAME = "smollm2-135m"


@pytest.fixture(autouse=True)
def _own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace the catalogue's package by one with a tiny file that fails when it is imported."""
    folder = tmp_path / "site" / "tiny_weights"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError", encoding="utf-8")
    path = folder / "tiny.gguf"
    path.write_bytes(b"tiny")
    monkeypatch.syspath_prepend(str(folder.parent))
    known = catalogue.known_model(NAME)
    assert known is not None
    tiny = replace(
        known, file="tiny.gguf", package="tiny_weights", requirement=None, repo=None, sha256=digest.sha256(path), size=4
    )
    monkeypatch.setitem(catalogue._BY_NAME, NAME, tiny)
    return path


@pytest.fixture
def hub_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a hub whose cache holds one file."""
    path = tmp_path / "cached.gguf"
    path.write_bytes(b"hub")

    def hf_hub_download(repo: str, file: str, *, revision: str | None, local_files_only: bool) -> str:
        assert (repo, file, revision, local_files_only) == ("a/b", "c.gguf", "d", True)
        if not path.exists():
            raise OSError("not cached")
        return str(path)

    module = ModuleType("huggingface_hub")
    module.__dict__["hf_hub_download"] = hf_hub_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.setattr(weights, "find_spec", lambda _name: object())
    return path


def test_the_package_is_found_without_importing_it(package: Path) -> None:
    assert weights.installed(NAME) == package
    assert weights.find(NAME) == package
    assert "tiny_weights" not in sys.modules


@pytest.mark.parametrize(("content", "said"), [(b"evil", "its sha256 is"), (b"tin", "it has 3 bytes, not 4")])
def test_a_changed_or_cut_package_file_is_refused(package: Path, content: bytes, said: str) -> None:
    package.write_bytes(content)
    with pytest.raises(LocalModelError, match=f"not the file that was pinned: {said}.*force-reinstall --no-deps tiny"):
        weights.find(NAME)


def test_what_a_pull_left_comes_first(package: Path) -> None:
    model = weights.model_of(NAME)
    path = weights.place(model)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"evil")
    assert weights.installed(NAME) == path != package
    with pytest.raises(LocalModelError, match="Fetch it again: llmsaver local pull smollm2-135m"):
        weights.find(NAME)


def test_own_names_win_and_are_verified_only_where_pinned(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(b"own")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights.find(NAME, {NAME: own}) == own != package
    assert weights.find("mine", {"mine": "~/own.gguf"}) == own
    assert weights.find(str(own)) == own
    assert weights.find("~/own.gguf") == own
    assert weights.installed("mine", {"mine": own}) == own
    assert weights.find(LocalModel("mine", path=own, sha256=digest.sha256(own))) == own
    with pytest.raises(LocalModelError, match="correct the sha256 that was given with its path"):
        weights.find("mine", {"mine": LocalModel("mine", path=own, sha256="0" * 64)})


def test_a_path_without_a_file_says_so(tmp_path: Path) -> None:
    missing = tmp_path / "none.gguf"
    assert weights.installed(str(missing)) is None
    with pytest.raises(LocalModelError, match=r"there is no file .*none\.gguf"):
        weights.find(str(missing))


def test_a_path_with_a_colon_is_a_path(tmp_path: Path) -> None:
    path = tmp_path / "a:b.gguf"
    path.touch()
    assert weights.find(str(path)) == path


def test_an_unknown_name_lists_the_known_ones_and_those_that_are_close() -> None:
    with pytest.raises(LocalModelError, match=r"Known: .*local/mine, .*local/smollm2-135m.*models=\{'gpt-4o'"):
        weights.find("gpt-4o", {"mine": "/x"})
    with pytest.raises(LocalModelError, match="Did you mean smollm2-135m"):
        weights.find("smollm2")
    assert weights.installed("gpt-4o") is None
    with pytest.raises(LocalModelError, match="not a known model"):
        weights.find("far", {"far": Attach("far", base_url="http://x/v1")})


def test_the_hubs_cache_is_looked_into(hub_file: Path) -> None:
    model = LocalModel("mine", repo="a/b", file="c.gguf", revision="d")
    assert weights.installed(model) == hub_file
    assert weights.find(model) == hub_file
    hub_file.unlink()
    assert weights.installed(model) is None


def test_without_the_hubs_library_its_cache_is_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "find_spec", lambda _name: None)
    assert weights.installed(LocalModel("mine", repo="a/b", file="c.gguf")) is None


@pytest.mark.parametrize("size", [None, 1 << 30])
def test_a_call_does_not_wait_for_a_large_download(size: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_in_hub_cache", lambda _model: None)
    with pytest.raises(LocalModelError, match=r"not on this machine .*: llmsaver local pull mine"):
        weights.find(LocalModel("mine", repo="a/b", file="c.gguf", size=size))


def test_small_weights_are_fetched_by_the_first_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "fetched.gguf"
    path.write_bytes(b"1234")
    monkeypatch.setattr(weights, "_in_hub_cache", lambda _model: None)
    monkeypatch.setattr(pull, "pull", lambda _model: path)
    assert weights.find(LocalModel("mine", repo="a/b", file="c.gguf", size=4)) == path
    assert "fetching local/mine" in caplog.text


def test_a_model_that_names_no_weights_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="names no weights"):
        weights.find(LocalModel("nothing"))


def test_adapters_must_be_there(tmp_path: Path) -> None:
    path, adapter = tmp_path / "own.gguf", tmp_path / "triage.gguf"
    path.touch()
    model = LocalModel("mine", path=path, lora={"triage": adapter})
    with pytest.raises(LocalModelError, match=r"local/mine:triage: there is no adapter file .*convert_lora_to_gguf"):
        weights.find(model)
    adapter.touch()
    assert weights.find(model) == path
    assert weights.adapters(model) == {"triage": adapter}


def test_memory_is_weights_and_a_cache_for_every_token_of_every_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own.gguf"
    path.write_bytes(b"0" * (3 << 20))
    model = LocalModel("mine", path=path)
    assert weights.memory_mib(model, 1024, 2) is None
    monkeypatch.setattr(gguf, "read", lambda _path: gguf.Header(kv_bytes=1024))
    assert weights.memory_mib(model, 1024, 2) == 3 + 2 + weights._COMPUTE_MIB
    far = LocalModel("far", repo="a/b", file="c.gguf", size=1, kv_bytes=1 << 20)
    monkeypatch.setattr(weights, "_in_hub_cache", lambda _model: None)
    assert weights.memory_mib(far, 10, 1) == 11 + weights._COMPUTE_MIB
    assert weights.memory_mib(LocalModel("far", repo="a/b", file="c.gguf"), 10, 1) is None


def test_a_package_that_cannot_be_looked_for_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "not_a_package.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert weights.part_file("not_a_package.inner", "x") is None
    assert weights.part_file("not_a_package", "x") is None
    assert weights.part_file("json", "no-such-file") is None
    assert weights.part_file("no_such_package_at_all", "x") is None


@pytest.mark.parametrize(
    ("name", "folder"), [("a/b c", "a_b_c"), ("../../etc", "_.._etc"), ("..", "_"), ("qwen3-4b", "qwen3-4b")]
)
def test_a_pull_never_leaves_its_folder(tmp_path: Path, name: str, folder: str) -> None:
    model = LocalModel(name, repo="a/b", file="deep/../../file.gguf")
    assert weights.place(model) == tmp_path / "data" / "llmsaver" / "models" / folder / "file.gguf"
