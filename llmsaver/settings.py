"""All configuration, read in one place: arguments > ``LLMSAVER_*`` > llmsaver.toml or ``[tool.llmsaver]``."""

from __future__ import annotations

import difflib
import os
import tomllib
from decimal import Decimal  # noqa: TC003 - pydantic reads it
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmsaver.core.rule import rules_from
from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Settings", "load"]

ENV_PREFIX = "LLMSAVER_"
# Read elsewhere: where benchmarks and tests find their data.
_NOT_SETTINGS = frozenset({"LLMSAVER_DATA"})


class Settings(BaseModel):
    """Every setting with its default.

    ``mode``: which layers act (see ``Saver``); ``annotate``: whether answers carry an ``llmsaver`` key (None: on in
    ``Client``, off in the drop-in classes); ``disabled``: send everything past every layer; ``feature`` and ``tenant``:
    what calls are booked under where nothing closer says so; ``local_models``: tiers of one's own by name, each a GGUF
    file's path or a table of ``LocalModel``'s, ``Vllm``'s or ``Attach``'s fields with its ``kind`` ("llama.cpp" if left
    out, "vllm", "attach"), or a list of those objects (in a file or as an argument only); ``local_context``: tokens per
    slot of a local model; ``local_parallel``: its slots; ``local_memory_mib``: what all local models together may use
    (None: what the machine has free); ``local_idle_s``: seconds after which an idle local model gives its memory back;
    ``local_exit_idle_s``: and after which its server ends; ``local_hourly_usd``: what an hour of a ``local/*`` tier
    costs that has no rate of its own; ``ledger``: the path or SQLAlchemy URL of the books (None: a file in the user's
    data folder); ``cache``: the path or SQLAlchemy URL of stored answers (None: ``cache.db`` beside the ledger);
    ``cache_mib``: what they may take there; ``originals``: the path or SQLAlchemy URL of tool outputs left out of
    prompts (None: ``originals.db`` beside the ledger); ``hash_ids``: whether users and tenants are stored as salted
    hashes; ``record_text``: whether prompts and answers are stored; ``budgets``: tables with a ``name`` and the
    arguments of ``llmsaver.budget``; ``prices``: dollars per million tokens by model, over the list prices (see
    ``pricing.overrides.parse``); ``price_hosts``: whose prices a gateway's host bills, such as ``{"llm.internal:8080":
    "openai"}`` (these three in a file or as an argument only).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["off", "observe", "safe", "balanced", "max"] = "safe"
    annotate: bool | None = None
    disabled: bool = False
    feature: str = Field(default="default", min_length=1)
    tenant: str | None = None
    local_models: dict[str, Any] = Field(default_factory=dict)
    local_context: int = Field(default=4096, ge=256, le=1_048_576)
    local_parallel: int = Field(default=4, ge=1, le=64)
    local_memory_mib: int | None = Field(default=None, ge=1)
    local_idle_s: int = Field(default=300, ge=1)
    local_exit_idle_s: int = Field(default=1800, ge=1)
    local_hourly_usd: Decimal | None = Field(default=None, ge=0, allow_inf_nan=False)
    ledger: str | None = None
    cache: str | None = None
    cache_mib: int = Field(default=512, ge=1)
    originals: str | None = None
    hash_ids: bool = False
    record_text: bool = False
    budgets: list[dict[str, Any]] = Field(default_factory=list)
    prices: dict[str, dict[str, Any]] = Field(default_factory=dict)
    price_hosts: dict[str, str] = Field(default_factory=dict)


def load(arguments: Mapping[str, Any] | None = None, *, environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check the settings; ``arguments`` with a value of None are as good as not given.

    Raises ``ConfigurationError`` naming the key, where it was set, and the fix.
    """
    found, path = _from_files()
    given: dict[str, Any] = {}
    sources: dict[str, str] = {}
    layers: list[tuple[dict[str, Any], Callable[[str], str]]] = [
        (found, lambda key: f"{key} in {path}"),
        (_from_environ(os.environ if environ is None else environ), lambda key: ENV_PREFIX + key.upper()),
        ({key: value for key, value in (arguments or {}).items() if value is not None}, lambda key: f"Saver({key}=)"),
    ]
    for values, name_of in layers:
        given.update(values)
        sources.update({key: name_of(key) for key in values})
    if "local_models" in given:
        from llmsaver.local.tiers import tiers_from

        given["local_models"] = tiers_from(given["local_models"], sources["local_models"])
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, sources)) from None
    if settings.budgets:
        rules_from(settings.budgets, sources["budgets"])
    return settings


def _explain(error: ValidationError, sources: Mapping[str, str]) -> str:
    """Turn pydantic's findings into one line per key: where it was set, what is wrong, what would be right."""
    lines = []
    for finding in error.errors():
        key, *inner = map(str, finding["loc"])
        where = ".".join([sources.get(key, key), *inner])
        if finding["type"] == "extra_forbidden":
            close = difflib.get_close_matches(key, Settings.model_fields, n=1)
            fix = f"did you mean {close[0]}?" if close else "remove it."
            lines.append(f"{where} is no setting: {fix} The settings are {', '.join(Settings.model_fields)}.")
        else:
            wanted = finding["msg"].removeprefix("Input ").removeprefix("String ")
            lines.append(f"{where} {wanted}; it is {finding['input']!r}")
    return "llmsaver is configured wrongly: " + "\n".join(lines)


def _from_environ(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name.removeprefix(ENV_PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(ENV_PREFIX) and name not in _NOT_SETTINGS and value != ""
    }


def _from_files() -> tuple[dict[str, Any], Path | None]:
    """Return the settings of the nearest llmsaver.toml or ``[tool.llmsaver]`` at or above the working folder."""
    try:
        start = Path.cwd()
    except FileNotFoundError:
        return {}, None  # removed under a running program
    for folder in (start, *start.parents):
        for path in (folder / "llmsaver.toml", folder / "pyproject.toml"):
            table = _table_in(path) if path.is_file() else None
            if table is not None:
                return table, path
    return {}, None


def _table_in(path: Path) -> dict[str, Any] | None:
    """Return our settings in a file, None where it has none."""
    shared = path.name == "pyproject.toml"
    try:
        content = path.read_bytes()
        if shared and b"llmsaver" not in content:
            return None  # another tool's file; what is wrong with it, its owner will hear elsewhere
        table: Any = tomllib.loads(content.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}; repair or remove it") from None
    if not shared:
        return cast("dict[str, Any]", table)
    tools = table.get("tool")
    table = tools.get("llmsaver") if isinstance(tools, dict) else None
    if table is None or isinstance(table, dict):
        return table
    raise ConfigurationError(f"tool.llmsaver in {path} must be a table of settings; it is {table!r}")
