"""Write the graph templates of the package: ``python -m mobilesam.export.templates``.

Run it after a change of the networks. A test compares the templates with the networks.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import torch

import mobilesam.onnx
from mobilesam.config import VARIANTS
from mobilesam.export.plan import Plan
from mobilesam.export.tracing import trace
from mobilesam.export.wrappers import jobs
from mobilesam.files import write_bytes
from mobilesam.modeling import Sam
from mobilesam.onnx import contract
from mobilesam.onnx.templates import TEMPLATES

FOLDER = Path(mobilesam.onnx.__file__).parent / "graphs"


def make() -> dict[str, onnx.ModelProto]:
    """Return the graph templates by file name."""
    with torch.random.fork_rng(devices=[]):  # keeps the caller's random state
        torch.manual_seed(0)
        sam = Sam(VARIANTS["vit_t"])
    modules = {job.graph: job.module for plan in (Plan(), Plan(dynamic_size=True)) for job in jobs(plan, sam)}
    return {name: trace(modules[graph], graph, contract.DEFAULT_OPSET) for graph, name in TEMPLATES.items()}


if __name__ == "__main__":
    for name, model in make().items():
        write_bytes(FOLDER / name, model.SerializeToString(deterministic=True))
