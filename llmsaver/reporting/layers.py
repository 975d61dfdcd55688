"""What each layer did: calls shaped, tokens before and after, and dollars saved net of what that cost."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmsaver.ledger.schema import SHAPES
from llmsaver.pricing import plain
from llmsaver.reporting.layout import Column, columns, pointed
from llmsaver.reporting.words import count, many, money, percent, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from llmsaver.ledger.shaped import LayerLine

__all__ = ["BESIDE_BASELINE", "NOTES", "LayerFigures", "layer_csv", "layer_figures", "layer_json", "layer_lines"]

_NAME = 12
# A call's baseline has the same usage as the call, so what these save is in no "saved" of a report's figures.
BESIDE_BASELINE = frozenset({"compress", "prompt cache"})
NOTES = (
    "tokens: of the texts that a layer made shorter, estimated at four bytes each; - where it takes none out",
    (
        "saved: less the fees of writing caches and the price of second tries; a provider's cache against none at all; "
        "text taken out at the cheapest rate that the call's input was billed at; - where nothing can be measured"
    ),
)


@dataclass(frozen=True, slots=True)
class LayerFigures:
    """Sums over the calls that a layer shaped; ``saved_nano`` is net, over the ``measured`` of them.

    ``features`` are the same by feature, which have none themselves.
    """

    name: str
    calls: int = 0
    measured: int = 0
    tokens_before: int = 0
    tokens_after: int = 0
    saved_nano: int = 0
    features: tuple[LayerFigures, ...] = ()

    @property
    def taken_out(self) -> float | None:
        """What share of the tokens it changed it took out; None where it changes none."""
        return 1 - self.tokens_after / self.tokens_before if self.tokens_before else None

    def as_dict(self) -> dict[str, Any]:
        """Return it for a machine: exact decimal dollars, None where nothing was measured."""
        tokens = self.tokens_before or self.tokens_after
        return {
            "name": self.name,
            "calls": self.calls,
            "measured_calls": self.measured,
            "tokens_before": self.tokens_before if tokens else None,
            "tokens_after": self.tokens_after if tokens else None,
            "tokens_estimated": bool(tokens),
            "saved_usd": plain(self.saved_nano) if self.measured else None,
        }


def layer_figures(lines: Iterable[LayerLine]) -> tuple[LayerFigures, ...]:
    """Return the ledger's lines by layer, what saved most first."""
    found: defaultdict[str, list[LayerFigures]] = defaultdict(list)
    for line in lines:
        found[line.layer].append(LayerFigures(line.feature, *line[2:]))
    layers = [_summed(name, features) for name, features in found.items()]
    return tuple(sorted(layers, key=lambda layer: (-layer.saved_nano, -layer.calls, layer.name)))


def _summed(name: str, features: Sequence[LayerFigures]) -> LayerFigures:
    sums = {field: sum(getattr(each, field) for each in features) for field in SHAPES}
    return LayerFigures(name, **sums, features=tuple(features))


def layer_lines(layers: Sequence[LayerFigures], width: int = 80, *, ascii_only: bool = False) -> Iterator[str]:
    """Yield a table's lines, its heading first; ``NOTES`` say what its figures are."""
    if not layers:
        yield "no layer has shaped a call in this time"
        return

    def of(head: str, cells: Iterable[str], rank: int = 0) -> Column:
        return Column(head, list(cells), rank)

    taken = any(layer.tokens_before for layer in layers)
    table = [
        Column("layer", [shown(layer.name) for layer in layers], left=True, least=_NAME),
        of("calls", (count(layer.calls) for layer in layers)),
        of("tokens before", (count(layer.tokens_before) if layer.tokens_before else "-" for layer in layers), 2),
        of("after", (count(layer.tokens_after) if layer.tokens_before else "-" for layer in layers), 2),
        of("less", (percent(layer.taken_out) for layer in layers), 3),
        of("saved", pointed([money(layer.saved_nano) if layer.measured else "-" for layer in layers])),
    ]
    yield from columns([each for each in table if taken or each.rank == 0], width, ascii_only=ascii_only)
    rest = sum(layer.calls - layer.measured for layer in layers if layer.measured)
    if rest:
        yield f"{many(rest, 'call')} of these without a known price or usage: in no sum of dollars"


def layer_json(layers: Sequence[LayerFigures]) -> list[dict[str, Any]]:
    """Return the layers for a machine, each with its features."""
    return [{**layer.as_dict(), "features": [each.as_dict() for each in layer.features]} for layer in layers]


def layer_csv(layers: Sequence[LayerFigures]) -> str:
    """Return a header and one line for each layer."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["layer", *list(LayerFigures("").as_dict())[1:]])
    writer.writerows(layer.as_dict().values() for layer in layers)
    return out.getvalue()
