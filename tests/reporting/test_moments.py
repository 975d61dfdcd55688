"""What people write for a moment."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.errors import ConfigurationError
from llmsaver.reporting.moments import moment, seconds, zone

NOW = 1_795_000_000.0
UNITS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}


@given(st.integers(0, 9_999), st.sampled_from(sorted(UNITS)), st.sampled_from(["", " "]))
def test_spans(number: int, unit: str, gap: str) -> None:
    assert seconds(f"{number}{gap}{unit}") == number * UNITS[unit]
    assert moment(f" {number}{gap}{unit.upper()} ", NOW) == NOW - number * UNITS[unit]


@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)))  # noqa: DTZ001 - written without a zone
def test_dates(when: datetime) -> None:
    assert moment(when.isoformat(), NOW) == when.replace(tzinfo=UTC).timestamp()
    day = when.date()
    assert moment(day.isoformat(), NOW) == datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


@given(st.text(max_size=30))
def test_anything_else_is_a_clear_error(text: str) -> None:
    told = re.compile("write 7d")
    try:
        assert isinstance(moment(text, NOW), float)
    except ConfigurationError as error:
        if told.search(str(error)) is None:
            raise


@pytest.mark.parametrize(
    ("text", "tz", "meant"),
    [
        ("today", "UTC", "2026-11-18T00:00:00+00:00"),
        ("Yesterday", "UTC", "2026-11-17T00:00:00+00:00"),
        ("today", "Asia/Tokyo", "2026-11-18T00:00:00+09:00"),
        ("2026-11-01", "Europe/Berlin", "2026-11-01T00:00:00+01:00"),
        ("2026-11-01T09:30", "UTC", "2026-11-01T09:30:00+00:00"),
        ("2026-11-01T09:30-05:00", "Europe/Berlin", "2026-11-01T09:30:00-05:00"),
        ("1.5h", "UTC", "2026-11-18T09:36:40+00:00"),
    ],
)
def test_examples(text: str, tz: str, meant: str) -> None:
    assert moment(text, NOW, tz) == datetime.fromisoformat(meant).timestamp()


@pytest.mark.parametrize("text", ["", "d", "7", "7 years", "-3d", "999999999w", "2026-13-01", "99999-01-01"])
def test_not_a_moment(text: str) -> None:
    with pytest.raises(ConfigurationError):
        moment(text, NOW)
    with pytest.raises(ConfigurationError, match="stretch of time"):
        seconds(text)


@pytest.mark.parametrize("tz", ["Mars/Olympus", "", "../etc/passwd", "\0"])
def test_no_zone(tz: str) -> None:
    with pytest.raises(ConfigurationError, match="IANA"):
        zone(tz)
