"""From a network to ONNX files with a manifest, each compared with the network before it is written."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch

from mobilesam.config import VARIANTS
from mobilesam.errors import ExportError, InputError, sentence
from mobilesam.export import wrappers
from mobilesam.export.manifest import MANIFEST, manifest
from mobilesam.export.plan import Job, Plan, jobs
from mobilesam.export.tracing import at_opset, join, samples, trace
from mobilesam.files import refuse_existing, write_bytes
from mobilesam.modeling import Sam
from mobilesam.onnx import contract
from mobilesam.onnx.bind import fill
from mobilesam.onnx.metadata import describe
from mobilesam.onnx.sessions import open_session
from mobilesam.onnx.templates import TEMPLATES, template
from mobilesam.weights import checkpoint

# What float32 in another order of operations may differ by, as a part of the largest value; a wrong graph differs by 1.
# Most graphs agree to 1e-5; areas and stability scores count pixels, of which a few lie on the threshold.
_TOLERANCE = 1e-3


class Exported(NamedTuple):
    """path: the file; error: the largest difference of an output from the network's, relative to its largest value."""

    path: Path
    error: float


def export_onnx(sam: Sam, out: str | Path, plan: Plan | None = None, *, force: bool = False) -> list[Exported]:
    """Write a network as ONNX files, with a manifest.json.

    Args:
        sam: the network, in eval mode, on any device and of any float type; the files are float32.
        out: the folder; made if absent.
        plan: what to write; everything by default.
        force: overwrite files that exist.

    Raises:
        InputError: a file exists.
        ExportError: the network is in training mode, or a graph does not compute what the network does.
    """
    plan = plan or Plan()
    folder = Path(out).expanduser()
    names = [graph.file_name for graph in plan.graphs]
    for name in (*names, MANIFEST):
        refuse_existing(folder / name, force=force)
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):  # told now, not after minutes of work
        raise InputError(sentence("out", "be a folder that can be written", there, "choose another --out"))
    if any(module.training for module in sam.modules()):
        remedy = "call model.eval() first"
        raise ExportError(sentence("model", "be in eval mode to be exported", "training mode", remedy))
    on_cpu = copy.deepcopy(sam).float().cpu()
    state = {key: value.numpy() for key, value in on_cpu.state_dict().items()}
    weights_id = checkpoint.state_digest(state)
    # Everything is made and compared before anything is written.
    made = [_make(job, plan, state, weights_id) for job in jobs(plan, on_cpu)]
    for name, (content, _) in zip(names, made, strict=True):
        write_bytes(folder / name, content, force=force)
    about = manifest(folder, names)
    write_bytes(folder / MANIFEST, json.dumps(about, indent=2).encode() + b"\n", force=force)
    return [Exported(folder / name, error) for name, (_, error) in zip(names, made, strict=True)]


def _make(job: Job, plan: Plan, state: dict[str, Any], weights_id: str) -> tuple[bytes, float]:
    metadata = describe(job.graph, weights_id)
    if job.graph.role == "decoder":
        metadata |= {f"mobilesam.{key}": value for key, value in plan.decoder_options.items()}
    model = fill(_template(job, plan), state, metadata)
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString()
    error = _compare(job, content)
    # The tanh formula differs from the network by design.
    if error > _TOLERANCE and not plan.gelu_approximate:
        remedy = "report it with the versions that mobilesam doctor shows"
        raise ExportError(sentence(f"graph {job.graph.role!r}", "compute what the network does", f"{error:g}", remedy))
    return content, error


def _template(job: Job, plan: Plan) -> onnx.ModelProto:
    """Return the graph of a job without weights: one that the package carries where it fits, which takes no tracing."""
    sam = job.module.sam
    if isinstance(job.module, wrappers.EncoderOfPixels):
        head = trace(wrappers.Preprocessing(sam), contract.preprocessing(job.graph), plan.opset)
        return join(head, _template(Job(contract.ENCODER, wrappers.Encoder(sam)), plan), job.graph)
    carried = job.graph in TEMPLATES and sam.config == VARIANTS["vit_t"] and plan.opset <= contract.DEFAULT_OPSET
    if carried and not plan.gelu_approximate and not plan.use_stability_score:
        return at_opset(template(job.graph), plan.opset)
    return trace(job.module, job.graph, plan.opset, gelu_approximate=plan.gelu_approximate)


def _compare(job: Job, content: bytes) -> float:
    """Return the largest relative difference between the network and the graph on one input."""
    generator = torch.Generator().manual_seed(0)
    inputs = [
        _noise(sample, name, generator) for sample, name in zip(samples(job.graph), job.graph.input_names, strict=True)
    ]
    with torch.no_grad():
        expected = job.module(*inputs)
    expected = [expected] if isinstance(expected, torch.Tensor) else list(expected)
    session = open_session(content, "cpu")
    feeds = {name: value.numpy() for name, value in zip(job.graph.input_names, inputs, strict=True)}
    actual = session.run(job.graph.output_names, feeds)
    return max(_error(a, e.numpy()) for a, e in zip(actual, expected, strict=True))


def _error(actual: Any, expected: Any) -> float:
    if actual.shape != expected.shape:
        return float("inf")
    scale = max(float(np.abs(expected).max()), 1e-3)
    return float(np.abs(actual - expected).max()) / scale


def _noise(sample: torch.Tensor, name: str, generator: torch.Generator) -> torch.Tensor:
    """Return an input of the right kind: pixels, places, labels, a flag, a size, or features."""
    noise = torch.rand(sample.shape, generator=generator)
    kinds = {
        "point_coords": noise * 1024,
        "point_labels": (noise > 0.5).float(),
        "has_mask_input": torch.ones(sample.shape),
        "orig_im_size": torch.tensor([480.0, 640.0]),
        "image_embeddings": noise - 0.5,
        "mask_input": (noise - 0.5) * 20,
    }
    if name in kinds:
        return kinds[name]
    if sample.dtype == torch.uint8 or (len(sample.shape) == 3 and sample.shape[-1] == 3):
        return (noise * 255).to(sample.dtype)
    return noise - 0.5
