"""Made-up rows: the same for the same seed, and of every kind a report must tell apart."""

from llmsaver.testing.rows import call_rows, task_rows

NOW = 1_795_000_000.0


def test_the_same_seed_gives_the_same_rows() -> None:
    first, again, other = (list(call_rows(50, ends_at=NOW, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert list(task_rows(50, ends_at=NOW)) == list(task_rows(50, ends_at=NOW))


def test_all_kinds_are_there_in_the_order_of_time() -> None:
    rows = list(call_rows(4_000, ends_at=NOW, days=2))
    assert [row.started_at for row in rows] == sorted(row.started_at for row in rows)
    assert NOW - 2 * 86_400 <= rows[0].started_at < rows[-1].started_at <= NOW
    for kind in ("hit", "escalated", "estimated", "unpriced", "error", "task"):
        assert 0 < sum(bool(getattr(row, kind)) for row in rows) < len(rows)
    assert len({row.id for row in rows}) == len(rows)
    bounded = [row for row in rows if row.cost_low is not None]
    assert all(row.cost_low <= row.cost_nano <= row.cost_high for row in bounded)  # type: ignore[operator]  # all three are there
    assert {row.outcome for row in task_rows(4_000, ends_at=NOW)} == {"resolved", "failed", None}
