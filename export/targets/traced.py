"""Modules as PyTorch traces them, for converters that read such traces."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from mobilesam.export.fixed_modules import Named


class _Positional(nn.Module):
    """A module that takes and returns the tensors of its graph in their order."""

    def __init__(self, module: Named) -> None:
        super().__init__()
        self.module = module
        self.eval()

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = self.module(**dict(zip(self.module.graph.input_names, inputs, strict=True)))
        return tuple(outputs.values())


class _Plain(TorchFunctionMode):
    """Writes a sum and a product as two operators, because ncnn has none for both."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.baddbmm and not kwargs:
            return args[0] + args[1] @ args[2]
        return function(*args, **(kwargs or {}))


def trace(module: Named) -> Any:
    """Return the TorchScript of a module, with inputs and outputs in the order of its graph."""
    samples = tuple(module.samples().values())
    # The plain formula of attention, because the fused kernels cannot be converted.
    with quiet(), sdpa_kernel(SDPBackend.MATH), torch.no_grad(), _Plain():
        return torch.jit.trace(_Positional(module), samples, check_trace=False)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop the progress lines and the warnings of a converter, which come from Python and from C++."""
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
