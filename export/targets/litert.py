"""Conversion to LiteRT: TinyViT and the decoder as .tflite files of float32, float16 or int8 weights."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from mobilesam.errors import ExportError, missing_dependency
from mobilesam.export.fixed_modules import Named
from mobilesam.export.targets import Files, Operators, Target, refuse_ranks
from mobilesam.export.targets.traced import quiet
from mobilesam.runtimes.litert import open_run

# GPU delegates of phones refuse these.
REFUSED = ("BROADCAST_TO", "GATHER_ND", "TRANSPOSE_CONV")
_SUFFIX = ".tflite"
# Names of tensors that stay in float32: angles of position embeddings, which are large, so that a pixel changes them by
# about a hundredth; and biases of attention, which are few.
_KEPT = ".*(pe_layer|window_bias).*"


def require() -> None:
    """Raise MissingDependencyError if the converter is not installed."""
    for name, package in (("litert_torch", "litert-torch"), ("ai_edge_quantizer", "ai-edge-quantizer")):
        try:
            with quiet():
                __import__(name)
        except ImportError as error:
            raise missing_dependency(package, "litert", "mobilesam export --to litert") from error


def convert(module: Named, precision: str) -> Files:
    """Return the file of a module, whose signature has the names of its graph.

    Args:
        precision: of the weights; activations are float32.

    Raises:
        ExportError: the file has an operator, or a tensor of a rank, that the GPUs of phones refuse.
    """
    import litert_torch

    # The plain formula of attention, because the fused kernels cannot be converted.
    with tempfile.TemporaryDirectory() as folder, sdpa_kernel(SDPBackend.MATH), torch.no_grad(), quiet():
        path = Path(folder) / f"model{_SUFFIX}"
        made = litert_torch.convert(module, sample_kwargs=module.samples())
        made.export(str(path))
        files = {_SUFFIX: quantized(path, precision)}
    used = operators(files)
    refuse_ranks(module.graph.role, used)
    if refused := sorted(set(REFUSED) & used.counts.keys()):
        raise ExportError(
            f"The file of {module.graph.role!r} has the operators {', '.join(refused)}, which the GPUs of phones "
            "refuse. Report it with the versions that mobilesam doctor shows."
        )
    return files


def quantized(path: Path, precision: str) -> bytes:
    """Return a float32 file with the weights of its operators in a precision."""
    if precision == "float32":
        return path.read_bytes()
    from ai_edge_quantizer import qtyping, quantizer
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    maker = quantizer.Quantizer(str(path))
    is_float = precision == "float16"
    maker.update_quantization_recipe(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        algorithm_key=AlgorithmName.FLOAT_CASTING if is_float else AlgorithmName.MIN_MAX_UNIFORM_QUANT,
        op_config=qtyping.OpQuantizationConfig(
            weight_tensor_config=qtyping.TensorQuantizationConfig(
                num_bits=16 if is_float else 8,
                symmetric=True,
                granularity=qtyping.QuantGranularity.TENSORWISE if is_float else qtyping.QuantGranularity.CHANNELWISE,
                dtype=qtyping.TensorDataType.FLOAT if is_float else qtyping.TensorDataType.INT,
            ),
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        ),
    )
    maker.update_quantization_recipe(
        regex=_KEPT,
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        algorithm_key=AlgorithmName.NO_QUANTIZE,
    )
    return bytes(maker.quantize().quantized_model)


def operators(files: Files) -> Operators:
    """Return what a file is made of."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with quiet():
        interpreter = Interpreter(
            model_content=files[_SUFFIX], experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        )
    counts = Counter(each["op_name"] for each in interpreter._get_ops_details())
    ranks = [len(each["shape"]) for each in interpreter.get_tensor_details()]
    return Operators(dict(sorted(counts.items())), max(ranks))


TARGET = Target(require, convert, operators, open_run=open_run, suffixes=(_SUFFIX,))
