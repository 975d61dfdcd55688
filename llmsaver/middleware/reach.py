"""The way to a tier and back: the same call at another place, with the key and in the dialect of that place."""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from llmsaver.core.origin import Origin
from llmsaver.errors import ConfigurationError
from llmsaver.middleware.translated import translated
from llmsaver.router.address import address_of, checked_base
from llmsaver.wire.translate import Untranslatable, request_to

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from llmsaver.core.request import Request
    from llmsaver.core.response import Response
    from llmsaver.router.address import Address
    from llmsaver.router.tier import Tier

__all__ = ["Reach"]

_TRANSLATED = frozenset({"chat", "messages"})
# What a request names that only the account that made it has.
_KEPT_THERE = ("previous_response_id", "conversation", "prompt", "container", "background")
_IDS = frozenset({"file_id", "vector_store_ids", "encrypted_content"})
_DEEPEST = 12


class Reach:
    """Sends calls to tiers at other places, and their answers back.

    Where a tier is at the caller's own host and speaks the caller's dialect, only the model's name changes; a local
    tier is found by its name too. ``environ``: where keys are looked up, at each call (None: the process's own).
    Raises ``ConfigurationError`` for an address that is none.
    """

    def __init__(self, tiers: Sequence[Tier], *, environ: Mapping[str, str] | None = None) -> None:
        self._environ: Mapping[str, str] = os.environ if environ is None else environ
        for tier in tiers:
            checked_base(tier)

    def missing(self, tier: Tier, request: Request) -> str | None:
        """Return why ``tier`` cannot answer this request, in a sentence; None where it can be asked."""
        way = self.way(request, tier)
        return way if isinstance(way, str) else None

    def to(self, request: Request, tier: Tier) -> Request:
        """Return the request for ``tier``; raises ``ConfigurationError`` where it cannot be reached."""
        way = self.way(request, tier)
        if isinstance(way, str):
            raise ConfigurationError(f"{tier.model} cannot be asked: {way}")
        return way

    def way(self, request: Request, tier: Tier) -> Request | str:
        """Return the request for ``tier``, or why there is none."""
        if tier.local:
            return request.replace(model=tier.model)
        address = address_of(tier, request.url, request.dialect, self._environ)
        why = address.missing or _cannot_stay(request, tier, address)
        if why is not None:
            return why
        if address.key is None:
            return request.replace(model=tier.model)
        body: Any = request.body
        if address.dialect != request.dialect:
            if not _TRANSLATED.issuperset((address.dialect, request.dialect)):
                return f"it speaks {address.dialect}, into which nothing is translated from {request.dialect}"
            try:
                body = request_to(address.dialect, body, source=request.dialect)
            except Untranslatable as error:
                return f"the request cannot be told in {address.dialect}: {error.why}"
        return request.replace(
            model=tier.model,
            body=body,
            url=address.url,
            dialect=address.dialect,
            origin=Origin(address.url, address.dialect, address.key),
            account=_account(address.key),
        )

    def back(self, response: Response, request: Request, sent: Request) -> Response:
        """Return the answer to ``sent`` in the dialect of ``request``: the same object where both are in one."""
        if sent.dialect == request.dialect:
            return response
        return translated(response, request, sent.dialect)


def _cannot_stay(request: Request, tier: Tier, address: Address) -> str | None:
    """Return what speaks against the caller's own client, or against leaving it."""
    if address.key is None:
        deployment = _deployment(address.url)
        if deployment is not None and deployment != tier.model:
            return "the caller's URL names an Azure deployment, whatever the body says: give the tier a base_url"
        missing: str | None = getattr(request.carrier, "missing_key", None) if request.origin is None else None
        return missing
    kept = next((name for name in _KEPT_THERE if request.body.get(name)), None)
    if kept is None:
        kept = next((name for name in _names(request.body, _DEEPEST) if name in _IDS), None)
    return None if kept is None else f"{kept} refers to what only the account of the caller's own client has"


def _deployment(url: str) -> str | None:
    """Return the deployment that an Azure URL names."""
    before, found, after = urlsplit(url).path.partition("/deployments/")
    return unquote(after.partition("/")[0]) if found and before else None


def _names(value: Any, deeper: int) -> Iterator[str]:
    """Yield the keys of all objects in a body's object or list, as deep as a request's parts go."""
    if isinstance(value, dict):
        yield from value
        value = value.values()
    for each in value if deeper else ():
        if isinstance(each, dict | list):
            yield from _names(each, deeper - 1)


def _account(key: str) -> str:
    """Return a hash of a tier's key, as that of the caller's credentials is one: accounts are kept apart by it."""
    return blake2b(key.encode(), digest_size=16, person=b"llmsaver").hexdigest()
