"""OpenVINO with the interface of ONNX Runtime's sessions, as far as this package uses it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mobilesam.arrays import Array
from mobilesam.config import BFLOAT16, FLOAT32
from mobilesam.cores import instructions, usable_cores
from mobilesam.errors import InputError, missing_dependency, sentence
from mobilesam.onnx.metadata import PREFIX

_HINTS = {FLOAT32: "f32", BFLOAT16: "bf16"}
_TYPES = {"f32": "tensor(float)", "u8": "tensor(uint8)"}  # OpenVINO's names and ONNX Runtime's
_NATIVE_BFLOAT16 = {"avx512_bf16", "amx_bf16"}


class OpenVinoSession:
    """An ONNX file on OpenVINO's CPU plugin. Several threads can run it at the same time.

    Args:
        model: the path or the bytes of the file.
        threads: by default one for each core that this process may use.
        precision: "float32" or "bfloat16", in which matrix products are computed.

    Raises:
        InputError: OpenVINO cannot open the file, or the processor lacks instructions for the precision.
        MissingDependencyError: OpenVINO is not installed.
    """

    def __init__(self, model: Path | bytes, threads: int | None = None, precision: str = FLOAT32) -> None:
        try:
            import openvino
        except ImportError as error:
            raise missing_dependency("openvino", "openvino", "the backend openvino") from error
        check_precision(precision)
        options = {
            "INFERENCE_NUM_THREADS": threads or usable_cores(),
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "NUM_STREAMS": 1,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,  # of activations, where weights are int8
            "ENABLE_CPU_PINNING": False,  # it would put the threads of all sessions on the same cores
        }
        core = openvino.Core()
        try:
            read = core.read_model(model if isinstance(model, bytes) else str(model))
            self._compiled = core.compile_model(read, "CPU", options)
        except RuntimeError as error:
            name = "the ONNX model" if isinstance(model, bytes) else model
            message = f"OpenVINO failed to open {name}: {error}. Export the model again, or use the backend onnx."
            raise InputError(message) from error
        self._model, self._precision = model, precision
        self._own = threading.local()  # a request cannot be shared by threads

    def get_inputs(self) -> list[SimpleNamespace]:
        """Return name, shape and type of each input; a dimension that varies is a string."""
        return [_described(value) for value in self._compiled.inputs]

    def get_outputs(self) -> list[SimpleNamespace]:
        """Return the same of each output."""
        return [_described(value) for value in self._compiled.outputs]

    def get_providers(self) -> list[str]:
        """Return the name of the device, as ONNX Runtime names its execution providers."""
        return ["CPU of OpenVINO"]

    def get_modelmeta(self) -> SimpleNamespace:
        """Return the metadata of the file, with this session's precision, as ``custom_metadata_map``."""
        import onnx

        content = self._model
        model = onnx.load_from_string(content) if isinstance(content, bytes) else onnx.load(content)
        entries = {entry.key: entry.value for entry in model.metadata_props}
        if self._precision != FLOAT32:
            entries[f"{PREFIX}precision"] = self._precision
        return SimpleNamespace(custom_metadata_map=entries)

    def run(self, output_names: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
        """Return outputs by their names."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        self._own.request.infer(inputs, share_inputs=True)
        return [self._own.request.get_tensor(name).data.copy() for name in output_names]


def check_precision(precision: str) -> None:
    """Raise InputError if matrix products in a precision are not computed by instructions of the processor.

    Without them OpenVINO emulates bfloat16, which takes many times as long as float32.
    """
    if precision not in _HINTS:
        remedy = "leave it out for float32"
        raise InputError(
            sentence("precision", "be float32 or bfloat16 for the backend openvino", repr(precision), remedy)
        )
    known = instructions()
    if precision == BFLOAT16 and known is not None and not _NATIVE_BFLOAT16.intersection(known):
        requirement = "be one that the processor computes (avx512_bf16 or amx_bf16 is missing)"
        raise InputError(sentence("precision", requirement, repr(precision), "leave it out for float32"))


def _described(value: Any) -> SimpleNamespace:
    dims = [dim.get_length() if dim.is_static else "varies" for dim in value.get_partial_shape()]
    kind = value.get_element_type().get_type_name()
    return SimpleNamespace(name=value.get_any_name(), shape=dims, type=_TYPES.get(kind, kind))
