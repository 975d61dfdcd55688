"""Somebody else's server as a local tier: is it there, what can it do (asked once, then remembered), how busy is it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from llmsaver.errors import ConfigurationError, LocalModelError
from llmsaver.local.endpoint import Endpoint, Load
from llmsaver.local.probe import Abilities, Refused, probe
from llmsaver.local.probe_http import Answer, ask, root_of
from llmsaver.local.vllm_metrics import Pulse

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from llmsaver.local.models import Attach

__all__ = ["abilities", "endpoint", "load", "remembered"]

_CONNECT_SECONDS = 5.0
_LOAD_SECONDS = 1.0
_SURE_SECONDS = 7 * 86_400
_UNSURE_SECONDS = 600
_FORM = 2  # of the remembered files
_SHOWN_MODELS = 20
_UNAUTHORIZED = frozenset({401, 403})
# Where a program says its version, by who it says owns its models; all are asked where that says nothing.
_VERSIONS = {
    "vllm": ("/version", "version", "vLLM"),
    "llamacpp": ("/props", "build_info", "llama.cpp"),
    "sglang": ("/get_server_info", "version", "SGLang"),
    "library": ("/api/version", "version", "Ollama"),
    "tgi": ("/info", "version", "TGI"),
}
_pulses: dict[tuple[str, str | None], Pulse] = {}


def endpoint(tier: Attach, *, cache_dir: Path | None = None) -> Endpoint:
    """Return where an attached server answers, with its ``Abilities``; it is asked whether it is there every time.

    What it can do is remembered for a week by address, model and version, in the user's cache folder (or
    ``cache_dir``); for ten minutes where a question stayed open. Raises LocalModelError where it cannot be reached,
    wants another key or speaks neither chat nor messages; ConfigurationError for an address that cannot work.
    """
    root = root_of(tier.base_url)
    key = _key(tier)
    listed = _models(tier, root, key)
    model = _model(tier, root, listed)
    entry = next((each for each in listed if each.get("id") == model), {})
    server = _server(root, key, str(entry.get("owned_by", "")))
    file = _memory(cache_dir, root, model, server)
    found = _remembered(file, root)
    if found is None:
        names = tuple(str(each.get("id")) for each in listed[:_SHOWN_MODELS])
        try:
            found = probe(root, model, key=key, server=server, models=names, context=_context(entry))
        except Refused as refused:
            raise LocalModelError(_wants_key(tier, root, refused.answer)) from refused
        _remember(file, root, found)
    if not (found.chat or found.messages or found.responses):
        why = found.notes.get("chat", "")
        raise LocalModelError(
            f"local/{tier.name}: {root} answers, but to no request in chat, responses or messages ({why}); check "
            f"base_url (the dialects are expected at {root}/v1/...) and model={model!r}"
        )
    return Endpoint(root, key or "", model, tier, "attach", abilities=found)


def abilities(tier: Attach, *, cache_dir: Path | None = None) -> Abilities:
    """Return what an attached server can do; raises as ``endpoint``."""
    found: Abilities = endpoint(tier, cache_dir=cache_dir).abilities
    return found


def remembered(tier: Attach, *, cache_dir: Path | None = None) -> Abilities | None:
    """Return what was last found of an attached server, without asking it; None where nothing was, or it is too old."""
    root = root_of(tier.base_url)
    folder = _folder(cache_dir)
    newest: tuple[float, Abilities] | None = None
    for file in folder.glob("*.json") if folder.is_dir() else ():
        found = _remembered(file, root)
        if found is None or (tier.model is not None and found.model != tier.model):
            continue
        at = file.stat().st_mtime
        if newest is None or at > newest[0]:
            newest = at, found
    return None if newest is None else newest[1]


def load(tier: Attach) -> Load | None:
    """Return how busy an attached server is, half a second old at most under use; None where it does not say."""
    where = (tier.base_url, tier.api_key_env)
    pulse = _pulses.get(where)
    if pulse is None:
        root, key = root_of(tier.base_url), os.environ.get(tier.api_key_env or "", "").strip()

        def metrics() -> str | None:
            answer = ask(root, "/metrics", key=key, timeout=_LOAD_SECONDS)
            return answer.text if answer.ok else None

        pulse = _pulses.setdefault(where, Pulse(metrics))
    return pulse.load()


def _key(tier: Attach) -> str | None:
    if tier.api_key_env is None:
        return None
    key = os.environ.get(tier.api_key_env, "").strip()
    if not key:
        raise ConfigurationError(
            f"local/{tier.name}: the variable {tier.api_key_env} is not set; Attach(api_key_env=...) names it as "
            "the one that holds the server's key"
        )
    return key


def _models(tier: Attach, root: str, key: str | None) -> list[dict[str, Any]]:
    """Return what ``/v1/models`` lists, nothing where the server has no such list."""
    try:
        answer = ask(root, "/v1/models", key=key, timeout=_CONNECT_SECONDS)
    except OSError as error:
        raise LocalModelError(_unreachable(tier, root, error)) from error
    if answer.status in _UNAUTHORIZED:
        raise LocalModelError(_wants_key(tier, root, answer))
    listed = answer.json().get("data") if answer.ok else None
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def _model(tier: Attach, root: str, listed: list[dict[str, Any]]) -> str:
    names = [str(each["id"]) for each in listed if each.get("id")]
    if tier.model is not None:
        if names and tier.model not in names and tier.model not in _aliases(listed):
            raise LocalModelError(
                f"local/{tier.name}: {root} has no model {tier.model!r}; it lists {', '.join(names[:_SHOWN_MODELS])}"
            )
        return tier.model
    if not names:
        raise LocalModelError(
            f"local/{tier.name}: {root}/v1/models lists no model; name it: Attach({tier.name!r}, model='...'), or "
            "check that base_url is the server's address (with or without /v1)"
        )
    return names[0]


def _aliases(listed: list[dict[str, Any]]) -> set[str]:
    """Return other names of the models: llama.cpp lists them, Ollama takes its own without ``:latest``."""
    found: set[str] = set()
    for each in listed:
        found.update(str(alias) for alias in each.get("aliases") or ())
        found.add(str(each.get("id")).removesuffix(":latest"))
    return found


def _server(root: str, key: str | None, owner: str) -> str:
    """Return the server's program and version, as far as it says; empty where not at all."""
    known = _VERSIONS.get(owner)
    for path, name, program in (known,) if known else _VERSIONS.values():
        with contextlib.suppress(OSError):
            found = ask(root, path, key=key, timeout=_CONNECT_SECONDS)
            version = found.json().get(name) if found.ok else None
            # /version is vLLM's, and others' too: without an owner it names no program.
            if isinstance(version, str):
                return f"{program} {version}" if known or name != "version" else version
    return ""


