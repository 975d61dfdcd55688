"""Who answers at an address, and what its region adds to the price."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from llmsaver.pricing.sheet import Factor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.pricing.sheet import Table

__all__ = ["Place", "place_of", "regional"]

# Addresses that the table's patterns leave out. The first group, where there is one, is the region.
_OWN: Final = (
    (re.compile(r"([a-z]{2,3})\.api\.openai\.com$"), "openai"),
    (re.compile(r"bedrock-[a-z]+(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|api\.aws)$"), "aws"),
    (re.compile(r"(?:([a-z0-9-]+)-)?aiplatform(?:\.([a-z]{2})\.rep)?\.googleapis\.com$"), "google"),
    (re.compile(r"api\.anthropic\.com$"), "anthropic"),
    (re.compile(r"api\.openai\.com$"), "openai"),
)
# Data residency at OpenAI adds 10 % for models released on or after 5 March 2026, the first being gpt-5.4; models
# before them are listed so that a name that is neither is flagged. Source: its data residency guide.
_LATER: Final = re.compile(r"^(?:ft:)?(?:gpt-5[.-][4-9]|gpt-[6-9]|gpt-image-2)")
_EARLIER: Final = re.compile(
    r"^(?:ft:)?(?:gpt-[34]|gpt-5(?:$|-(?![4-9])|[.-][123])|o[134]|text-|davinci|babbage|gpt-image-1|chatgpt|codex-mini)"
)
# Regional and multi-region endpoints of Google cost 10 % more for Claude from Sonnet 4.5 on; the global one does not.
_CLAUDE_PREMIUM: Final = re.compile(r"claude-(?:(?:opus|sonnet|haiku)-(?:4-[5-9]|[5-9])|fable|mythos)")


@dataclass(frozen=True, slots=True)
class Place:
    """A provider's id and the region in an address ("" where it has none); ``flag`` where the provider is a guess."""

    provider: str | None
    region: str = ""
    flag: str = ""


NONE: Final = Factor()
TENTH: Final = Factor(110, 110, 110)


def place_of(host: str, model: str, table: Table, declared: Mapping[str, str]) -> Place:
    """Return who answers at ``host``: an origin, a URL or a provider's id.

    ``declared`` maps glob patterns of host names (with the port where there is one) to provider ids: gateways of the
    user's own. An unknown address is taken for the vendor of the model, and flagged.
    """
    if host and not any(mark in host for mark in ".:/") and host != "localhost":
        return Place(host.lower())
    url = host if "://" in host else f"https://{host}"
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    name, where = parts.hostname or "", parts.netloc.rpartition("@")[2].lower()
    for pattern, provider in declared.items():
        if fnmatchcase(where, pattern.lower()) or fnmatchcase(name, pattern.lower()):
            return Place(provider)
    for known, provider in _OWN:
        if found := known.search(name):
            return Place(provider, next(filter(None, found.groups()), ""))
    provider_id = table.provider(url) if name else None
    if provider_id is not None:
        return Place(provider_id)
    home = table.home(model) if model else None
    return Place(home, flag=f"assumed-provider:{home}" if home else "")


def regional(place: Place, model: str) -> Factor:
    """Return what the address adds for a model; ``model`` is in lower case."""
    provider, region = place.provider, place.region
    if provider == "azure":
        # The table has the prices of Global deployments; the answer does not say which kind this one is.
        return Factor(100, 100, 110, "azure-deployment")
    if not region:
        return NONE
    if provider == "openai":
        if _LATER.match(model):
            return TENTH
        return NONE if _EARLIER.match(model) else Factor(110, 100, 110, f"region:{region}")
    if provider == "google" and region != "global" and _CLAUDE_PREMIUM.search(model):
        return TENTH
    # A Bedrock model's id says itself whether it is regional, and the table has both.
    return NONE
