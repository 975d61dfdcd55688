"""How a report looks: 80 columns of text, more where the terminal has more."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from llmsaver.reporting.layers import BESIDE_BASELINE, NOTES, layer_lines
from llmsaver.reporting.layout import Column, bar, clip, columns, pointed
from llmsaver.reporting.moments import zone
from llmsaver.reporting.router_view import routed_lines as router_lines
from llmsaver.reporting.servers import lines as server_lines
from llmsaver.reporting.words import count, duration, many, minute, money, percent, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from llmsaver.reporting.figures import Figures
    from llmsaver.reporting.layers import LayerFigures
    from llmsaver.reporting.report import Report

__all__ = ["as_text", "described", "headline", "table"]

_NAME, _INDENT = 12, "  "
_DAYS = 14
_MODELS = 8
_BAR, _SHORT, _LABEL = 28, 7, 24


def as_text(report: Report, console: Console | None = None, *, top: int = 20) -> None:
    """Write the report; ``top`` is how many lines of what it is cut by are shown."""
    out = console or Console(highlight=False)
    for line in described(report, out.width, ascii_only=out.options.ascii_only, top=top):
        out.print(line, soft_wrap=True)


def described(report: Report, width: int = 80, *, ascii_only: bool = False, top: int = 20) -> Iterator[Text]:
    """Yield the report's lines, none wider than ``width`` cells where that is 60 or more."""
    yield Text(f"llmsaver report: {_span(report)}", style="bold")
    if not report.total.calls and not report.total.refused:
        yield from (Text(line) for line in _nothing(report, width))
        return
    yield Text()
    yield from (Text(clip(line, width, ascii_only=ascii_only)) for line in headline(report.total, report.layers))
    yield Text()
    if report.by == "layer":
        yield from _layers(report, width, ascii_only=ascii_only)
    else:
        yield from table(report, width, top, ascii_only=ascii_only)
    yield from _bars("by model", report.models[:_MODELS], report, width, ascii_only=ascii_only)
    days = "by day" if len(report.days) <= _DAYS else f"by day, the last {_DAYS} of {len(report.days)}"
    yield from _bars(days, report.days[-_DAYS:], report, width, ascii_only=ascii_only)
    local = list(server_lines(report.servers, report.achieved, width, ascii_only=ascii_only))
    if local:
        yield from (Text(), Text("local models", style="bold"), *map(Text, local))
    if report.routing is not None:
        yield from (Text(), Text("routed calls, by tier", style="bold"))
        yield from map(Text, router_lines(report.routing, width, ascii_only=ascii_only))
    if report.layers and report.by != "layer":
        yield from (Text(), *_layers(report, width, ascii_only=ascii_only))
    yield Text()
    for note in _notes(report):
        yield from (Text(line, style="yellow" if note[0] in "~?!" else "dim") for line in _wrapped(note, width))


