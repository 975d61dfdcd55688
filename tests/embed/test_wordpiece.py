"""Text in BERT's pieces."""

from __future__ import annotations

import pytest

pytest.importorskip("tokenizers")

from llmsaver.embed import wordpiece


def test_texts_and_pairs_are_cut_into_pieces_without_case() -> None:
    made = wordpiece.tokenizer(8)
    assert made.encode("Unaffable CATS").tokens == ["[CLS]", "una", "##ffa", "##ble", "cats", "[SEP]"]
    both = made.encode("cats", "dogs")
    assert both.tokens == ["[CLS]", "cats", "[SEP]", "dogs", "[SEP]"]
    assert both.type_ids == [0, 0, 0, 1, 1]
    assert len(made.encode("cat " * 100).ids) == 8


def test_a_lone_surrogate_can_be_read() -> None:
    assert wordpiece.readable("a\ud800b") == "a?b"
    assert wordpiece.readable("\u4f60") == "\u4f60"


def test_a_damaged_vocabulary_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordpiece, "_SHA256", "0" * 64)
    with pytest.raises(ValueError, match="install llmsaver again"):
        wordpiece.tokenizer(8)
