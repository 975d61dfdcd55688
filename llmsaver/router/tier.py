"""A tier: one model that may answer, where it is, and what it can do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from llmsaver.errors import ConfigurationError

__all__ = ["DIALECTS", "SKILLS", "Tier", "as_tier"]

# What a request may need of a model, beyond words.
SKILLS = frozenset({"tools", "images", "json_schema", "logprobs"})
DIALECTS = ("chat", "responses", "messages")


@dataclass(frozen=True, slots=True)
class Tier:
    """One model of a cascade; the order in the cascade is the order of price and quality.

    ``base_url``: as an SDK takes it ("https://api.openai.com/v1", "https://api.anthropic.com"); None for where the
    caller's own client sends, or for the vendor's own host where the model is the other vendor's. ``api_key``, or the
    environment variable ``api_key_env`` (None: the vendor's own, ``OPENAI_API_KEY`` or ``ANTHROPIC_API_KEY``).
    ``dialect``: what that host speaks, "chat", "responses" or "messages" (None: by the model and the host).
    ``max_context``: tokens of prompt and answer together (None: what is known of the model). ``skills``: which of
    "tools", "images", "json_schema" and "logprobs" it has (None: what is known of the model). ``requests_per_minute``
    and ``tokens_per_minute``: what the provider allows this program. Raises ``ConfigurationError``.
    """

    model: str
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    api_key_env: str | None = None
    dialect: str | None = None
    max_context: int | None = None
    skills: frozenset[str] | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None

    def __post_init__(self) -> None:
        model: Any = self.model
        if not isinstance(model, str) or not model:
            raise ConfigurationError(f"Tier(model=) must name a model, not {self.model!r}")
        where = f"Tier({self.model!r})"
        if model.strip() != model:
            raise ConfigurationError(f"{where}: a model's name has no blanks around it")
        if self.dialect is not None and self.dialect not in DIALECTS:
            raise ConfigurationError(f"{where}: dialect must be one of {', '.join(DIALECTS)}, not {self.dialect!r}")
        given: Any = self.skills  # a caller may not check types
        if given is not None:
            if isinstance(given, str) or not SKILLS.issuperset(given):
                raise ConfigurationError(f"{where}: skills must be among {', '.join(sorted(SKILLS))}; not {given!r}")
            object.__setattr__(self, "skills", frozenset(given))
        for name in ("max_context", "requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigurationError(f"{where}: {name} must be above 0, not {value!r}")

    @property
    def local(self) -> bool:
        """Whether the model runs behind a ``local/...`` name."""
        return self.model.startswith("local/")


def as_tier(given: object) -> Tier:
    """Return a tier as it is, or that of a model's name; raises ``ConfigurationError`` for anything else."""
    if isinstance(given, Tier):
        return given
    if isinstance(given, str):
        return Tier(given)
    raise ConfigurationError(f"a cascade's tiers are models' names or Tier(...) objects, not {given!r}")
