"""Labelled outcomes from a file: how good the cheap answer was, how good the last tier's, and what each cost.

Two shapes are read. *A row for each call*: ``weak`` and ``strong`` (quality from 0 to 1; or ``weak_correct`` and
``strong_correct``), ``confidence`` (as ``response.llmsaver["router"]`` tells it, empty for none) or ``conf`` (the mean
log-probability of the answer's tokens), and where known ``weak_usd`` and ``strong_usd``, ``feature``, ``tier``,
``signal``, ``gold`` (checked against the truth, the default, or only against the last tier), ``weight`` (one over the
probability that the call was labelled), ``answer``. *A row for each answer*: ``dataset``, ``model``, ``prompt``,
``correct``, ``conf``, ``cost``; the answers to one prompt are then paired.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmsaver.errors import ConfigurationError
from llmsaver.reporting.router_rows import blank, number, rows_of, share
from llmsaver.router.calibration import Label
from llmsaver.router.merit import PriceLevel, merit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Outcomes", "read_outcomes"]

LOGPROBS = "logprobs"
_NANO = 10**9
_ALIASES = {
    "weak_correct": "weak",
    "strong_correct": "strong",
    "weak_cost": "weak_usd",
    "strong_cost": "strong_usd",
    "weak_response": "answer",
    "weak_model": "tier",
}
_WIDE = frozenset(
    {"weak", "strong", "confidence", "conf", "weak_usd", "strong_usd", "feature", "tier", "signal", "gold", "weight"}
)
_LONG = ("dataset", "model", "prompt", "correct", "conf", "cost")
_SILENT = frozenset({"answer", "prompt", "subject", "strong_response", "strong_model", "split", "i", "chain", "id"})


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Labels of one feature and cheap tier; ``last`` is the tier they are held against, "" where the file is silent."""

    feature: str
    tier: str
    last: str
    labels: tuple[Label, ...]


def read_outcomes(
    place: str, *, feature: str | None = None, tier: str | None = None, last: str | None = None
) -> tuple[list[Outcomes], tuple[str, ...]]:
    """Return the labels of a file by feature and tier, and the names of columns that were passed over.

    ``feature`` and ``tier`` stand where the rows name none (no feature: for every one); of a file with a row for each
    answer, ``tier`` and ``last`` choose the two models, by default the cheapest and the dearest of each dataset.
    Raises ``ConfigurationError`` that says which line is wrong and how.
    """
    rows = rows_of(place)
    names = {name for _, row in rows for name in row}
    if set(_LONG) <= names and not {"weak", "strong", "weak_correct"} & names:
        found = _paired(place, rows, tier, last)
        return [each for each in found if feature in (None, each.feature)], ()
    rows = [(line, {_ALIASES.get(name, name): value for name, value in row.items()}) for line, row in rows]
    names = {name for _, row in rows for name in row}
    _complete(place, names)
    logs = _are_logs(place, rows)
    prices = PriceLevel()
    by_key: defaultdict[tuple[str, str], list[Label]] = defaultdict(list)
    for line, row in rows:
        label = _label(place, line, row, feature or "", logs, prices)
        by_key[label.feature, _word(row, "tier") or tier or ""].append(label)
    out = [Outcomes(key[0], key[1], last or "", tuple(labels)) for key, labels in sorted(by_key.items())]
    return out, tuple(sorted(names - _WIDE - _SILENT))


def _complete(place: str, names: set[str]) -> None:
    """See that nothing is missing; say what was found instead."""
    missing = [name for name in ("weak", "strong") if name not in names]
    unknown = sorted(names - _WIDE - _SILENT)
    if missing:
        told = f"; unknown columns: {', '.join(unknown)}" if unknown else ""
        raise ConfigurationError(
            f"{place}: no column {' and '.join(missing)}{told}. A row for each call has weak, strong and confidence "
            f"(or conf), a row for each answer has {', '.join(_LONG)}"
        )
    if "confidence" not in names and "conf" not in names:
        raise ConfigurationError(
            f"{place}: no column confidence or conf says how sure the cheap tier was, so no threshold can be found: "
            "right and wrong alone can train a gatekeeper: llmsaver.router.gatekeeper.Gatekeeper.fit"
        )
    if {"confidence", "conf"} <= names:
        raise ConfigurationError(f"{place}: has both confidence and conf; keep one of them")


def _are_logs(place: str, rows: Iterable[tuple[int, Mapping[str, Any]]]) -> bool:
    """Return whether ``conf`` holds log-probabilities: as soon as one is below 0."""
    return any(
        number(place, line, "conf", row["conf"], endless=True) < 0 for line, row in rows if not blank(row, "conf")
    )


