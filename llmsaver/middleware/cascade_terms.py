"""What a user may say about a cascade, checked: what cannot work is refused at start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmsaver.errors import ConfigurationError
from llmsaver.router.calibration import Label
from llmsaver.router.prior import prior_signals
from llmsaver.router.tier import as_tier
from llmsaver.router.validators import VALIDATORS, named

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver.router.gatekeeper import Gatekeeper
    from llmsaver.router.tier import Tier
    from llmsaver.router.validators import Validator

    # (question, the cheap tier's answer, the last tier's) -> whether they say the same, or how good the first is.
    Judging = Callable[[str, str, str], bool | float]

__all__ = ["AUTO", "Terms", "labels_of", "terms_of"]

# The model's name that asks for routing.
AUTO = "auto"
_STREAMING = ("buffer", "optimistic")
_TWO = 2


@dataclass(frozen=True, slots=True)
class Terms:
    """The arguments of ``Cascade``; ``thresholds`` by signal, "" for every other one."""

    tiers: tuple[Tier, ...]
    min_quality: float | None = None
    risk: float = 0.1
    replaces: frozenset[str] = frozenset()
    audit: float = 0.02
    explore: float = 0.10
    validators: Mapping[str, Validator] = field(default_factory=lambda: VALIDATORS)
    self_check: bool = False
    judge: Judging | None = None
    optimistic: bool = False
    hold_tokens: int = 6
    max_wait: float | None = None
    hedge: float | None = None
    thresholds: Mapping[str, float] | None = None
    gatekeeper: Gatekeeper | None = None
    agreement: bool = True
    may_lose: float = 0.004

    @property
    def last(self) -> Tier:
        """The tier whose quality is the measure."""
        return self.tiers[-1]

    @property
    def models(self) -> tuple[str, ...]:
        """The tiers' names."""
        return tuple(tier.model for tier in self.tiers)

    @property
    def share(self) -> tuple[float, float]:
        """The quality and the risk that each cheaper tier answers for, so that all together keep the promise."""
        cheaper = len(self.tiers) - 1
        return 1 - (1 - (self.min_quality or 0.0)) / cheaper, self.risk / cheaper


def terms_of(tiers: Any, given: Mapping[str, Any]) -> Terms:
    """Check the arguments of ``Cascade``; raises ``ConfigurationError`` naming the argument and what is right."""
    found = _tiers(tiers)
    terms = Terms(
        tiers=found,
        min_quality=None if given["min_quality"] is None else _inside("min_quality", given["min_quality"]),
        risk=_inside("risk", given["risk"]),
        replaces=_replaces(given["replaces"], found),
        audit=_share("audit", given["audit"]),
        explore=_share("explore", given["explore"]),
        validators=_validators(given["validators"]),
        self_check=_flag("self_check", given["self_check"]),
        judge=_callable("judge", given["judge"]),
        optimistic=_optimistic(given["streaming"]),
        hold_tokens=_tokens(given["hold_tokens"]),
        max_wait=_seconds("max_wait", given["max_wait"]),
        hedge=_seconds("hedge", given["hedge"]),
        thresholds=_thresholds(given["threshold"]),
        gatekeeper=given["gatekeeper"],
        agreement=_flag("agreement", given["agreement"]),
        may_lose=_share("may_lose", given["may_lose"]),
    )
    _agree(terms)
    return terms


def _agree(terms: Terms) -> None:
    """Refuse what contradicts itself."""
    if terms.min_quality is not None and terms.thresholds is not None:
        raise ConfigurationError(
            "Cascade(min_quality=, threshold=): a promised quality finds its own thresholds; leave one of them out"
        )
    if terms.hedge is not None and terms.max_wait is not None and terms.hedge >= terms.max_wait:
        raise ConfigurationError(
            f"Cascade(hedge={terms.hedge:g}, max_wait={terms.max_wait:g}): the last tier would be asked when nobody "
            "waits for the cheap one any more; make hedge= the shorter, or leave it out"
        )
    if terms.gatekeeper is not None and not callable(getattr(terms.gatekeeper, "gain", None)):
        raise ConfigurationError(
            f"Cascade(gatekeeper=) must be a Gatekeeper (llmsaver.router.gatekeeper), not {terms.gatekeeper!r}"
        )


