"""The rows that planners of provider caches learn from."""

from sqlalchemy import text

from llmsaver.ledger import CallRow, Ledger


def test_the_latest_rows_with_prefixes_in_the_order_of_their_times(either: Ledger) -> None:
    for n, at in enumerate((50.0, 40.0, 60.0, 1.0)):
        assert either.write(CallRow(f"e{n}", started_at=at, feature="f", status=200, prefix=["m", n])).ok
    assert either.write(CallRow("e9", started_at=70.0)).ok
    with either.reader() as reader:
        rows, last = reader.prefixes(since=10.0, limit=10)
        fewer, _ = reader.prefixes(since=10.0, limit=2)
        later, again = reader.prefixes(last, since=0.0, limit=10)
    assert [(row.id, row.prefix) for row in rows] == [("e1", ["m", 1]), ("e0", ["m", 0]), ("e2", ["m", 2])]
    assert [row.id for row in fewer] == ["e1", "e2"]
    assert (later, again) == ([], last)
    assert (rows[0].feature, rows[0].status, rows[0].cache_read_tokens) == ("f", 200, None)


def test_what_is_no_list_is_left_out(either: Ledger) -> None:
    assert either.write(CallRow("e1", started_at=5.0, prefix={"a": 1})).ok  # type: ignore[arg-type]  # on purpose
    assert either.write(CallRow("e2", started_at=5.0, prefix=["m"])).ok

    either.store.transact(
        lambda transaction: transaction.cursor.execute(str(text("UPDATE calls SET prefix = '[' WHERE id = 'e2'"))),
        5.0,
    )
    with either.reader() as reader:
        assert reader.prefixes(since=0.0, limit=10)[0] == []


def test_prompts_are_live_calls_that_a_provider_answered(either: Ledger) -> None:
    common = {"started_at": 9.0, "input_tokens": 5}
    assert either.write(CallRow("e1", **common, chain=["a" * 16, "b" * 16], fingerprint="f", prefix=["m"])).ok  # type: ignore[arg-type]  # words
    assert either.write(CallRow("e2", **common, shaped={"prompt cache": [None, None, 5]})).ok  # type: ignore[arg-type]  # words
    for name, more in {"hit": {"hit": True}, "batch": {"route": "batch"}, "none": {"tier": "none"}}.items():
        assert either.write(CallRow(name, **common, **more)).ok  # type: ignore[arg-type]  # words
    with either.reader() as reader:
        one, two = reader.prompts(since=None, most=10)
        (latest,) = reader.prompts(since=None, most=1)
        assert reader.prompts(since=10.0, most=10) == []
    assert (one.first, one.fingerprint, one.prefix, one.shaped) == ("a" * 16, "f", ["m"], None)
    assert (two.first, two.prefix, two.shaped) == ("", None, {"prompt cache": [None, None, 5]})
    assert latest == two