def _label(place: str, line: int, row: Mapping[str, Any], feature: str, logs: bool, prices: PriceLevel) -> Label:
    weak_nano, strong_nano = (_nano(place, line, name, row) for name in ("weak_usd", "strong_usd"))
    signal, confidence = _word(row, "signal") or LOGPROBS, None
    if not blank(row, "confidence"):
        confidence = share(place, line, "confidence", row["confidence"])
    elif not blank(row, "conf"):
        raw = number(place, line, "conf", row["conf"], endless=True)  # -inf: said to be impossible; NaN: nothing told
        level = prices.relative(feature, strong_nano)
        if not math.isnan(raw):
            confidence = merit(_sure(place, line, raw, logs), price=level, chars=len(_word(row, "answer")))
    return Label(
        feature=_word(row, "feature") or feature,
        confidence=confidence,
        signal=signal,
        weak=share(place, line, "weak", row["weak"]),
        strong=share(place, line, "strong", row["strong"]),
        weak_nano=weak_nano,
        strong_nano=strong_nano,
        source="file",
        gold=blank(row, "gold") or share(place, line, "gold", row["gold"]) > 0,
        weight=1.0 if blank(row, "weight") else max(1.0, number(place, line, "weight", row["weight"])),
    )


def _paired(
    place: str, rows: Iterable[tuple[int, Mapping[str, Any]]], tier: str | None, last: str | None
) -> list[Outcomes]:
    """Pair the two models' answers to each prompt."""
    asked: defaultdict[tuple[str, str], dict[str, list[tuple[int, Mapping[str, Any]]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for line, row in rows:
        asked[_word(row, "dataset"), _word(row, "chain")][_word(row, "model")].append((line, row))
    found = []
    for (dataset, _), models in sorted(asked.items()):
        pair = _two(place, models, tier, last)
        if pair is not None:
            found.append(_outcomes(place, dataset, pair, models))
    if not found:
        wanted = " and ".join(f"{name!r}" for name in (tier, last) if name)
        names = sorted({model for models in asked.values() for model in models})
        raise ConfigurationError(
            f"{place}: no dataset has answers of {wanted or 'two models'}; there are: {', '.join(names)}"
        )
    return found


def _two(
    place: str,
    models: Mapping[str, Sequence[tuple[int, Mapping[str, Any]]]],
    tier: str | None,
    last: str | None,
) -> tuple[str, str] | None:
    """Return the cheap model and the dear one."""
    prices = {
        model: math.fsum(number(place, line, "cost", row["cost"]) for line, row in told) / len(told)
        for model, told in models.items()
    }
    order = sorted(prices, key=lambda model: prices[model])
    weak, strong = tier or order[0], last or order[-1]
    return (weak, strong) if weak != strong and weak in models and strong in models else None


def _outcomes(
    place: str,
    dataset: str,
    pair: tuple[str, str],
    models: Mapping[str, Sequence[tuple[int, Mapping[str, Any]]]],
) -> Outcomes:
    weak, strong = pair
    by_prompt = {(_word(row, "split"), _word(row, "i"), row["prompt"]): row for _, row in models[strong]}
    logs, prices, labels = _are_logs(place, models[weak]), PriceLevel(), []
    for line, row in models[weak]:
        other = by_prompt.get((_word(row, "split"), _word(row, "i"), row["prompt"]))
        if other is None:
            continue
        wide = {"weak": row["correct"], "strong": other["correct"], "conf": row["conf"], "answer": row.get("answer")}
        wide |= {"weak_usd": row["cost"], "strong_usd": other["cost"]}
        labels.append(_label(place, line, wide, dataset, logs, prices))
    if not labels:
        raise ConfigurationError(f"{place}: no prompt of {dataset} has answers of both {weak} and {strong}")
    return Outcomes(dataset, weak, strong, tuple(labels))


def _sure(place: str, line: int, raw: float, logs: bool) -> float:
    if logs:
        return math.exp(min(0.0, raw))
    return share(place, line, "conf", raw)


def _nano(place: str, line: int, name: str, row: Mapping[str, Any]) -> int:
    """Return dollars as nano-dollars; 0 where the row is silent."""
    if blank(row, name):
        return 0
    dollars = number(place, line, name, row[name])
    if dollars < 0:
        raise ConfigurationError(f"{place}, line {line}: {name} must not be below 0, it is {row[name]!r}")
    return round(dollars * _NANO)


def _word(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value).strip()