def _tiers(given: Any) -> tuple[Tier, ...]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ConfigurationError(f"Cascade(tiers=) must be a list of models, the cheapest first, not {given!r}")
    tiers = tuple(as_tier(each) for each in given)
    if len(tiers) < _TWO:
        raise ConfigurationError(f"Cascade(tiers=) needs two models or more, the cheapest first; it has {len(tiers)}")
    models = [tier.model for tier in tiers]
    twice = next((model for model in models if models.count(model) > 1), None)
    if twice is not None:
        raise ConfigurationError(f"Cascade(tiers=) names {twice!r} twice; give each tier its own model")
    if AUTO in models:
        raise ConfigurationError(f"Cascade(tiers=): {AUTO!r} is what callers write to be routed, and no model")
    return tiers


def _replaces(given: Any, tiers: tuple[Tier, ...]) -> frozenset[str]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigurationError(f"Cascade(replaces=) must be a list of models' names, not {given!r}")
    names = list(given)
    wrong = next((name for name in names if not isinstance(name, str) or not name), None)
    if wrong is not None or (names and not all(names)):
        raise ConfigurationError(f"Cascade(replaces=) must list models' names, not {wrong!r}")
    cheaper = next((tier.model for tier in tiers[:-1] if tier.model in names), None)
    if cheaper is not None:
        raise ConfigurationError(
            f"Cascade(replaces=) names {cheaper!r}, which is a cheaper tier: a call for it could cost more; "
            "leave it out, and write model='auto' where it should be routed"
        )
    return frozenset(names)


def _validators(given: Any) -> dict[str, Validator]:
    """Return the library's validators and after them the user's own, given by name or as functions."""
    if not isinstance(given, Mapping):
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise ConfigurationError(f"Cascade(validators=) must be a list of functions, not {given!r}")
        given = list(given)
    functions = given.values() if isinstance(given, Mapping) else given
    wrong = next((each for each in functions if not callable(each)), None)
    if wrong is not None:
        raise ConfigurationError(
            f"Cascade(validators=) holds {wrong!r}: a validator is a function (asked, answer) -> why it is rejected"
        )
    return {**VALIDATORS, **(given if isinstance(given, Mapping) else named(given))}


def _thresholds(given: Any) -> dict[str, float] | None:
    if given is None:
        return None
    by_signal = dict(given) if isinstance(given, Mapping) else {"": given}
    for signal, value in by_signal.items():
        _share(f"threshold[{signal!r}]" if signal else "threshold", value)
    named = {str(signal).replace("-", "_"): float(value) for signal, value in by_signal.items()}
    unknown = next((signal for signal in named if signal and signal not in prior_signals()), None)
    if unknown is not None:
        raise ConfigurationError(
            f"Cascade(threshold=) names {unknown!r}, which is no signal: there are {', '.join(sorted(prior_signals()))}"
        )
    return named


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"Cascade({name}=) must be True or False, not {value!r}")
    return value


def labels_of(given: Any) -> list[Label]:
    """Return the labels that a cascade is given; raises ``ConfigurationError`` where they are none."""
    labels = list(given) if isinstance(given, Iterable) else [given]
    wrong = next((each for each in labels if not isinstance(each, Label)), None)
    if wrong is not None or not isinstance(given, Iterable):
        raise ConfigurationError(f"Cascade(labels=) must be a list of Label(...) objects, not {wrong!r}")
    return labels


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _inside(name: str, value: Any) -> float:
    if not _number(value) or not 0 < value < 1:
        raise ConfigurationError(f"Cascade({name}=) must be a share above 0 and below 1, such as 0.95; not {value!r}")
    return float(value)


def _share(name: str, value: Any) -> float:
    if not _number(value) or not 0 <= value <= 1:
        raise ConfigurationError(f"Cascade({name}=) must be a share from 0 to 1, not {value!r}")
    return float(value)


def _seconds(name: str, value: Any) -> float | None:
    if value is not None and (not _number(value) or not value > 0):
        raise ConfigurationError(f"Cascade({name}=) must be seconds above 0, or None; not {value!r}")
    return None if value is None else float(value)


def _tokens(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(f"Cascade(hold_tokens=) must be a whole number from 1, not {value!r}")
    return value


def _optimistic(value: Any) -> bool:
    if value not in _STREAMING:
        raise ConfigurationError(f"Cascade(streaming=) must be 'buffer' or 'optimistic', not {value!r}")
    return bool(value == _STREAMING[1])


def _callable(name: str, value: Any) -> Any:
    if value is not None and not callable(value):
        raise ConfigurationError(f"Cascade({name}=) must be a function, not {value!r}")
    return value
