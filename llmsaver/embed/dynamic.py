"""From int8 weights that are unpacked before use to int8 arithmetic: half the memory, a third of the time.

all-MiniLM-L6-v2 is published in int8 as ``Cast`` and ``Mul`` before each ``MatMul``; onnxruntime folds these into float
weights when it loads, which costs 206 MB and 5 ms for 12 tokens. With ``DynamicQuantizeLinear`` and ``MatMulInteger``
(the operators of ONNX's own dynamic quantisation, opset 10 and 11) it is 100 MB and 1.5 ms; cosines move by 0.01.
``adapt`` makes another model of that one, by changes of its weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["VERSION", "adapt", "convert"]

# Part of the name of every vector made with a converted model: another conversion is another embedder.
VERSION = 1
_GREATEST = 127


def convert(source: Path, target: Path) -> None:
    """Write the model at ``source`` with integer products to ``target``; ValueError where it has none to make."""
    import onnx

    model = onnx.load(source)
    graph = model.graph
    rewritten = _Rewriting(graph)
    if not rewritten.products:
        raise ValueError(f"{source} has no int8 weights in the form that is known here")
    needed = {each.name for each in graph.output}
    live = []
    for node in reversed(rewritten.nodes):
        if needed.intersection(node.output):
            live.append(node)
            needed.update(node.input)
    del graph.node[:]
    graph.node.extend(reversed(live))
    kept = [each for each in graph.initializer if each.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    onnx.save(model, target)


def adapt(source: Path, target: Path, changes: Path) -> None:
    """Write the converted model at ``source``, changed, to ``target``.

    ``changes`` is an ``.npz``: "down:NAME" and "up:NAME" are the factors of what is added to the int8 weights NAME once
    they are unpacked; "set:NAME" takes the place of a float tensor. Raises ``ValueError`` for a name that is not there.
    """
    import numpy as np
    import onnx
    from onnx import numpy_helper

    model = onnx.load(source)
    stored = {each.name: each for each in model.graph.initializer}

    def at(name: str) -> Any:
        if name not in stored:
            raise ValueError(f"{source} has no weights named {name}, which {changes} changes")
        return stored[name]

    def put(name: str, values: Any) -> None:
        at(name).CopyFrom(numpy_helper.from_array(values, name))

    with np.load(changes, allow_pickle=False) as kept:
        for key in kept.files:
            kind, _, name = key.partition(":")
            if kind == "set":
                put(name, kept[key].astype(np.float32))
            elif kind == "down":
                scale = f"{name.removesuffix('_q')}_scale"
                packed, step = (numpy_helper.to_array(at(each)) for each in (name, scale))
                added = kept[key].astype(np.float32) @ kept[f"up:{name}"].astype(np.float32)
                weights = packed.astype(np.float32) * step + added
                step = (np.abs(weights).max(0, keepdims=True) / _GREATEST).astype(np.float32)
                put(name, np.rint(weights / step).astype(np.int8))
                put(scale, step)
    onnx.save(model, target)


class _Rewriting:
    """One pass over a graph: ``nodes`` is the new list, ``products`` how many float products became integer ones."""

    def __init__(self, graph: Any) -> None:
        self._stored = {each.name for each in graph.initializer}
        self._made_by = {name: node for node in graph.node for name in node.output}
        self._quantised: dict[str, tuple[str, str, str]] = {}
        self.nodes: list[Any] = []
        self.products = 0
        for node in graph.node:
            self._take(node)

    def _take(self, node: Any) -> None:
        if node.op_type == "MatMul" and (weights := self._packed(node.input[1])):
            self._product(node, *weights)
        elif node.op_type == "Gather" and (weights := self._packed(node.input[0])):
            self._rows(node, *weights)
        else:
            self.nodes.append(node)

    def _packed(self, name: str) -> tuple[str, str] | None:
        """Return the int8 tensor and its scale that ``name`` is unpacked from, None where it is something else."""
        scaled = self._made_by.get(name)
        if scaled is None or scaled.op_type != "Mul":
            return None
        cast = self._made_by.get(scaled.input[0])
        if cast is None or cast.op_type != "Cast" or not {cast.input[0], scaled.input[1]} <= self._stored:
            return None
        return cast.input[0], scaled.input[1]

    def _add(self, kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, outputs, **attributes))

    def _product(self, node: Any, weights: str, scale: str) -> None:
        """Multiply in integers; activations that several products read are quantised once."""
        given, made = node.input[0], node.output[0]
        if given not in self._quantised:
            self._quantised[given] = (f"{given}_int8", f"{given}_scale", f"{given}_zero")
            self._add("DynamicQuantizeLinear", [given], list(self._quantised[given]))
        value, step, zero = self._quantised[given]
        self._add("MatMulInteger", [value, weights, zero], [f"{made}_int32"])
        self._add("Cast", [f"{made}_int32"], [f"{made}_float"], to=1)
        self._add("Mul", [step, scale], [f"{made}_step"])
        self._add("Mul", [f"{made}_float", f"{made}_step"], [made])
        self.products += 1

    def _rows(self, node: Any, weights: str, scale: str) -> None:
        """Unpack only the rows of a table that are looked up."""
        index, made = node.input[1], node.output[0]
        self._add("Gather", [weights, index], [f"{made}_int8"], axis=0)
        self._add("Cast", [f"{made}_int8"], [f"{made}_float"], to=1)
        self._add("Gather", [scale, index], [f"{made}_scale"], axis=0)
        self._add("Mul", [f"{made}_float", f"{made}_scale"], [made])
