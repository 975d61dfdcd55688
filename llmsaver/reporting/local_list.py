"""The local models that can be named here: what they are, what they need, and whether they are there."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from llmsaver import settings
from llmsaver.errors import LocalModelError
from llmsaver.local import machine, weights
from llmsaver.local.catalogue import known_models, similar
from llmsaver.local.models import Attach, LocalModel, Vllm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llmsaver.local.models import Tier
    from llmsaver.settings import Settings

__all__ = ["Listed", "as_json", "declared", "listed", "tier_of"]

_QUANTIZATION = re.compile(r"(?i)(?<![a-z0-9])(i?q\d(?:_[a-z0-9]+)*|bf16|f16|f32)(?![a-z0-9])")


@dataclass(frozen=True, slots=True)
class Listed:
    """A model or server of this machine's list; None is "cannot be known here".

    ``kind`` is "llama.cpp", "vllm" or "attach", ``source`` "catalogue" or "settings". ``size`` is in bytes,
    ``memory_mib`` for weights and the cache of ``context`` tokens in each of ``parallel`` slots. ``fits`` compares it
    to ``free_mib``. ``pinned`` is by "sha256", by "revision", or None.
    """

    name: str
    kind: Literal["llama.cpp", "vllm", "attach"]
    source: Literal["catalogue", "settings"]
    size: int | None = None
    quantization: str | None = None
    licence: str | None = None
    context: int | None = None
    parallel: int | None = None
    memory_mib: int | None = None
    free_mib: int | None = None
    path: str | None = None
    pinned: Literal["sha256", "revision"] | None = None
    where: str | None = None
    hourly_usd: str | None = None
    note: str | None = None

    @property
    def installed(self) -> bool | None:
        """Whether its weights are on this machine; None where they are another program's business."""
        return self.path is not None if self.kind == "llama.cpp" else None

    @property
    def fits(self) -> bool | None:
        """Whether what it needs is free now."""
        return None if self.memory_mib is None or self.free_mib is None else self.memory_mib <= self.free_mib


def declared(given: Settings | None = None) -> dict[str, Tier]:
    """Return the tiers of the settings and of the catalogue, the settings' first."""
    own: dict[str, Tier] = dict((given or settings.load()).local_models)
    return own | {model.name: model for model in known_models() if model.name not in own}


def tier_of(name: str, given: Settings | None = None) -> Tier:
    """Return the tier of that name, or the model at that path.

    ``local/`` before it and an adapter's name behind it may be left out. Raises LocalModelError with the names that
    are close to it.
    """
    name = name.removeprefix("local/")
    tiers = declared(given)
    tier = tiers.get(name) or tiers.get(name.partition(":")[0])
    if tier is not None:
        return tier
    if name.startswith(("/", "~", ".")):
        return weights.model_of(str(Path(name).expanduser().absolute()))
    raise LocalModelError(
        f"there is no local model {name!r}{similar(name, tiers) or '. See llmsaver local list.'} A GGUF file goes by "
        "its path"
    )


def listed(given: Settings | None = None) -> list[Listed]:
    """Return every model, the settings' own first."""
    given = given or settings.load()
    known = [mib for mib in (machine.free_memory_mib(), given.local_memory_mib) if mib is not None]
    free = min(known, default=None)
    return [_row(name, tier, given, free) for name, tier in declared(given).items()]


def as_json(rows: Sequence[Listed], abilities: Mapping[str, Any] | None = None) -> str:
    """Return the list as JSON, an object per model; ``abilities`` are those of attached servers, by name."""
    known = abilities or {}
    told = [
        {**asdict(row), "installed": row.installed, "fits": row.fits, "abilities": known.get(row.name)} for row in rows
    ]
    return json.dumps({"models": told}, indent=2)


def _row(name: str, tier: Tier, given: Settings, free: int | None) -> Listed:
    rate = given.local_hourly_usd if tier.hourly_usd is None else tier.hourly_usd
    row = Listed(
        name,
        "llama.cpp",
        "settings" if name in given.local_models else "catalogue",
        hourly_usd=None if rate is None else str(rate),
    )
    if isinstance(tier, Attach):
        return replace(row, kind="attach", where=tier.base_url)
    if isinstance(tier, Vllm):
        return replace(row, kind="vllm", where=tier.model, quantization=tier.quantization, context=tier.context)
    return _of_model(row, cast("LocalModel", tier), given, free)


def _of_model(row: Listed, model: LocalModel, given: Settings, free: int | None) -> Listed:
    path = weights.installed(model)
    context = model.context or min(given.local_context, model.max_context or given.local_context)
    parallel = model.parallel or given.local_parallel
    named: Any = _QUANTIZATION.search(Path(path or model.path or model.file or "").name)
    return replace(
        row,
        size=model.size if path is None else path.stat().st_size,
        quantization=model.quantization or (named and named[1].upper()),
        licence=model.licence,
        context=context,
        parallel=parallel,
        memory_mib=weights.memory_mib(model, context, parallel),
        free_mib=free,
        path=None if path is None else str(path),
        pinned="sha256" if model.sha256 else "revision" if model.revision else None,
        where=_where(model),
        note=model.note,
    )


def _where(model: LocalModel) -> str:
    """Return where its weights come from, in a few words."""
    if model.path is not None:
        return str(model.path)
    if model.parts or model.requirement:
        return "registry, hub" if model.repo else "registry"
    return "hub" if model.repo else f"package {model.package}"
