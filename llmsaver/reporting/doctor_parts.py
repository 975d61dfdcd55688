"""What the doctor looks at without calling anything: versions, keys, local models, settings."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import llmsaver
from llmsaver.errors import ConfigurationError
from llmsaver.local.catalogue import known_models
from llmsaver.local.models import LocalModel
from llmsaver.local.weights import installed
from llmsaver.settings import ENV_PREFIX, Settings, load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Finding", "keys", "local_models", "sdks", "settings", "this_python"]

State = Literal["ok", "absent", "broken"]

# As in pyproject.toml (a test compares them): from the first version on, below the second.
SUPPORTED = {"openai": ("2", "4"), "anthropic": ("0.70", "3")}
_HTTP = ("httpx2", "httpx")
_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: ``state`` is "ok", "absent" (a choice, no fault) or "broken" (needed or there, and unfit).

    ``fix`` says what to do where something can be done.
    """

    part: str
    name: str
    state: State
    what: str
    fix: str = ""


def this_python() -> Iterator[Finding]:
    """Say which Python runs which llmsaver."""
    what = f"{platform.python_version()} ({sys.executable}), {platform.system()} {platform.machine()}"
    yield Finding("installed", "python", "ok", what)
    yield Finding("installed", "llmsaver", "ok", llmsaver.__version__)


def sdks() -> Iterator[Finding]:
    """Import both SDKs and say whether their versions are supported, and which HTTP module they stand on."""
    for name, (least, below) in SUPPORTED.items():
        fix = f"pip install '{name}>={least},<{below}'"
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - a broken install raises anything
            yield Finding("installed", name, "broken", f"cannot be imported: {type(error).__name__}: {error}", fix)
            continue
        version = importlib.metadata.version(name)
        if _numbers(least) <= _numbers(version) < _numbers(below):
            yield Finding("installed", name, "ok", f"{version}, supported")
        else:
            yield Finding("installed", name, "broken", f"{version}; supported: {least} or later, below {below}", fix)
    for name in _HTTP:
        found = _version(name)
        if found is not None:
            yield Finding("installed", name, "ok", found)


def keys(environ: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Say which keys are set, never what they are."""
    for name in _KEYS:
        value = environ.get(name)
        if not value:
            if name != "ANTHROPIC_AUTH_TOKEN":  # few have one, and it replaces the key
                yield Finding("keys", name, "absent", "not set", f"export {name}=...")
        elif value != value.strip() or value.strip("\"'") != value:
            yield Finding("keys", name, "broken", "set, with spaces or quotes around it", f"set {name} without them")
        else:
            yield Finding("keys", name, "ok", "set")
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "HTTPS_PROXY"):
        if environ.get(name):
            yield Finding("keys", name, "ok", "set: calls go there first")


def local_models() -> Iterator[Finding]:
    """Say whether the llama.cpp server, the hub and the weights are there; nothing is started or downloaded."""
    server = _version("xllamacpp")
    if server is None:
        yield Finding("local models", "xllamacpp", "absent", "not installed", "pip install 'llmsaver[local]'")
    else:
        yield Finding("local models", "xllamacpp", "ok", server)
    hub = _version("huggingface-hub")
    yield Finding("local models", "huggingface-hub", "ok" if hub else "absent", hub or "not installed")
    for number, model in enumerate(_models()):
        path = installed(model)
        if path is None and model.name not in _own() and number:
            continue  # the catalogue has more than anybody needs; its first is what the demo runs on
        yield Finding("local models", f"local/{model.name}", *_weights(model, path))


def _models() -> list[LocalModel]:
    """Return the catalogue and the llama.cpp models of the settings."""
    own = _own()
    return [model for model in known_models() if model.name not in own] + list(own.values())


def _own() -> dict[str, LocalModel]:
    """Return the llama.cpp models of the settings; of wrong settings, ``settings`` tells."""
    try:
        declared = load().local_models
    except ConfigurationError:
        return {}
    return {name: model for name, model in declared.items() if isinstance(model, LocalModel)}


def _weights(model: LocalModel, path: Path | None) -> tuple[State, str, str]:
    """Say whether a model's weights are there and as long as they should be: state, what, and fix."""
    pull = f"llmsaver local pull {model.name}"
    if path is None:
        size = "" if model.size is None else f" ({model.size / 1e6:,.0f} MB)"
        own = f"there is no {model.path}" if model.path is not None else f"not on this machine{size}"
        return "absent", own, "correct its path in local_models" if model.path is not None else pull
    found = path.stat().st_size
    if model.size is not None and found != model.size:
        return "broken", f"{path} has {found} bytes, not {model.size}", pull
    return "ok", str(path), ""


def settings(environ: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Say which settings are in force and where each came from."""
    try:
        from_files = load(environ={}).model_fields_set
        loaded = load(environ=environ)
    except ConfigurationError as error:
        yield Finding("settings", "all", "broken", str(error), "correct or remove what is named")
        return
    for name in Settings.model_fields:
        source = "default"
        if environ.get(ENV_PREFIX + name.upper()):
            source = ENV_PREFIX + name.upper()
        elif name in from_files:
            source = "llmsaver.toml or pyproject.toml"
        said = getattr(loaded, name)
        fix = "no layer acts while this is set" if (name, said) in (("disabled", True), ("mode", "off")) else ""
        yield Finding("settings", name, "ok", f"{_told(said)} ({source})", fix)


def _told(value: object) -> str:
    """Return a setting as text: a URL without its password, of a table or list the names only."""
    if isinstance(value, list):
        value = {each.get("name"): each for each in value}
    if isinstance(value, Mapping):
        return ", ".join(map(str, value)) or "none"
    return re.sub(r"(://[^:/@\s]*:).*@", r"\1***@", str(value))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """Return a version's leading numbers; "3.0.0rc1" counts as 3.0.0."""
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:3])
