"""What a GGUF file says about itself."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.local import gguf

if TYPE_CHECKING:
    from pathlib import Path

LLAMA = {
    "general.architecture": "llama",
    "general.name": "Tiny",
    "llama.block_count": 30,
    "llama.context_length": 8192,
    "llama.embedding_length": 576,
    "llama.attention.head_count": 9,
    "llama.attention.head_count_kv": 3,
}


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value_of(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    if isinstance(value, list) and value and isinstance(value[0], str):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
    if isinstance(value, list):
        return struct.pack("<IIQ", 9, 4, len(value)) + b"".join(struct.pack("<I", each) for each in value)
    return struct.pack("<II", 4, value)


def file_of(pairs: dict[str, Any], *, version: int = 3, count: int | None = None) -> bytes:
    body = b"".join(text(key) + value_of(value) for key, value in pairs.items())
    return b"GGUF" + struct.pack("<IQQ", version, 0, len(pairs) if count is None else count) + body


def read(folder: Path, content: bytes) -> gguf.Header | None:
    path = folder / "model.gguf"
    path.write_bytes(content)
    return gguf.read(path)


def test_heads_times_layers_times_sizes(tmp_path: Path) -> None:
    words = {"tokenizer.ggml.tokens": ["a", "bé"], **LLAMA, "tokenizer.ggml.scores": [1, 2]}
    assert read(tmp_path, file_of(words)) == gguf.Header("llama", "Tiny", 8192, 2 * 30 * 3 * (64 + 64))


def test_sizes_and_heads_by_layer_are_taken_where_said(tmp_path: Path) -> None:
    pairs = {
        **LLAMA,
        "llama.attention.head_count_kv": [3, 1],
        "llama.attention.key_length": 128,
        "llama.attention.value_length": 32,
    }
    header = read(tmp_path, file_of(pairs, version=2))
    assert header is not None
    assert header.kv_bytes == 2 * 4 * (128 + 32)


@pytest.mark.parametrize("missing", ["llama.block_count", "llama.attention.head_count", "llama.embedding_length"])
def test_what_is_not_said_is_none(tmp_path: Path, missing: str) -> None:
    pairs = {key: value for key, value in LLAMA.items() if key != missing}
    header = read(tmp_path, file_of(pairs))
    assert header is not None
    assert header.kv_bytes is None
    assert read(tmp_path, file_of({})) == gguf.Header()


@pytest.mark.parametrize("change", [{"llama.block_count": 4_000_000_000}, {"llama.attention.head_count": 0}])
def test_figures_that_cannot_be_are_not_believed(tmp_path: Path, change: dict[str, int]) -> None:
    header = read(tmp_path, file_of({**LLAMA, **change}))
    assert header is not None
    assert header.kv_bytes is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGML",
        file_of({}, version=9),
        file_of(LLAMA)[:-1],
        file_of({}, count=1 << 40),
        file_of({}, count=1) + text("k") + struct.pack("<I", 99),
        file_of({}, count=1) + text("k") + struct.pack("<IIQ", 9, 9, 1),
    ],
)
def test_another_file_or_a_piece_of_one_is_none(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path, content) is None


def test_a_file_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert gguf.read(tmp_path / "none") is None


@given(noise=st.binary(max_size=200), cut=st.integers(0, 400), at=st.integers(0, 300))
def test_noise_never_raises(tmp_path_factory: pytest.TempPathFactory, noise: bytes, cut: int, at: int) -> None:
    whole = file_of({**LLAMA, "x.list": [1, 2, 3], "y.words": ["one", "two"]})
    folder = tmp_path_factory.mktemp("gguf")
    for content in (noise, whole[:cut], whole[:at] + noise + whole[at + len(noise) :]):
        header = read(folder, content)
        assert header is None or isinstance(header.kv_bytes, int | None)
