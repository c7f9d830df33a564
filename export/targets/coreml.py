"""Conversion to CoreML: TinyViT and the decoder as .mlpackage folders, for iOS 16 and newer. They are not run."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam.errors import ExportError, missing_dependency
from mobilesam.export.fixed_modules import Named
from mobilesam.export.targets import Files, Operators, Target, refuse_ranks
from mobilesam.export.targets.traced import quiet, trace

_SUFFIX = ".mlpackage"
_SMALLEST = 2048  # Weights with fewer elements stay in float32.
_NODES_TO_ANGLES = 8


def require() -> None:
    """Raise MissingDependencyError if the converter is not installed."""
    try:
        with quiet():
            import coremltools  # noqa: F401
    except ImportError as error:
        raise missing_dependency("coremltools", "coreml", "mobilesam export --to coreml") from error
    if tuple(map(int, np.__version__.split(".")[:2])) >= (2, 3):
        raise missing_dependency("NumPy below 2.3", "coreml", "mobilesam export --to coreml")


def convert(module: Named, precision: str) -> Files:
    """Return the package of a module, with the names of its graph.

    Args:
        precision: "float16" is that of weights and activations, but for position embeddings; with
            "int8" weights are int8, and activations float16.

    Raises:
        ExportError: the package has other inputs or outputs than the graph, or tensors of a rank above 4.
    """
    with quiet():
        import coremltools

        graph = module.graph
        compute = coremltools.transform.FP16ComputePrecision(op_selector=_is_not_of_angles)
        converted = coremltools.convert(
            trace(module),
            convert_to="mlprogram",
            minimum_deployment_target=coremltools.target.iOS16,
            compute_precision=coremltools.precision.FLOAT32 if precision == "float32" else compute,
            inputs=[coremltools.TensorType(name=value.name, shape=value.shape) for value in graph.inputs],
            outputs=[coremltools.TensorType(name=value.name, dtype=np.float32) for value in graph.outputs],
            skip_model_load=True,
        )
        if precision == "int8":
            recipe = coremltools.optimize.coreml.OpLinearQuantizerConfig(
                mode="linear_symmetric", dtype="int8", granularity="per_channel", weight_threshold=_SMALLEST
            )
            config = coremltools.optimize.coreml.OptimizationConfig(global_config=recipe)
            for name in _kept(converted):
                config.set_op_name(name, None)
            converted = coremltools.optimize.coreml.linear_quantize_weights(converted, config)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"model{_SUFFIX}"
            converted.save(str(path))
            saved = (file for file in sorted(path.rglob("*")) if file.is_file())
            files = {f"{_SUFFIX}/{file.relative_to(path).as_posix()}": file.read_bytes() for file in saved}
    _check(module, files)
    refuse_ranks(module.graph.role, operators(files))
    return files


def operators(files: Files) -> Operators:
    """Return what a package is made of."""
    operations = [each for block in _blocks(_spec(files)) for each in block.operations]
    ranks = [len(value.type.tensorType.dimensions) for each in operations for value in each.outputs]
    return Operators(dict(sorted(Counter(each.type for each in operations).items())), max(ranks))


def _kept(converted: Any) -> list[str]:
    """Return the names of constants that stay as they are: those of position embeddings and attention biases."""
    names = [each.name for each in converted._mil_program.functions["main"].operations if each.op_type == "const"]
    return [name for name in names if re.search("centers|gaussian|window_bias", name)]


def _check(module: Named, files: Files) -> None:
    """Raise ExportError unless the specification has the inputs and outputs of the graph."""
    description = _spec(files).description
    for values, features in ((module.graph.inputs, description.input), (module.graph.outputs, description.output)):
        wanted = {value.name: value.shape for value in values}
        given = {each.name: tuple(each.type.multiArrayType.shape) for each in features}
        if given != wanted:
            raise ExportError(
                f"coremltools gave {module.graph.role!r} the values {given}, not {wanted}. Install another release."
            )


def _spec(files: Files) -> Any:
    with quiet():
        from coremltools.proto import Model_pb2

    spec = Model_pb2.Model()
    spec.ParseFromString(next(content for name, content in files.items() if name.endswith(".mlmodel")))
    return spec


def _blocks(spec: Any) -> Iterable[Any]:
    return (
        block for function in spec.mlProgram.functions.values() for block in function.block_specializations.values()
    )


def _is_not_of_angles(operation: Any) -> bool:
    """Return whether an operator can be computed in float16: the angles of position embeddings are large."""
    return not _leads_to_angles(operation, _NODES_TO_ANGLES)


def _leads_to_angles(operation: Any, depth: int) -> bool:
    if operation.op_type in ("sin", "cos"):
        return True
    children = [child for output in operation.outputs for child in output.child_ops]
    return depth > 0 and bool(children) and all(_leads_to_angles(child, depth - 1) for child in children)


TARGET = Target(require, convert, operators, open_run=None, suffixes=(_SUFFIX,))
