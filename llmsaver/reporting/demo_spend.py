"""What the demo's calls cost, read from their ledger rows, beside the list price of the same tokens on paid models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmsaver.pricing import PriceBook
from llmsaver.pricing.equivalent import PAID, paid_equivalent
from llmsaver.reporting.books import begun, reading
from llmsaver.reporting.layout import pointed
from llmsaver.reporting.report import Report, report_of
from llmsaver.reporting.report_view import headline, table
from llmsaver.reporting.words import count, many, money

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import date

    from rich.text import Text

    from llmsaver.ledger import Ledger

__all__ = ["Elsewhere", "Spend", "lines_of", "spend_of"]

_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What some tokens cost at a paid model's list price, in nano-dollars."""

    model: str
    nano: int


@dataclass(frozen=True, slots=True)
class Spend:
    """The report on the demo's own rows, and the tokens that a model was asked for, priced at paid models' lists.

    ``missing`` counts the calls that have no row.
    """

    report: Report
    input_tokens: int
    output_tokens: int
    elsewhere: tuple[Elsewhere, ...]
    as_of: date
    missing: int = 0


def spend_of(ledger: Ledger | None, calls: Collection[str], since: float) -> Spend | None:
    """Return what the calls with these ids cost, begun at ``since`` or later; None where no ledger has any of them.

    Raises ``LedgerUnavailable``.
    """
    if ledger is None or not begun(ledger):
        return None
    with reading(ledger) as reader:
        rows = [row for row in reader.calls(since=since, limit=_ROWS) if row["id"] in calls]
    if not rows:
        return None
    asked = [row for row in rows if row["attempts"] and row["input_tokens"] is not None]
    book = PriceBook()
    used = [(row["input_tokens"], row["output_tokens"] or 0) for row in asked]
    found = [(paid.model, paid_equivalent(book, paid, used)) for paid in PAID]
    return Spend(
        report_of(rows, "tier", written=len(rows), prices_as_of=book.as_of),
        sum(sent for sent, _ in used),
        sum(written for _, written in used),
        tuple(Elsewhere(model, nano) for model, nano in found if nano is not None),
        book.as_of,
        len(calls) - len(rows),
    )


def lines_of(spend: Spend, width: int = 80, *, ascii_only: bool = False) -> Iterator[Text | str]:
    """Yield the spend report as lines of at most ``width`` cells."""
    yield "spend report of this run, from its ledger rows (llmsaver report shows them all)"
    yield from headline(spend.report.total)
    yield ""
    yield from table(spend.report, width, ascii_only=ascii_only)
    if spend.missing:
        yield f"{many(spend.missing, 'call')} without a row: the ledger could not be written"
    if not spend.elsewhere:
        return
    yield ""
    yield f"list price of the same tokens ({count(spend.input_tokens)} in, {count(spend.output_tokens)} out)"
    name = max(len(one.model) for one in spend.elsewhere)
    sums = pointed([money(one.nano) for one in spend.elsewhere])
    for one, told in zip(spend.elsewhere, sums, strict=True):
        yield f"  {one.model:<{name}}  {told:>{max(map(len, sums))}}".rstrip()
    yield f"  at list prices as of {spend.as_of.isoformat()}; another model counts and writes other tokens"
