"""Base64 and trailing space."""

from __future__ import annotations

import base64
import random

from hypothesis import given
from hypothesis import strategies as st

from llmsaver.prompt.bulk import without_bulk, without_trailing_space

RAW = random.Random(7).randbytes(3000)  # noqa: S311 - any bytes will do
CODED = base64.b64encode(RAW).decode()


def test_data_addresses_are_told_by_kind_and_size() -> None:
    text = f'<img src="data:image/png;base64,{CODED}"> and more'
    assert without_bulk(text) == '<img src="[image/png, 3,000 bytes in base64, left out]"> and more'


def test_runs_of_base64_are_told_by_size() -> None:
    lines = "\n".join(CODED[n : n + 400] for n in range(0, len(CODED), 400))
    assert without_bulk(f"file: {CODED}\nend") == "file: [3,000 bytes in base64, left out]\nend"
    assert without_bulk(f"file:\n{lines}\nend") == "file:\n[3,000 bytes in base64, left out]\nend"
    pem = "\n".join(CODED[n : n + 64] for n in range(0, 640, 64))
    assert without_bulk(f"-----BEGIN-----\n{pem}\n-----END-----").count("\n") == 2


@given(st.text(max_size=300), st.integers(0, 150))
def test_shorter_runs_and_words_stay(text: str, length: int) -> None:
    kept = f"{text} {CODED[:length]} {'ACGT' * 100} {'a' * 300}"
    assert without_bulk(kept) == kept


def test_space_at_the_ends_of_lines_goes() -> None:
    assert without_trailing_space("a  \n\tb\t\n\n  c") == "a\n\tb\n\n  c"
