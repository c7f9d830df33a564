"""Conversion to LiteRT: TinyViT and the decoder as .tflite files of float32, float16 or int8 weights."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from mobilesam.errors import ExportError, missing_dependency
from mobilesam.export.fixed_modules import Named

# GPU delegates of phones refuse these, and tensors of more dimensions.
REFUSED = ("BROADCAST_TO", "GATHER_ND", "TRANSPOSE_CONV")
LARGEST_RANK = 4
_POSITIONS = ".*pe_layer.*"  # names of tensors


class Operators(NamedTuple):
    """counts: of each operator in a file; largest_rank: of its tensors."""

    counts: dict[str, int]
    largest_rank: int


def require() -> None:
    """Raise MissingDependencyError if the converter is not installed."""
    for name, package in (("litert_torch", "litert-torch"), ("ai_edge_quantizer", "ai-edge-quantizer")):
        try:
            with _quiet():
                __import__(name)
        except ImportError as error:
            raise missing_dependency(package, "litert", "mobilesam export --to litert") from error


def convert(module: Named, precision: str) -> bytes:
    """Return the file of a module, whose signature has the names of its graph.

    Args:
        precision: "float32", "float16" or "int8", of the weights; activations are float32.

    Raises:
        ExportError: the file has an operator or a tensor that the GPUs of phones refuse.
    """
    import litert_torch

    # The plain formula of attention, because the fused kernels cannot be converted.
    with tempfile.TemporaryDirectory() as folder, sdpa_kernel(SDPBackend.MATH), torch.no_grad(), _quiet():
        path = Path(folder) / "model.tflite"
        made = litert_torch.convert(module, sample_kwargs=module.samples())
        made.export(str(path))
        content = quantized(path, precision)
    used = operators(content)
    refused = sorted(set(REFUSED) & used.counts.keys())
    if refused or used.largest_rank > LARGEST_RANK:
        reason = f"operators {', '.join(refused)}" if refused else f"a tensor of rank {used.largest_rank}"
        raise ExportError(
            f"The file of {module.graph.role!r} has {reason}, which the GPUs of phones refuse. Report it with the "
            "versions that mobilesam doctor shows."
        )
    return content


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
    # The angles of position embeddings are large: a pixel changes them by about a hundredth.
    maker.update_quantization_recipe(
        regex=_POSITIONS,
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        algorithm_key=AlgorithmName.NO_QUANTIZE,
    )
    return bytes(maker.quantize().quantized_model)


def operators(content: bytes) -> Operators:
    """Return what a file is made of."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with _quiet():
        interpreter = Interpreter(
            model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        )
    counts = Counter(each["op_name"] for each in interpreter._get_ops_details())
    ranks = [len(each["shape"]) for each in interpreter.get_tensor_details()]
    return Operators(dict(sorted(counts.items())), max(ranks))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drop the progress lines and the warnings of the converter, which come from Python and from C++."""
    kept, logger = os.dup(2), logging.getLogger()
    level = logger.level
    with Path(os.devnull).open("w") as nothing, contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            logger.setLevel(level)
