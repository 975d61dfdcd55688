"""How the report looks: in full, in 80 columns, narrow, plain, in colour, and empty."""

import io
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from llmsaver.ledger import CallRow, Ledger
from llmsaver.reporting.report import Report, report
from llmsaver.reporting.report_view import as_text, described

NOW = 1_795_000_000.0

SMALL = """\
llmsaver report: 2026-11-17 to 2026-11-18 11:06 (UTC)

  calls                     8  1 failed (12 %), 12 % hits, 12 % escalated
  spend                 $3.50  ~? between $3.40 and $3.60
  saved              $0.00135  60 % of $0.00225, the calls as written
  per 1,000 calls     $437.61  ~?
  per resolved task    $0.501  1 resolved
  tokens per call         875  in, 88 out
  latency              502 ms  p50, 502 ms p90, 502 ms p99
  to first token       194 ms  p50, 194 ms p90, 194 ms p99

feature  calls    spend         saved   $/1,000     in  out     p50  err %
bot          4  $3.50    ~?         -  $875.00   1,000  100  502 ms      0
search       4  $0.0009      $0.00135    $0.225    750   75  502 ms     25

spend by model
gpt-5       ████████████████████████████  $3.50      100 %
gpt-5-mini  ▏                             $0.0009   0.03 %
mine                                      unknown        -

spend by day
2026-11-17  ▏                             $0.0009   0.03 %
2026-11-18  ████████████████████████████  $3.50      100 %

~ estimated: 2 calls; the spend lies in the range given above
? without a known price: 1 call (mine); at most a placeholder stands for them:
declare it, under prices in llmsaver.toml or in Saver(prices=)
! cut short to fit a budget: 1 answer
list prices as of 2026-11-09
ledger: books.db
"""


def written(made: Report, **console: object) -> str:
    """Return what a console gets."""
    file = io.StringIO()
    settings: dict[str, object] = {"width": 80, "highlight": False, **console}
    as_text(made, Console(file=file, **settings))  # type: ignore[arg-type]  # settings are the console's own
    return file.getvalue()


def small_report(small: Ledger, by: str = "feature") -> Report:
    return replace(report(small, by, now=NOW), prices_as_of=date(2026, 11, 9), ledger="books.db")


def test_the_whole_report(small: Ledger) -> None:
    assert written(small_report(small)) == SMALL


def test_it_is_plain_in_a_pipe_and_coloured_on_a_terminal(small: Ledger) -> None:
    made = small_report(small)
    assert "\x1b" not in written(made)
    coloured = written(made, force_terminal=True, color_system="standard")
    assert "\x1b[1m" in coloured
    assert "\x1b[36m█" in coloured


def test_a_wide_terminal_sees_more(small: Ledger) -> None:
    heading = next(line for line in written(small_report(small), width=160).splitlines() if line.startswith("feature"))
    assert heading.split() == [
        *["feature", "calls", "spend", "saved", "$/1,000", "in", "out", "p50", "p99", "first"],
        *["err", "%", "hit", "%", "esc", "%", "$/task"],
    ]


@pytest.mark.parametrize("width", [60, 80, 100])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_nothing_is_wider_than_the_terminal(small: Ledger, width: int, ascii_only: bool) -> None:
    row = CallRow(
        "big",
        NOW,
        feature="名前" * 40,
        model_answered="model-" * 30,
        cost_nano=10**17 + 1,
        baseline_nano=2 * 10**17,
        input_tokens=10**12,
        output_tokens=10**12,
        latency_ms=1e8,
        first_byte_ms=1e8,
        status=500,
    )
    assert small.write(row).ok
    for by in ("feature", "model", "day", "user"):
        lines = [line.plain for line in described(small_report(small, by), width, ascii_only=ascii_only)]
        assert max(map(cell_len, lines)) <= width
        if ascii_only and by == "user":
            assert "".join(lines).isascii()


def test_many_lines_are_cut_and_the_rest_is_summed(books: Ledger) -> None:
    for number in range(30):
        assert books.write(CallRow(f"c{number}", NOW - 86_400 * number, user=f"u{number}", cost_nano=10**9)).ok
    said = written(report(books, "user", now=NOW))
    assert "10 more: 10 calls, $10.00; --top shows more" in said
    assert "spend by day, the last 14 of 30" in said
    assert said.count("2026-") == 14 + 2  # and the span in the first line
    table = written(report(books, "day", now=NOW)).split("\n\n")[2]
    assert "2026-11-18" in table  # of days the latest are shown
    assert "2026-10-29" not in table


def test_calls_are_compared_where_nothing_was_spent(books: Ledger) -> None:
    for number in range(3):
        assert books.write(CallRow(f"c{number}", NOW, model_answered=f"local/{number % 2}", cost_nano=0)).ok
    said = written(report(books, now=NOW))
    assert "calls by model\nlocal/0  ████████████████████████████  2     67 %\nlocal/1" in said
    assert "by day" not in said
    assert "  spend              $0.00\n" in said
    assert "nothing to compare with" in said
    assert "latency" not in said


def test_spend_that_is_not_known_is_never_nothing(books: Ledger) -> None:
    assert books.write(CallRow("c1", NOW, model_answered="mine", unpriced=True, estimated=True)).ok
    said = written(report(books, now=NOW))
    assert "spend              unknown" in said
    assert "$0" not in said


def test_an_empty_ledger_says_what_to_do(books: Ledger) -> None:
    said = written(replace(report(books, now=NOW), ledger="books.db", lost=1))
    assert said == (
        "llmsaver report: up to 2026-11-18 11:06 (UTC)\n"
        "No calls in the ledger yet. Every call of a client from llmsaver is booked by\n"
        "itself: from llmsaver import Client; or run: llmsaver demo\n"
        "ledger: books.db\n"
        "! lost since the ledger began: 1 row\n"
    )


def test_a_time_without_calls_is_another_thing(small: Ledger) -> None:
    said = written(replace(report(small, since=NOW + 60, until=NOW + 120, now=NOW), ledger="books.db"))
    assert said.splitlines()[:2] == [
        "llmsaver report: 2026-11-18 11:07 to 2026-11-18 11:08 (UTC)",
        "No calls in this time; the ledger has 8 calls of other times. Widen --since.",
    ]


def test_names_cannot_move_the_cursor(books: Ledger, tmp_path: Path) -> None:
    assert books.write(CallRow("c1", NOW, feature="\x1b[2Jgone", model_answered="[bold]m", cost_nano=1)).ok
    said = written(replace(report(books, now=NOW), ledger=str(tmp_path)), force_terminal=True)
    assert "\x1b[2J" not in said
    assert "?[2Jgone" in said


def test_a_report_of_rows_has_no_place_to_name(small: Ledger) -> None:
    made = replace(small_report(small), ledger="", prices_as_of=None)
    assert written(made).endswith("! cut short to fit a budget: 1 answer\n")


def test_lost_rows_are_told(small: Ledger) -> None:
    assert "! lost since the ledger began, so in no sum: 2 rows" in written(replace(small_report(small), lost=2))
