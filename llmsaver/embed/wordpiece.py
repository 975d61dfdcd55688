"""BERT's way of cutting text into pieces of words, without case: what all-MiniLM-L6-v2 reads."""

from __future__ import annotations

import gzip
import hashlib
from importlib.resources import files
from typing import Any

__all__ = ["readable", "tokenizer"]

_VOCABULARY = "bert-base-uncased.txt.gz"  # google-research/bert, Apache-2.0
_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"


def tokenizer(longest: int) -> Any:
    """Return a tokenizer for texts, and pairs of texts, of up to ``longest`` pieces; what is more is cut off.

    Raises ``ValueError`` where the vocabulary of this installation is damaged.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import BertProcessing

    numbers = {word: number for number, word in enumerate(_vocabulary())}
    made = Tokenizer(WordPiece(numbers, unk_token="[UNK]"))  # noqa: S106 - a word, no password
    made.normalizer = BertNormalizer(lowercase=True)
    made.pre_tokenizer = BertPreTokenizer()
    made.post_processor = BertProcessing(("[SEP]", numbers["[SEP]"]), ("[CLS]", numbers["[CLS]"]))
    made.enable_truncation(longest)
    return made


def readable(text: str) -> str:
    """Return a text that has a UTF-8 form: what a lone surrogate stands for has no meaning to lose."""
    return text.encode("utf-8", "replace").decode()


def _vocabulary() -> list[str]:
    raw = gzip.decompress((files(__package__) / _VOCABULARY).read_bytes())
    if hashlib.sha256(raw).hexdigest() != _SHA256:
        raise ValueError(f"{_VOCABULARY} of this installation is damaged; install llmsaver again")
    return raw.decode().splitlines()
