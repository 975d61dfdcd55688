"""The commands that look at the ledger, and the few that change it."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated, Any

import typer

from llmsaver.cli.first import INTERRUPTED

__all__ = ["budgets_app", "ledger_app", "report_command", "tail_command"]


class Format(StrEnum):
    """What a report is written as."""

    table = "table"
    json = "json"
    csv = "csv"


Where = Annotated[
    str | None,
    typer.Option(
        "--ledger", metavar="PATH|URL", help="The ledger's file or SQLAlchemy URL; the setting's if left out."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON for a machine.")]
Top = Annotated[int, typer.Option("--top", min=1, help="How many lines at most.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
_SINCE = "7d, 24h, today, 2026-11-01 or 2026-11-01T09:30."

budgets_app = typer.Typer(
    help="Show every budget: what is spent, held and left, and when it resets.", invoke_without_command=True
)
ledger_app = typer.Typer(help="Where the ledger is, and deleting from it.", no_args_is_help=True)


def report_command(
    *,
    by: Annotated[
        str, typer.Option("--by", help="feature, model, tier, router, layer, user, tenant, task, day, or tag:NAME.")
    ] = "feature",
    since: Annotated[str | None, typer.Option("--since", help=f"Calls from then on: {_SINCE}")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Calls before then, written the same way.")] = None,
    form: Annotated[
        Format, typer.Option("--format", help="A table for people, JSON or CSV for machines.")
    ] = Format.table,
    tz: Annotated[str, typer.Option("--tz", help="The time zone of days and dates, such as Europe/Berlin.")] = "UTC",
    top: Top = 20,
    ledger: Where = None,
) -> None:
    """Say what calls cost, what was saved, and where the money went."""
    from llmsaver.reporting import report_export, report_view
    from llmsaver.reporting.books import ledger_at
    from llmsaver.reporting.moments import moment
    from llmsaver.reporting.report import priced, report

    now = time.time()
    first, last = (None if text is None else moment(text, now, tz) for text in (since, until))
    few = top if form is Format.table else None
    made = priced(report(ledger_at(ledger), by, since=first, until=last, tz=tz, now=now, top=few))
    if form is Format.table:
        report_view.as_text(made, top=top)
    else:
        typer.echo(
            (report_export.as_json(made) + "\n") if form is Format.json else report_export.as_csv(made), nl=False
        )


def tail_command(
    *,
    as_json: Json = False,
    latest: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the latest calls first.")] = 10,
    follow: Annotated[bool, typer.Option(help="Go on as calls are written, until Ctrl-C.")] = True,
    ledger: Where = None,
) -> None:
    """Follow calls live, whichever program makes them: one line each."""
    from llmsaver.reporting.books import begun, ledger_at, place
    from llmsaver.reporting.tail import follow as rows
    from llmsaver.reporting.tail import line_of, row_as_json

    books = ledger_at(ledger)
    if not begun(books):
        typer.echo(f"no ledger at {place(books)} yet" + ("; waiting for the first call" if follow else ""), err=True)
    try:
        for row in rows(books, latest=latest, forever=follow):
            typer.echo(row_as_json(row) if as_json else line_of(row))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


@budgets_app.callback()
def budgets_command(ctx: typer.Context, *, as_json: Json = False, top: Top = 20, ledger: Where = None) -> None:
    """Show every budget: what is spent, held and left, and when it resets."""
    if ctx.invoked_subcommand is not None:
        return
    from llmsaver.reporting import budgets_view
    from llmsaver.reporting.books import cautions, ledger_at
    from llmsaver.reporting.budgets import as_json as told
    from llmsaver.reporting.budgets import budget_states

    now = time.time()
    books = ledger_at(ledger)
    states = budget_states(books, now)
    for what, fix in cautions(books, budgets=bool(states)):
        typer.echo(f"! the ledger is {what}: {fix}", err=True)
    if as_json:
        typer.echo(told(states))
    else:
        budgets_view.as_text(states, now, top=top)


@budgets_app.command("set")
def set_command(  # noqa: PLR0913 - a command's options
    name: Annotated[str, typer.Argument(help="The budget's name; under scope feature also the feature's.")],
    *,
    usd: Annotated[str | None, typer.Option("--usd", help="Dollars at most; none for no limit.")] = None,
    tokens: Annotated[
        str | None, typer.Option("--tokens", help="Tokens at most, in and out; none for no limit.")
    ] = None,
    calls: Annotated[str | None, typer.Option("--calls", help="Calls at most; none for no limit.")] = None,
    per: Annotated[str | None, typer.Option("--per", help="minute, hour, day, month or total.")] = None,
    tz: Annotated[str | None, typer.Option("--tz", help="Where days and months begin, such as Europe/Berlin.")] = None,
    scope: Annotated[
        str | None, typer.Option("--scope", help="feature, organisation, user, tenant or tag:NAME.")
    ] = None,
    hard: Annotated[
        bool | None, typer.Option("--hard/--soft", help="Refuse what does not fit, or only count it.")
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option("--threshold", help="A share of the limit to be told of, such as 0.5; may be repeated; none."),
    ] = None,
    alert: Annotated[
        str | None, typer.Option("--alert", help="The webhook's URL that is told of it as JSON; none.")
    ] = None,
    max_call_usd: Annotated[
        str | None,
        typer.Option("--max-call-usd", help="What to hold for a call whose cost cannot be bounded beforehand; none."),
    ] = None,
    ledger: Where = None,
) -> None:
    """Put a new budget, or new terms, in force for every program that shares the ledger."""
    from llmsaver.reporting import budgets_view
    from llmsaver.reporting.books import ledger_at
    from llmsaver.reporting.budgets import limits, set_budget, terms

    words: dict[str, Any] = {"per": per, "tz": tz, "scope": scope, "hard": hard}
    given = terms(thresholds=threshold, alert=alert, max_call_usd=max_call_usd, **words)
    change = set_budget(ledger_at(ledger), name, **limits(usd=usd, tokens=tokens, calls=calls), **given)
    typer.echo(budgets_view.told(change))


@budgets_app.command("remove")
def remove_command(
    name: Annotated[str, typer.Argument(help="The budget's name.")], *, yes: Yes = False, ledger: Where = None
) -> None:
    """Take a budget out of force for every program; one that is declared in code comes back with the next call."""
    from llmsaver.reporting.books import ledger_at, place
    from llmsaver.reporting.budgets import budget_states, remove_budget
    from llmsaver.reporting.words import shown

    books = ledger_at(ledger)
    if not budget_states(books, name=name):
        typer.echo(f"no budget {shown(name)} in {place(books)}", err=True)
        raise typer.Exit(1)
    _ask(f"Remove budget {shown(name)} from {place(books)}?", yes=yes)
    remove_budget(books, name)
    typer.echo(
        f"budget {shown(name)}: removed for every program that shares the ledger; one that declares it in its own code "
        "brings it back with its next call, with what is spent in its window"
    )


@ledger_app.command("path")
def path_command(*, ledger: Where = None) -> None:
    """Say where the ledger is."""
    from llmsaver.reporting.books import ledger_at, place

    typer.echo(place(ledger_at(ledger)))


@ledger_app.command("prune")
def prune_command(
    *,
    older: Annotated[str, typer.Option("--older", help="How old calls must be to go: 90d, 12w, or a date.")],
    yes: Yes = False,
    ledger: Where = None,
) -> None:
    """Delete old calls, by whole UTC days, from the rows and from the sums."""
    from llmsaver.reporting import upkeep
    from llmsaver.reporting.books import ledger_at, place
    from llmsaver.reporting.moments import moment
    from llmsaver.reporting.words import many, minute

    books = ledger_at(ledger)
    before = moment(older, time.time())
    doomed = upkeep.older_than(books, before)
    day = minute(doomed.before or before)
    if not doomed.calls:
        typer.echo(f"no calls from before {day} in {place(books)}")
        return
    _ask(f"Delete {many(doomed.calls, 'call')} from before {day} ({doomed.told}) from {place(books)}?", yes=yes)
    with books:
        typer.echo(f"deleted {many(upkeep.prune(books, before), 'call')}")


@ledger_app.command("delete-user")
def delete_user_command(
    user: Annotated[str, typer.Argument(metavar="ID", help="The user's id, as the application gives it.")],
    *,
    yes: Yes = False,
    ledger: Where = None,
) -> None:
    """Delete every row of a user; what was spent stays in the sums that name no user."""
    from llmsaver.reporting import upkeep
    from llmsaver.reporting.books import begun, ledger_at, place
    from llmsaver.reporting.words import many, shown

    books = ledger_at(ledger)
    if not begun(books):
        typer.echo(f"no ledger at {place(books)}")
        return
    doomed = upkeep.of_user(books, user)
    asked = f"Delete {many(doomed.calls, 'call')} of user {shown(user)} ({doomed.told}) from {place(books)}?"
    _ask(asked, yes=yes)
    with books:
        typer.echo(f"deleted {many(upkeep.delete_user(books, user), 'call')}")


@ledger_app.command("upgrade")
def upgrade_command(*, ledger: Where = None) -> None:
    """Bring a ledger that an older llmsaver wrote up to date; programs do so by themselves when they write to it."""
    from llmsaver.reporting import upkeep
    from llmsaver.reporting.books import ledger_at, place

    books = ledger_at(ledger)
    typer.echo(f"up to date: {place(books)}" if upkeep.upgrade(books) else f"no ledger at {place(books)}")


@ledger_app.command("repair")
def repair_command(
    *,
    accept: Annotated[
        bool, typer.Option("--accept", help="Take what cannot be read as lost: those budgets start at zero.")
    ] = False,
    ledger: Where = None,
) -> None:
    """Carry budgets and what they have spent over from a ledger that was found broken and moved aside."""
    from llmsaver.reporting import upkeep
    from llmsaver.reporting.books import ledger_at, place
    from llmsaver.reporting.words import many

    books = ledger_at(ledger)
    done = upkeep.repair(books, accept=accept)
    if not done.files:
        typer.echo(f"nothing to repair: no broken file was moved aside from {place(books)}")
        return
    typer.echo(f"carried over: {many(done.budgets, 'budget')} with {many(done.windows, 'window')}")
    if not done.whole:
        typer.echo(
            f"not all of {done.files[0]} can be read, so hard budgets go on refusing calls; restore a copy of it, or "
            "go on with what there is: llmsaver ledger repair --accept",
            err=True,
        )
        raise typer.Exit(1)


def _ask(question: str, *, yes: bool) -> None:
    """Go on after a yes; anything else, and no terminal to ask on, ends the command with status 1."""
    if not yes:
        typer.confirm(question, abort=True)
