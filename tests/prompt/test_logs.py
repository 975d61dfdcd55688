"""Logs made short: no line of trouble is lost, no kind of line, and no line that is asked for."""

from __future__ import annotations

import re
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from llmsaver.prompt.logs import is_log, shortened

KIND = re.compile(r"(.*)  \[x(\d+)\]")
OF = re.compile(r"  (?:((?:[a-z]=\S+ ?)+): )?(.*)")


def told_lines(text: str) -> Counter[str]:
    """Return the lines that a shortened log tells in full, read back from it by its own first line's rules."""
    lines = text.split("\n")[1:]
    found: Counter[str] = Counter()
    at = 0
    while at < len(lines):
        head = KIND.fullmatch(lines[at])
        at += 1
        if head is None:
            found[lines[at - 1]] += 1
            continue
        left, before = int(head[2]), ""
        while left:
            row = OF.fullmatch(lines[at])
            assert row is not None, lines[at]
            at += 1
            pattern = head[1]
            for given_ in (row[1] or "").split():
                name, _, value = given_.partition("=")
                pattern = pattern.replace(f"{{{name}}}", value, 1)
            if row[2].startswith("x"):
                found[pattern] += int(row[2][1:])
                left -= int(row[2][1:])
                continue
            before = ""
            for time in re.split(", (?=[0-9A-Z])", row[2]):
                date, apart, clock = re.fullmatch(r"(.*?)([ T]?)([^ T]*)", time).groups()  # type: ignore[union-attr]
                before = date + apart if apart else before
                found[pattern.replace("{time}", before + clock, 1)] += 1
                left -= 1
    return found


LEVELS = ["INFO", "DEBUG", "WARN", "ERROR", "FATAL"]
SAID = [
    "connection from 10.0.0.{n}:80{n} closed",
    "took {n} ms for 0x{n}f",
    "ready",
    "worker {n} of {n} died, retrying in {n}s",
    "user 3f2b8c1d-9e0a-4b7c-8d6e-{n:012d} logged in",
]
line = st.builds(
    lambda day, second, level, said, number: (
        f"2026-11-{day:02d} 10:00:{second:02d},{number:03d} {level} [main-{number}] - {SAID[said].format(n=number)}"
    ),
    st.integers(1, 3),
    st.integers(0, 59),
    st.sampled_from(LEVELS),
    st.integers(0, len(SAID) - 1),
    st.integers(0, 30),
)
trace = st.builds(
    lambda n: f"\tat com.acme.Store.load(Store.java:{n})", st.integers(1, 3)
)  # belongs to the line before it


@given(st.lists(line | trace, min_size=20, max_size=80))
def test_every_line_of_trouble_is_there(lines: list[str]) -> None:
    text = "\n".join(lines)
    short = shortened(text)
    if short == text:
        return
    told = told_lines(short)
    troubled = False
    for number, each in enumerate(lines):
        stamped = each.startswith("2026")
        troubled = ("WARN" in each or "ERROR" in each or "FATAL" in each) if stamped else troubled
        if troubled:
            assert told[each], f"line {number} is lost: {each}"
            told[each] -= 1
    kinds = Counter(re.sub(r"\d+", "#", each) for each in lines)
    assert len(kinds) <= len(short.split("\n")), "a kind of line is lost"
    assert short.split("\n")[0].startswith(f"[log of {len(lines)} lines")


def noise(count: int) -> list[str]:
    return [
        f"2026-11-21T10:{n // 60:02d}:{n % 60:02d}Z INFO request {n} served in {n * 7 % 31} ms" for n in range(count)
    ]


def test_a_kind_is_told_by_its_first_line_and_its_number() -> None:
    short = shortened("\n".join(noise(500)))
    assert short.split("\n")[1] == (
        "2026-11-21T10:00:00Z INFO request 0 served in 0 ms  [x500 of this kind, the last at 2026-11-21T10:08:19Z]"
    )
    assert len(short.split("\n")) == 2


def test_the_lines_of_an_id_in_the_question_are_kept() -> None:
    lines = noise(300)
    short = shortened("\n".join(lines), "What became of request 217, and why?")
    assert lines[217] in short
    assert "[all " in short


def test_a_stack_trace_stays_with_its_error() -> None:
    lines = [
        *noise(40),
        "2026-11-21T11:00:00Z ERROR Unexpected",
        "java.io.IOException: broken pipe",
        "\tat a.B.c(B.java:7)",
    ]
    short = shortened("\n".join([*lines, *noise(3)]))
    assert all(each in short.split("\n") for each in lines[-3:])


def test_what_is_a_log() -> None:
    assert is_log("\n".join(noise(9)))
    assert not is_log("\n".join(noise(3)))
    assert not is_log("Dear all,\nthe meeting of 2026-11-21 10:00:00 is off.\n" * 20)


def test_what_would_not_be_shorter_or_could_not_be_told_is_left() -> None:
    few = "\n".join(noise(1))
    assert shortened(few) == few
    odd = "\n".join([*noise(100), "a\0b"])
    assert shortened(odd) == odd


def test_lines_that_differ_in_too_much_are_kept_as_they_are() -> None:
    wide = [
        f"2026-11-21 10:00:0{n} WARN " + " ".join(str(n * 100 + column) for column in range(40)) for n in range(1, 4)
    ]
    short = shortened("\n".join([*noise(200), *wide]))
    assert all(each in short for each in wide)
