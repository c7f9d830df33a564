"""Write the graphs without weights that the package carries: ``python -m mobilesam.export.templates``.

To be run after a change of the networks; a test compares.
"""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import torch

import mobilesam.onnx
from mobilesam.config import VARIANTS
from mobilesam.export.plan import Plan, jobs
from mobilesam.export.tracing import trace
from mobilesam.files import write_bytes
from mobilesam.modeling import Sam
from mobilesam.onnx import contract
from mobilesam.onnx.templates import TEMPLATES

FOLDER = Path(mobilesam.onnx.__file__).parent / "graphs"


def make() -> dict[str, onnx.ModelProto]:
    """Return the graphs by file name; the values of the weights do not matter."""
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they are
        torch.manual_seed(0)
        sam = Sam(VARIANTS["vit_t"])
    modules = {job.graph: job.module for plan in (Plan(), Plan(dynamic_size=True)) for job in jobs(plan, sam)}
    return {name: trace(modules[graph], graph, contract.DEFAULT_OPSET) for graph, name in TEMPLATES.items()}


def write(folder: Path = FOLDER) -> None:
    """Write them into the package."""
    for name, model in make().items():
        write_bytes(folder / name, model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    write()
    sys.exit(0)