def _context(entry: Mapping[str, Any]) -> int | None:
    """Return a model's limit in tokens, where its server lists it."""
    meta = entry.get("meta")
    values = (
        entry.get("max_model_len"),
        entry.get("context_length"),
        meta.get("n_ctx") if isinstance(meta, dict) else 0,
    )
    return next((value for value in values if isinstance(value, int) and value > 0), None)


def _unreachable(tier: Attach, root: str, error: OSError) -> str:
    where = urlsplit(root)
    port = where.port or (443 if where.scheme == "https" else 80)
    reason = getattr(error, "strerror", None) or error
    return (
        f"local/{tier.name}: nothing answers at {where.hostname} port {port} ({reason}). Check that the server runs "
        f"there and may be reached from here (curl {root}/v1/models), or correct Attach({tier.name!r}, "
        f"base_url={tier.base_url!r})"
    )


def _wants_key(tier: Attach, root: str, answer: Answer) -> str:
    fix = (
        f"check the key in {tier.api_key_env}" if tier.api_key_env else "name the variable that holds it: api_key_env="
    )
    return f"local/{tier.name}: {root} wants a key (status {answer.status}: {answer.words()}); {fix}"


def _memory(folder: Path | None, root: str, model: str, server: str) -> Path:
    key = hashlib.blake2s(f"{root}\n{model}\n{server}".encode(), digest_size=16).hexdigest()
    return _folder(folder) / f"{key}.json"


def _folder(cache_dir: Path | None) -> Path:
    if cache_dir is None:
        import platformdirs

        cache_dir = platformdirs.user_cache_path("llmsaver")
    return cache_dir / "attach"


def _remembered(file: Path, root: str) -> Abilities | None:
    """Return what was found at ``root`` before, None where that is too old or cannot be read."""
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
        if held["root"] != root:
            return None
        found = Abilities.from_dict(held["abilities"])
        age = time.time() - held["at"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    good_for = _SURE_SECONDS if found.certain else _UNSURE_SECONDS
    return found if held.get("form") == _FORM and 0 <= age < good_for else None


def _remember(file: Path, root: str, found: Abilities) -> None:
    with contextlib.suppress(OSError):  # asked again next time
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}")
        held = {"form": _FORM, "root": root, "at": time.time(), "abilities": found.as_dict()}
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            json.dump(held, out)
        part.replace(file)
