"""Models that tests share: each is opened once in a test process, and encodes an image once.

What is kept are results of the real network, under a digest of its exact input.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_KEPT = 24  # embeddings of a model, 4 MB each


class SharedModels:
    """The arguments of :func:`mobilesam.load` and the model that they gave."""

    def __init__(self) -> None:
        from mobilesam import loading

        self.load_anew = loading.load
        self._models: dict[Any, Any] = {}

    def load(self, model: Any = None, *arguments: Any, **options: Any) -> Any:
        """Return what :func:`mobilesam.load` returns, the same object for the same arguments and files."""
        if model is not None and not Path(str(model)).exists():
            return self.load_anew(model, *arguments, **options)
        decisive = sorted((name, value) for name, value in options.items() if name != "pin_threads")
        key = (_version(model), os.environ.get("MOBILESAM_HOME"), arguments, tuple(decisive))
        if key not in self._models:
            self._models[key] = encode_once(self.load_anew(model, *arguments, **options))
        return self._models[key]


def encode_once(model: Any) -> Any:
    """Let a model keep its embeddings, below the methods that tests replace, and return it."""
    from mobilesam.onnx import OnnxSam

    if isinstance(model, OnnxSam):
        encoder = model._encoder
        encoder.encode = _kept(encoder.encode)  # type: ignore[method-assign]
    else:
        model.encode_tensor = _kept(model.encode_tensor)
    return model


def _kept(encode: Callable[..., Any]) -> Callable[..., Any]:
    results: OrderedDict[Any, Any] = OrderedDict()

    def encode_or_return(image: Any, *options: Any) -> Any:
        pixels = np.ascontiguousarray(image)
        key = (pixels.shape, pixels.dtype, hashlib.blake2b(pixels.tobytes()).digest(), options)
        if key not in results:
            results[key] = encode(image, *options)
            if len(results) > _KEPT:
                results.popitem(last=False)
        return results[key]

    return encode_or_return


def _version(model: Any) -> Any:
    """Return what identifies a model's files as they are now."""
    if model is None:
        return None
    path = Path(str(model))
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)
