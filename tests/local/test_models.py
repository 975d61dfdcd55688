"""What a user may say about a local tier, and what is wrong with it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from llmsaver.errors import ConfigurationError
from llmsaver.local.models import Attach, LocalModel, Vllm


def test_a_rate_is_decimal_however_it_is_written() -> None:
    for rate in ("0.40", 0.4, Decimal("0.4")):
        assert LocalModel("a", hourly_usd=rate).hourly_usd == Decimal("0.4")
    assert LocalModel("a").hourly_usd is None


def test_names_of_vllm_models_come_from_their_ids() -> None:
    assert Vllm("meta-llama/Llama-3.1-8B/").name == "llama-3.1-8b"
    assert Vllm("a/b", name="mine").name == "mine"


@pytest.mark.parametrize("source", [{"path": "/x"}, {"repo": "a/b", "file": "c"}, {"package": "p", "file": "c"}])
def test_whether_a_model_says_where_its_weights_are(source: dict[str, str]) -> None:
    assert LocalModel("a", **source).sourced  # type: ignore[arg-type] # names and paths
    assert not LocalModel("a").sourced


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": ""}, "needs a name"),
        ({"name": "a:b"}, "needs a name"),
        ({"name": " a"}, "needs a name"),
        ({"context": 0}, "context must be a whole number of 1 or more; it is 0"),
        ({"parallel": True}, "parallel must be a whole number"),
        ({"kv_bytes": 1.5}, "kv_bytes must be a whole number"),
        ({"gpu_layers": -1}, "gpu_layers must be 'auto' or a whole number; it is -1"),
        ({"gpu_layers": "most"}, "gpu_layers must be 'auto' or a whole number; it is 'most'"),
        ({"speculative": "draft"}, "speculative must be 'ngram' or None; it is 'draft'"),
        ({"sha256": "abc"}, "sha256 must be 64 hexadecimal digits; it is 'abc'"),
        ({"repo": "a/b"}, "needs file="),
        ({"max_queue": -1, "spill_to": "x"}, "max_queue must be a number of 0 or more"),
        ({"max_wait": 1}, "max_queue and max_wait need spill_to="),
        ({"hourly_usd": "much"}, "hourly_usd must be dollars per hour"),
        ({"hourly_usd": "NaN"}, "hourly_usd must be dollars per hour"),
    ],
)
def test_what_cannot_work_is_said_at_once(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=r"LocalModel\('.*'\)") as caught:
        LocalModel(**{"name": "a", **fields})
    assert said in str(caught.value)


@pytest.mark.parametrize("url", ["", "gpu-host:8080", "ftp://x"])
def test_a_server_elsewhere_needs_its_address(url: str) -> None:
    with pytest.raises(ConfigurationError, match="needs base_url='http://host:port/v1'"):
        Attach("tgi", base_url=url)


@pytest.mark.parametrize("port", [0, 65_536])
def test_a_port_that_cannot_be_is_refused(port: int) -> None:
    with pytest.raises(ConfigurationError, match="port must be"):
        LocalModel("mine", path="/m.gguf", port=port)
