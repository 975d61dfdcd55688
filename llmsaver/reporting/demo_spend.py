"""What the demo's calls cost, read from their ledger rows, beside the list price of the same tokens on paid models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmsaver.pricing import Billed, PriceBook
from llmsaver.reporting.books import begun, reading
from llmsaver.reporting.layout import pointed
from llmsaver.reporting.report import Report, report_of
from llmsaver.reporting.report_view import headline, table
from llmsaver.reporting.words import count, many, money

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import date

    from rich.text import Text

    from llmsaver.ledger import Ledger

__all__ = ["Elsewhere", "Spend", "lines_of", "spend_of"]

# Small, cheap and well known: what somebody would call for such questions.
_PAID = (
    ("gpt-5-mini", "chat", "https://api.openai.com/v1", ("prompt_tokens", "completion_tokens")),
    ("claude-haiku-4-5", "messages", "https://api.anthropic.com", ("input_tokens", "output_tokens")),
)
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
    found = [(model, _priced(book, asked, model, dialect, host, names)) for model, dialect, host, names in _PAID]
    return Spend(
        report_of(rows, "tier", written=len(rows), prices_as_of=book.as_of),
        sum(row["input_tokens"] for row in asked),
        sum(row["output_tokens"] or 0 for row in asked),
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


def _priced(
    book: PriceBook, rows: Sequence[Mapping[str, Any]], model: str, dialect: str, host: str, names: tuple[str, str]
) -> int | None:
    """Return what the rows' tokens cost on a model, in nano-dollars; None where its price is not listed."""
    total = 0
    for row in rows:
        usage = {names[0]: row["input_tokens"], names[1]: row["output_tokens"] or 0}
        cost = book.cost(Billed(dialect, model, usage, host=host))
        if not cost.priced:
            return None
        total += cost.nano_usd
    return total
