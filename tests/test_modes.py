"""Which layers a mode brings, and where they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from llmsaver import Cascade, Compress, ConfigurationError, PromptCache, Saver, SemanticCache
from llmsaver.core.stack import layer_name
from llmsaver.local.models import LocalModel
from llmsaver.modes import brought, ordered

if TYPE_CHECKING:
    from llmsaver.core.request import Request
    from llmsaver.core.response import Response
    from llmsaver.core.stack import CallNext


class Named:
    def __init__(self, name: str) -> None:
        self.name = name

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        return await call_next(request)


def names(layers: Any) -> list[str]:
    return [layer_name(layer) for layer in layers]


@pytest.mark.parametrize(
    ("mode", "above", "beneath"),
    [
        ("off", [], []),
        ("observe", [], []),
        ("safe", [], ["prompt cache"]),
        ("balanced", ["exact cache"], ["compress", "prompt cache"]),
        ("max", ["exact cache", "semantic cache"], ["compress", "prompt cache", "output cap"]),
    ],
)
def test_what_a_mode_brings(mode: str, above: list[str], beneath: list[str]) -> None:
    answers, shapes = brought(mode, None)
    assert (names(answers), names(shapes)) == (above, beneath)


def test_a_named_layer_replaces_its_namesake() -> None:
    mine = SemanticCache(max_wrong=0.05)
    assert names(brought("max", [mine, ...])[0]) == ["exact cache"]
    compress = Compress("all", ratio=4)
    made = ordered([..., compress], brought("balanced", [..., compress]), [])
    assert [layer for layer in made if layer_name(layer) == "compress"] == [compress]


def test_without_its_parts_the_semantic_cache_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ConfigurationError("not installed")

    monkeypatch.setattr("llmsaver.middleware.semantic_cache.SemanticCache.__init__", missing)
    assert names(brought("max", None)[0]) == ["exact cache"]


def test_what_shapes_requests_is_beneath_all_that_is_named() -> None:
    made = ordered([Named("a"), ..., Named("b")], ([Named("cache")], [Named("shape")]), [Named("spill")])
    assert names(made) == ["a", "cache", "spill", "b", "shape"]
    assert names(ordered([Named("a")], ([Named("cache")], [Named("shape")]), [])) == ["a"]


def test_a_cascade_stands_above_spilling_and_shaping() -> None:
    tier = LocalModel("small", path="x.gguf", max_queue=1, spill_to="gpt-5-mini")
    saver = Saver(stack=[..., Cascade(["local/small", "gpt-5-mini"])], local_models=[tier])
    assert names(saver.layers) == ["record", "cascade", "spill", "prompt cache", "budget"]


def test_a_prompt_cache_gets_the_savers_prices() -> None:
    saver = Saver()
    (layer,) = [layer for layer in saver.layers if isinstance(layer, PromptCache)]
    assert layer._book is saver.prices