def _span(report: Report) -> str:
    place = zone(report.tz)
    ends = [None if moment is None else minute(moment, place) for moment in (report.since, report.until)]
    if report.since is None and report.days:
        ends[0] = report.days[0].name
    if report.until is None:
        ends[1] = minute(report.made_at // 60 * 60, place)
    return (f"{ends[0]} to {ends[1]}" if ends[0] else f"up to {ends[1]}") + f" ({report.tz})"


def _nothing(report: Report, width: int) -> list[str]:
    """Say that there are no calls, and what to do."""
    if report.written:
        said = f"No calls in this time; the ledger has {many(report.written, 'call')} of other times. Widen --since."
    else:
        said = (
            "No calls in the ledger yet. Every call of a client from llmsaver is booked by itself: "
            "from llmsaver import Client; or run: llmsaver demo"
        )
    lost = [f"! lost since the ledger began: {many(report.lost, 'row')}"] if report.lost else []
    return [line for text in (said, f"ledger: {shown(report.ledger)}", *lost) for line in _wrapped(text, width)]


def headline(total: Figures, layers: Sequence[LayerFigures] = ()) -> list[str]:
    """Return the figures over everything: label, figure, and what to know about it."""
    fates = [f"{count(total.errors)} failed ({percent(total.rate('errors'))})"]
    if total.hits:
        fates.append(f"{percent(total.rate('hits'))} hits")
    if total.escalated:
        fates.append(f"{percent(total.rate('escalated'))} escalated")
    if total.spilled:
        fates.append(f"{percent(total.rate('spilled'))} spilled")
    low, high = money(total.cost_low), money(total.cost_high)
    between = f"between {low} and {high}" if total.cost_low != total.cost_high else ""
    told = [
        ("calls", count(total.calls), ", ".join(fates)),
        ("spend", money(total.spend), f"{total.flags} {between}".strip()),
        ("saved", "-" if total.saved is None else money(total.saved), _saved(total)),
        ("per 1,000 calls", money(total.per_thousand), total.flags),
    ]
    more = sum(layer.saved_nano for layer in layers if layer.name in BESIDE_BASELINE)
    if more:
        told.insert(3, ("besides", money(more), "by shorter prompts and providers' caches"))
    if total.refused:
        told.append(("refused", count(total.refused), "by a budget; never sent, and in no other figure"))
    if total.resolved:
        told.append(("per resolved task", money(total.per_resolved), f"{count(total.resolved)} resolved"))
    told.append(("tokens per call", count(total.tokens_in), f"in, {count(total.tokens_out)} out"))
    for label, found in (("latency", total.latency_ms), ("to first token", total.first_byte_ms)):
        if found:
            told.append((label, duration(found[0]), f"p50, {duration(found[1])} p90, {duration(found[2])} p99"))
    room = max(len(figure) for _, figure, _ in told)
    return [f"{_INDENT}{label:<19}{figure:>{room}}  {remark}".rstrip() for label, figure, remark in told]


def _saved(total: Figures) -> str:
    if total.saved is None:
        return "nothing to compare with"
    return f"{percent(total.saved_share)} of {money(total.baseline_nano)}, the calls as written"


def table(report: Report, width: int = 80, top: int = 20, *, ascii_only: bool = False) -> Iterator[Text]:
    """Yield the lines that the report is cut by, and what is left out of them."""
    lines = report.lines[-top:] if report.by == "day" else report.lines[:top]
    heading, *rows = columns(_columns(report, lines), width, ascii_only=ascii_only)
    yield Text(heading, style="bold")
    yield from map(Text, rows)
    rest = max(report.names, len(report.lines)) - len(lines)
    if rest:
        spent = report.total.cost_nano - sum(line.cost_nano for line in lines)
        calls = report.total.calls - sum(line.calls for line in lines)
        yield Text(f"{rest:,} more: {many(calls, 'call')}, {money(spent)}; --top shows more", style="dim")


def _layers(report: Report, width: int, *, ascii_only: bool) -> Iterator[Text]:
    """Yield what each layer did to the calls that it shaped."""
    heading, *rows = layer_lines(report.layers, width, ascii_only=ascii_only)
    yield Text(heading, style="bold" if rows else "")
    yield from map(Text, rows)
    if rows and report.by == "layer":
        yield from (Text(line, style="dim") for note in NOTES for line in _wrapped(note, width))


def _columns(report: Report, lines: Sequence[Figures]) -> list[Column]:
    def of(head: str, cell: Callable[[Figures], str], rank: int) -> Column:
        return Column(head, pointed([cell(line) for line in lines]), rank)

    total = report.total
    found = [
        Column(report.by, [shown(line.name) or "(none)" for line in lines], left=True, least=_NAME),
        of("calls", lambda line: count(line.calls), 0),
        of("spend", lambda line: money(line.spend), 0),
    ]
    if total.estimated or total.unpriced:
        found.append(Column("", [line.flags for line in lines], left=True))
    found += [
        of("saved", lambda line: "-" if line.saved is None else money(line.saved), 1),
        of("$/1,000", lambda line: money(line.per_thousand), 2),
        of("in", lambda line: count(line.tokens_in), 5),
        of("out", lambda line: count(line.tokens_out), 5),
        of("p50", lambda line: duration(line.latency_ms[0] if line.latency_ms else None), 4),
        of("p99", lambda line: duration(line.latency_ms[2] if line.latency_ms else None), 7),
        of("first", lambda line: duration(line.first_byte_ms[0] if line.first_byte_ms else None), 8),
    ]
    if total.cache_read_tokens:
        cells = [percent(line.read_share, cut=True) for line in lines]
        found.append(Column("read %", cells, 3))
    if total.refused:
        found.append(of("refused", lambda line: count(line.refused), 3))
    for name, head, rank in (
        ("errors", "err %", 3),
        ("hits", "hit %", 6),
        ("escalated", "esc %", 9),
        ("spilled", "spill %", 9),
    ):
        if getattr(total, name):
            cells = [percent(line.rate(name), cut=True) for line in lines]
            found.append(Column(head, cells, rank))
    if any(line.resolved for line in lines):
        found.append(of("$/task", lambda line: "-" if line.per_resolved is None else money(line.per_resolved), 7))
    return found


def _bars(title: str, lines: Sequence[Figures], report: Report, width: int, *, ascii_only: bool) -> Iterator[Text]:
    """Yield bars of spend, or of calls where nothing was spent; one line alone has nothing to be compared with."""
    if len(lines) < 2:  # noqa: PLR2004 - a comparison takes two
        return
    spends = report.total.cost_nano > 0
    values = [line.cost_nano if spends else line.calls for line in lines]
    whole = report.total.cost_nano if spends else report.total.calls
    labels = [clip(shown(line.name) or "(none)", min(_LABEL, width // 3), ascii_only=ascii_only) for line in lines]
    sums = pointed([money(line.spend) if spends else count(line.calls) for line in lines])
    label_room, sum_room = max(map(cell_len, labels)), max(map(len, sums))
    room = min(_BAR, max(_SHORT, width - label_room - sum_room - 13))
    yield Text()
    yield Text(f"{'spend' if spends else 'calls'} {title}", style="bold")
    for label, told, value in zip(labels, sums, values, strict=True):
        line = Text(label + " " * (label_room - cell_len(label) + 2))
        drawn = bar(value / max(*values, 1), room, ascii_only=ascii_only)
        line.append(drawn, style="cyan")
        share = percent(value / whole) if whole and told.strip() != "unknown" else "-"
        line.append(" " * (room - len(drawn) + 2) + f"{told:>{sum_room}}  {share:>7}")
        yield line


def _notes(report: Report) -> list[str]:
    """Return what the sums do not say by themselves."""
    total, notes = report.total, []
    if total.estimated:
        notes.append(f"~ estimated: {many(total.estimated, 'call')}; the spend lies in the range given above")
    if total.unpriced:
        models = ", ".join(shown(line.name) or "(no name)" for line in report.models if line.unpriced)
        notes.append(
            f"? without a known price: {many(total.unpriced, 'call')} ({models}); at most a placeholder stands for "
            "them: declare it, under prices in llmsaver.toml or in Saver(prices=)"
        )
    if total.truncated:
        notes.append(f"! cut short to fit a budget: {many(total.truncated, 'answer')}")
    if report.lost:
        notes.append(f"! lost since the ledger began, so in no sum: {many(report.lost, 'row')}")
    if report.prices_as_of is not None:
        notes.append(f"list prices as of {report.prices_as_of.isoformat()}")
    if report.ledger:
        notes.append(f"ledger: {shown(report.ledger)}")
    return notes


def _wrapped(text: str, width: int) -> list[str]:
    """Return lines of at most ``width``; a path stays one word, to be copied."""
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
