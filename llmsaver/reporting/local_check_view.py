"""How a check looks: its figures, what it does not come to, and the rows that differ most."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from llmsaver.compare.verdict import MIN_COSINE, MIN_F1
from llmsaver.reporting.layout import clip
from llmsaver.reporting.words import duration, many, money, percent, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from llmsaver.reporting.local_check import Check, Compared

__all__ = ["as_text", "watched"]

_LABEL, _FIGURE = 17, 11
_WORST = 5


@contextmanager
def watched(model: str, total: int, console: Console | None = None) -> Iterator[Callable[[Check], None]]:
    """Show a bar on standard error, where that is a terminal; what it yields is told of the check after every row."""
    out = console or Console(stderr=True, highlight=False)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        console=out,
        expand=True,
        disable=not out.is_terminal,
    ) as progress:
        bar = progress.add_task(f"starting {shown(model)}", total=total)

        def told(made: Check) -> None:
            errors = f", {many(len(made.errors), 'error')}" if made.errors else ""
            progress.update(bar, description=f"{percent(made.same)} the same{errors}", completed=len(made.rows))

        yield told


def as_text(made: Check, broken: Sequence[str] = (), console: Console | None = None, *, worst: int = _WORST) -> None:
    """Write the figures, then the ``worst`` rows, then what is not come to."""
    out = console or Console(highlight=False)
    few = len(made.rows) < made.asked
    rows = f"{len(made.rows)} of {many(made.asked, 'row')}" if few else many(made.asked, "row")
    out.print(Text(f"{shown(made.model)} against {shown(made.against)}, {rows}", style="bold"), soft_wrap=True)
    for label, figure, note in _figures(made):
        _line(out, f"{label:<{_LABEL}}{figure:<{_FIGURE}}{note}".rstrip())
    for model, names in made.without.items():
        _line(out, f"{shown(model)} was asked without {', '.join(names)}, which it does not take", "yellow")
    _rows(out, made, worst)
    for each in broken:
        out.print(Text(f"below tolerance: {each}", style="red"), soft_wrap=True)


def _figures(made: Check) -> Iterator[tuple[str, str, str]]:
    """Yield what was measured: its name, the figure, and what it means."""
    structured = [row for row in made.compared if row.as_json is not None]
    yield "the same", percent(made.same), f"F1 >= {MIN_F1:g} or cosine >= {MIN_COSINE:g}, and equal numbers"
    yield "exact", percent(made.exact), "white space apart"
    yield "JSON-equal", percent(made.json), f"of {many(len(structured), 'row')} with a JSON reference"
    yield "token F1", _number(made.f1), "mean"
    if made.embedding is None:
        yield "embedding", "-", "needs pip install 'llmsaver[semantic]'"
    else:
        yield "embedding", _number(made.embedding), "mean cosine"
    pair = made.logprobs
    if pair is None:
        yield "log-probability", "-", "not told by both"
    else:
        note = f"{pair[1]:.3f} -> {pair[0]:.3f}, mean per token of their own"
        yield "log-probability", f"{pair[0] - pair[1]:+.3f}", note
    cost, reference = made.costs()
    yield "cost", money(cost), f"reference {money(reference)}"
    seconds = made.seconds()
    if seconds is not None:
        yield "time", duration(1e3 * seconds[0]), f"reference {duration(1e3 * seconds[1])}, median"
    cut = sum(bool(row.model and row.model.cut) or bool(row.against and row.against.cut) for row in made.compared)
    if cut:
        yield "cut short", many(cut, "row"), "ran into --max-tokens"


def _rows(out: Console, made: Check, worst: int) -> None:
    found = made.worst(worst)
    if found:
        out.print()
        _line(out, f"{'the worst' if len(found) > 1 else 'the one'} of those that differ", "bold")
    for row in found:
        _answers(out, row)
    if made.errors:
        out.print()
        _line(out, many(len(made.errors), "error"), "bold")
    for row in made.errors[:worst]:
        _line(out, f"line {row.line}  {_flat(row.error or '')}")


def _answers(out: Console, row: Compared) -> None:
    how = "" if row.verdict is None else row.verdict.how
    _line(out, f"line {row.line}  F1 {row.f1:.2f}  by {how}: {_flat(row.prompt)}")
    for label, said in (("reference", row.against), ("model", row.model)):
        _line(out, f"  {label:<10} {_flat(said.text if said is not None else '')}", "dim")


def _line(out: Console, text: str, style: str = "") -> None:
    out.print(Text(clip(text, out.width, ascii_only=out.options.ascii_only), style=style), soft_wrap=True)


def _flat(text: str) -> str:
    return shown(" ".join(text.split()))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
