"""The adapter of sentence-transformers, whose library is stubbed where it would be imported."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

np = pytest.importorskip("numpy")

from llmsaver import ConfigurationError  # noqa: E402 - after the extra's
from llmsaver.embed import SentenceTransformers, sentences  # noqa: E402 - the same


class Tensor:
    """A tensor, as far as it is looked at."""

    def __init__(self, value: float) -> None:
        self._value = value

    def numpy(self) -> Any:
        return np.full(3, self._value, np.float32)

    def __getattr__(self, _: str) -> Any:
        return lambda: self


class Model:
    """A model, as far as it is asked."""

    weight = 1.0

    def __init__(self, model: str, **options: Any) -> None:
        assert model == "org/some-model"
        self.options = options

    def state_dict(self) -> dict[str, Tensor]:
        return {"b": Tensor(self.weight), "a": Tensor(2.0)}

    def get_sentence_embedding_dimension(self) -> int:
        return 2

    def encode(self, texts: list[str], *, convert_to_numpy: bool, show_progress_bar: bool) -> Any:
        assert convert_to_numpy
        assert not show_progress_bar
        assert all(text.encode() for text in texts)
        return np.array([[3.0, 4.0]] * len(texts))


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("sentence_transformers")
    module.SentenceTransformer = Model  # type: ignore[attr-defined]  # a module made here
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    monkeypatch.setattr(sentences, "find_spec", lambda _: object())


def test_texts_become_unit_vectors() -> None:
    embedder = SentenceTransformers("org/some-model", device="cpu")
    assert embedder._model.options == {"device": "cpu"}
    assert embedder.embed(["a", "\ud800"]) == pytest.approx(np.array([[0.6, 0.8], [0.6, 0.8]]))
    assert embedder.embed([]).shape == (0, 2)


def test_the_name_changes_with_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    first = SentenceTransformers("org/some-model").name
    assert first.startswith("some-model:")
    assert SentenceTransformers("org/some-model").name == first
    monkeypatch.setattr(Model, "weight", 3.0)
    assert SentenceTransformers("org/some-model").name != first


def test_without_the_library_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentences, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match="pip install sentence-transformers"):
        SentenceTransformers("org/some-model")
