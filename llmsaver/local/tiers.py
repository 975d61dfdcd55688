"""Local tiers as settings say them: a path, a table, or a ``LocalModel``, ``Vllm`` or ``Attach``."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_type_hints

from pydantic import TypeAdapter, ValidationError

from llmsaver.errors import ConfigurationError
from llmsaver.local.catalogue import completed, known_models
from llmsaver.local.models import Attach, LocalModel, Tier, Vllm

if TYPE_CHECKING:
    from decimal import Decimal

__all__ = ["rated", "tiers_from"]

_KINDS: dict[str, type[LocalModel | Vllm | Attach]] = {"llama.cpp": LocalModel, "vllm": Vllm, "attach": Attach}
_ASKED = (
    'must be a table of names (a path, or a table with kind = "llama.cpp", "vllm" or "attach") or a list of '
    "LocalModel, Vllm and Attach"
)


def tiers_from(given: Any, where: str = "local_models") -> dict[str, Tier]:
    """Return every tier by its name, with the catalogue's weights where a ``LocalModel`` names none of its own.

    ``where`` is the setting's place, for errors. Raises ConfigurationError naming key, place and fix.
    """
    tiers: dict[str, Tier] = {}
    if isinstance(given, Mapping):
        for name, said in given.items():
            tiers[name] = _told(f"{where}: {name!r}", _named, name, said)
    elif isinstance(given, Sequence) and not isinstance(given, str | bytes):
        for number, tier in enumerate(given):
            if not isinstance(tier, LocalModel | Vllm | Attach):
                raise ConfigurationError(f"{where}[{number}] must be a LocalModel, Vllm or Attach; it is {tier!r}")
            if tier.name in tiers:
                raise ConfigurationError(f"{where}[{number}]: the name {tier.name!r} is taken; give one of them name=")
            tiers[tier.name] = _told(f"{where}[{number}]", _whole, tier)
    else:
        raise ConfigurationError(f"{where} {_ASKED}; it is {given!r}")
    return tiers


def rated(tiers: Mapping[str, Tier], hourly_usd: Decimal | None) -> dict[str, Tier]:
    """Return the tiers, and the catalogue's, with ``hourly_usd`` where they have no rate of their own."""
    if hourly_usd is None:
        return dict(tiers)
    every = {**{model.name: model for model in known_models()}, **tiers}
    return {
        name: tier if tier.hourly_usd is not None else replace(tier, hourly_usd=hourly_usd)
        for name, tier in every.items()
    }


def _named(name: str, said: Any) -> Tier:
    if isinstance(said, str | Path):
        return LocalModel(name, path=said)
    if isinstance(said, LocalModel | Vllm | Attach):
        return _whole(replace(said, name=name))
    if isinstance(said, Mapping):
        return _from_table(name, dict(said))
    raise ConfigurationError(f"must be a path, a table, or a LocalModel, Vllm or Attach; it is {said!r}")


def _from_table(name: str, table: dict[str, Any]) -> Tier:
    """Make a tier of a table: its ``kind``, and the fields of that kind."""
    said = table.pop("kind", "llama.cpp")
    kind = _KINDS.get(said) if isinstance(said, str) else None
    if kind is None:
        raise ConfigurationError(f"kind must be one of {', '.join(map(repr, _KINDS))}; it is {said!r}")
    hints = _hints(cast("Any", kind))
    for key in table:
        if key not in hints:
            close = difflib.get_close_matches(key, hints, n=1)
            fix = f"did you mean {close[0]}?" if close else "remove it."
            raise ConfigurationError(f"{key} is no field of kind {said!r}: {fix} Its fields are {', '.join(hints)}.")
    checked = {key: _checked(key, hints[key], value) for key, value in table.items()}
    if kind is Vllm and "model" not in checked:
        raise ConfigurationError("model is missing: the id on the hub or the folder that vLLM serves")
    return _whole(kind(**{"name": name, **checked}))


def _checked(key: str, adapter: TypeAdapter[Any], value: Any) -> Any:
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        wanted = error.errors()[0]["msg"].removeprefix("Input ").removeprefix("String ")
        raise ConfigurationError(f"{key} {wanted}; it is {value!r}") from None


@cache
def _hints(kind: Any) -> dict[str, TypeAdapter[Any]]:
    """Return the fields that a table may have, each with what checks its type."""
    names = {"Mapping": Mapping, "Sequence": Sequence, "Path": Path}
    hints = get_type_hints(kind, localns=names)
    return {each.name: TypeAdapter(hints[each.name]) for each in fields(kind) if each.init and each.name != "name"}


def _whole(tier: Tier) -> Tier:
    return completed(tier) if isinstance(tier, LocalModel) else tier


def _told(where: str, make: Any, *arguments: Any) -> Tier:
    """Make a tier; what is wrong with it is said with its place."""
    try:
        tier: Tier = make(*arguments)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None
    return tier
