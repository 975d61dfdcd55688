"""Where a tier is: the address of its endpoint, what is spoken there, and whose key it takes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit, urlunsplit

from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.router.tier import Tier

__all__ = ["Address", "address_of", "checked_base", "vendor_of"]

_PATHS = {"chat": "/chat/completions", "responses": "/responses", "messages": "/v1/messages"}
_OPENAI_MODEL = re.compile(r"(?:ft:)?(?:gpt-|chatgpt-|codex-|o[1-9](?:$|-))")
_HOMES = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}
_KEYS = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}
_BASES = {"openai": "OPENAI_BASE_URL", "anthropic": "ANTHROPIC_BASE_URL"}
_HOSTS = (("openai.com", "openai"), ("openai.azure.com", "openai"), ("anthropic.com", "anthropic"))
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Address:
    """``url`` of the endpoint and its ``dialect``; ``key`` is None where the caller's own client goes there anyway.

    ``missing`` says why it cannot be used, None where it can.
    """

    url: str
    dialect: str
    key: str | None = field(default=None, repr=False)
    missing: str | None = None


def vendor_of(model: str) -> str | None:
    """Return whose model a name is, "openai" or "anthropic"; None where the name does not say."""
    if model.startswith("claude"):
        return "anthropic"
    return "openai" if _OPENAI_MODEL.match(model) else None


def checked_base(tier: Tier) -> None:
    """Check a tier's ``base_url``; raises ``ConfigurationError``."""
    if tier.base_url is None:
        return
    where = f"Tier({tier.model!r}): base_url"
    if tier.local:
        raise ConfigurationError(f"{where} does not go with a local/... name, which llmsaver finds itself; drop one")
    try:
        parts = urlsplit(tier.base_url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except (ValueError, AttributeError, TypeError):
        good = False
    if not good:
        raise ConfigurationError(f"{where} must be an http(s) URL such as 'https://api.openai.com/v1'")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigurationError(f"{where} must hold no user name, query or fragment; a key belongs into api_key_env")


def address_of(tier: Tier, url: str, dialect: str, environ: Mapping[str, str]) -> Address:
    """Return where ``tier`` is for a call that its caller would send to ``url`` in ``dialect``.

    The vendors' keys of the environment go to the vendors' own hosts only (or where ``OPENAI_BASE_URL`` or
    ``ANTHROPIC_BASE_URL`` names the vendor's place): a key is never sent to a host that it was not made for.
    """
    here = urlsplit(url)
    base, vendor = tier.base_url, None
    if base is not None:
        vendor = _vendor_at(urlsplit(base).hostname or "")
    elif (vendor := _other_vendor(tier, here)) is not None:
        base = environ.get(_BASES[vendor]) or _HOMES[vendor]
    spoken = tier.dialect or (dialect if base is None else _dialect_at(base, vendor, tier, dialect))
    own_key = tier.api_key is not None or tier.api_key_env is not None
    if base is None:
        base = _base_of(url)
    target = _endpoint(base, spoken)
    if not own_key and spoken == dialect and _same(target, url):
        return Address(url, dialect)
    key, missing = _key_of(tier, urlsplit(target), environ)
    return Address(target, spoken, key, missing)


def _other_vendor(tier: Tier, here: SplitResult) -> str | None:
    """Return the vendor of a model that is not the one that the caller talks to; None to stay."""
    vendor, host = vendor_of(tier.model), _vendor_at(here.hostname or "")
    return None if host is None or vendor == host else vendor


def _vendor_at(host: str) -> str | None:
    return next((vendor for end, vendor in _HOSTS if host == end or host.endswith("." + end)), None)


def _dialect_at(base: str, vendor: str | None, tier: Tier, asked: str) -> str:
    """Return what is spoken at a place, as far as its vendor, its path and the model's name say so."""
    if vendor == "anthropic" or urlsplit(base).path.rstrip("/").endswith("/anthropic"):
        return "messages"
    if asked != "messages":
        return asked
    return "messages" if vendor is None and vendor_of(tier.model) == "anthropic" else "chat"


def _base_of(url: str) -> str:
    """Return the base URL that a caller's SDK was given."""
    for path in ("/v1/messages", "/chat/completions", "/responses"):
        if url.rstrip("/").endswith(path):
            return url.rstrip("/").removesuffix(path)
    return url


def _endpoint(base: str, dialect: str) -> str:
    """Return the whole address of an endpoint; a base URL with or without /v1 is understood where that is clear."""
    parts = urlsplit(base)
    path, end = parts.path.rstrip("/"), _PATHS[dialect]
    if dialect == "messages":
        path = path.removesuffix("/v1")
    elif not path and _vendor_at(parts.hostname or "") == "openai":
        path = "/v1"
    return urlunsplit((parts.scheme, parts.netloc, path + end, "", ""))


def _same(one: str, other: str) -> bool:
    """Whether two addresses are the same endpoint, however their default ports and slashes are written."""
    return _canonical(one) == _canonical(other)


def _canonical(url: str) -> tuple[str, str | None, int | None, str]:
    parts = urlsplit(url)
    return (
        parts.scheme,
        parts.hostname,
        parts.port or {"http": 80, "https": 443}.get(parts.scheme),
        parts.path.rstrip("/"),
    )


def _key_of(tier: Tier, there: SplitResult, environ: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return the key to send ("" for none), and why there is none where one is needed."""
    if tier.api_key is not None:
        return tier.api_key, None
    host = there.hostname or ""
    name = tier.api_key_env or _env_of(there, environ)
    if name is None:
        if host in _THIS_MACHINE:
            return "", None
        return None, (
            f"no key for {host}: name the environment variable that holds one, Tier({tier.model!r}, "
            "api_key_env=...), or say api_key='' where it needs none"
        )
    key = environ.get(name, "").strip()
    return (key, None) if key else (None, f"no key for {host}: set {name}, or Tier({tier.model!r}, api_key_env=...)")


def _env_of(there: SplitResult, environ: Mapping[str, str]) -> str | None:
    """Return the variable of the vendor's key where the address is the vendor's."""
    vendor = _vendor_at(there.hostname or "")
    for each, variable in _BASES.items():
        given = environ.get(variable)
        if given and urlsplit(given).netloc == there.netloc:
            vendor = each
    return None if vendor is None else _KEYS[vendor]
