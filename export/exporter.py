"""Export a network to ONNX files with a manifest, and compare each graph with the network before writing."""

from __future__ import annotations

import copy
import functools
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch

from mobilesam.automatic import expected_masks
from mobilesam.config import DEFAULT, VARIANTS, EncoderConfig
from mobilesam.errors import ExportError, InputError, sentence
from mobilesam.export import wrappers
from mobilesam.export.chooser_graph import make_chooser
from mobilesam.export.expectation_graph import make_expectation
from mobilesam.export.learned_decoder import compose
from mobilesam.export.manifest import refuse_files, serialize, write_files
from mobilesam.export.plan import Plan
from mobilesam.export.tool_decoder import BOX_LABELS
from mobilesam.export.tracing import at_opset, join, rename_input, samples, trace
from mobilesam.export.wrappers import Decoder, Job, LearnedDecoder, ToolDecoder, jobs
from mobilesam.learned import Learned
from mobilesam.masks import choosers
from mobilesam.masks.selection import LEARNED
from mobilesam.modeling import Sam
from mobilesam.modeling.torch_sam import TorchSam
from mobilesam.onnx import contract
from mobilesam.onnx.bind import bind_weights
from mobilesam.onnx.metadata import describe
from mobilesam.onnx.sessions import open_session
from mobilesam.onnx.templates import TEMPLATES, template
from mobilesam.weights import checkpoint

# The allowed difference, relative to the largest value. Another order of float32 operations gives about 1e-5, a wrong
# graph about 1. Areas and stability scores count pixels, and the logits of a few pixels are close to the threshold.
_TOLERANCE = 1e-3
# The labels of other prompts to compare.
_LABELS: dict[type[wrappers.Wrapper], tuple[tuple[float, ...], ...]] = {
    ToolDecoder: (BOX_LABELS,),
    LearnedDecoder: ((1.0, -1.0, -1.0), (2.0, 3.0)),
}


class Exported(NamedTuple):
    """path: the file; error: the largest difference of an output from the network's, relative to its largest value."""

    path: Path
    error: float


class MadeGraph(NamedTuple):
    """name: of the file; files: contents by name, the weights of a large graph apart; error: as in Exported."""

    name: str
    files: dict[str, bytes]
    error: float


def export_onnx(sam: Sam, out: str | Path, plan: Plan | None = None, *, force: bool = False) -> list[Exported]:
    """Write a network as ONNX files, with a manifest.json.

    Args:
        sam: the network, in eval mode, on any device and of any float type; the files are float32. Its choosers are
            written too if they are not those of the package.
        out: the folder; created if absent.
        plan: what to write; by default all parts.
        force: overwrite files that exist.

    Raises:
        InputError: a file exists, or a learned part was not learned on these weights.
        ExportError: the network is in training mode, or a graph does not compute what the network does.
    """
    plan = plan or Plan()
    folder = Path(out).expanduser()
    refuse_network(sam, plan)
    own = choosers.content_of(sam.choosers, TorchSam(sam).weights_id)
    others = {} if own is None else {choosers.NAME: own}
    refuse_files(folder, [*(graph.file_name for graph in plan.graphs), *others], force=force)
    graphs = make_plan(sam, plan)
    files = {name: content for graph in graphs for name, content in graph.files.items()}
    write_files(folder, files | others, force=force)
    return [Exported(folder / graph.name, graph.error) for graph in graphs]


def refuse_network(sam: Sam, plan: Plan) -> None:
    """Raise InputError if a network cannot be exported by a plan."""
    if plan.dynamic_size and not isinstance(sam.config.encoder, EncoderConfig):
        actual = f"True for {sam.config.name}, whose position embeddings are those of the whole square"
        raise InputError(sentence("dynamic_size", "be False for this network", actual, "leave it out"))
    _refuse_other_weights(sam.choosers.point, TorchSam(sam).weights_id, plan)


def make_plan(sam: Sam, plan: Plan, name: str | None = None) -> list[MadeGraph]:
    """Return all graphs of a plan in its order, the learned parts included.

    Args:
        name: the name of each file; by default those of the contract.

    Raises:
        ExportError: as in :func:`export_onnx`.
    """
    graphs = make_graphs(sam, plan, jobs, {graph.role: name or graph.file_name for graph in plan.graphs})
    learned = {
        contract.CHOOSER.role: lambda: make_chooser(sam.choosers.point, TorchSam(sam).weights_id),
        contract.EXPECTATION.role: make_expectation,
    }
    for graph in plan.graphs:
        if graph.role in learned:
            model, error = learned[graph.role]()
            file = name or graph.file_name
            graphs.append(MadeGraph(file, serialize(model, file), error))
    return graphs


def _refuse_other_weights(chooser: Learned, weights_id: str, plan: Plan) -> None:
    """Raise InputError if a learned part was not learned on the weights."""
    remedy = "leave it out: it was learned on others"
    if plan.select == LEARNED and not chooser.knows(weights_id):
        raise InputError(sentence("select", "be reference for these weights", LEARNED, remedy))
    learned: dict[str, Learned] = {contract.CHOOSER.role: chooser, contract.EXPECTATION.role: expected_masks.FILE}
    for part, each in learned.items():
        if part in plan.parts and not each.knows(weights_id):
            raise InputError(sentence("parts", f"be without {part} for these weights", part, remedy))


def make_graphs(
    sam: Sam, plan: Plan, jobs_of: Callable[[Plan, Sam], Iterable[Job]], names: Mapping[str, str] | None = None
) -> list[MadeGraph]:
    """Return the graphs of a plan, all of which were compared with the network.

    Args:
        sam: as in :func:`export_onnx`.
        jobs_of: gives the jobs of a plan, in the order of the result, for a copy of the network.
        names: the names of files by role; by default those of the contract.

    Raises:
        ExportError: as in :func:`export_onnx`.
    """
    if any(module.training for module in sam.modules()):
        remedy = "call model.eval() first"
        raise ExportError(sentence("model", "be in eval mode to be exported", "training mode", remedy))
    on_cpu = copy.deepcopy(sam).float().cpu()
    state = {key: value.numpy() for key, value in on_cpu.state_dict().items()}
    weights_id = checkpoint.state_digest(state)
    return [
        _make(job, plan, state, weights_id, (names or {}).get(job.graph.role, job.graph.file_name))
        for job in jobs_of(plan, on_cpu)
    ]


def _make(job: Job, plan: Plan, state: dict[str, Any], weights_id: str, name: str) -> MadeGraph:
    metadata = describe(job.graph, weights_id, model=job.module.sam.config.name)
    if job.graph.role == "decoder":
        metadata |= {f"mobilesam.{key}": value for key, value in plan.decoder_options.items()}
    if isinstance(job.module, ToolDecoder):
        metadata |= {"mobilesam.masks": "single", "mobilesam.padding": "done in the graph"}
    model = bind_weights(_template(job, plan), state, metadata)
    files = serialize(model, name)
    error = _compare(job, name, files)
    # The tanh formula differs from the network by design.
    if error > _TOLERANCE and not plan.gelu_approximate:
        raise ExportError(
            f"The exported graph {job.graph.role!r} differs from the network by {error:g}, relative to the largest "
            f"value; at most {_TOLERANCE:g} is allowed. Report it with the versions that mobilesam doctor shows."
        )
    return MadeGraph(name, files, error)


def _template(job: Job, plan: Plan) -> onnx.ModelProto:
    """Return the graph template of a job: one of the package, or a traced one if the options need another."""
    sam = job.module.sam
    is_encoder = job.graph.role == contract.ENCODER.role
    if is_encoder and job.graph.input_names != [contract.INPUT_NAME]:
        named_as_ours = job._replace(graph=contract.with_input_name(job.graph, contract.INPUT_NAME))
        return rename_input(_template(named_as_ours, plan), contract.INPUT_NAME, *job.graph.input_names)
    if isinstance(job.module, wrappers.EncoderOfPixels):
        head = trace(wrappers.Preprocessing(sam), contract.preprocessing(job.graph), plan.opset)
        return join(head, _template(Job(contract.ENCODER, wrappers.Encoder(sam)), plan), job.graph)
    if isinstance(job.module, LearnedDecoder):
        metrics = job.module.decoder.extra_metrics
        decoder = functools.partial(Decoder, sam, use_stability_score=False, low_res_only=False)
        four = Job(contract.decoder(), decoder(return_single_mask=False, extra_metrics=False))
        one_graph = contract.decoder(return_single_mask=True, extra_metrics=metrics)
        one = Job(one_graph, decoder(return_single_mask=True, extra_metrics=metrics))
        choice, _ = make_chooser(sam.choosers.point, TorchSam(sam).weights_id)
        return compose(_template(four, plan), _template(one, plan), choice, job.graph)
    default = VARIANTS[DEFAULT]
    config = sam.config if is_encoder else replace(sam.config, name=DEFAULT, encoder=default.encoder)
    packaged = job.graph in TEMPLATES and config == default and plan.opset <= contract.DEFAULT_OPSET
    if packaged and not plan.gelu_approximate and not plan.use_stability_score:
        return at_opset(template(job.graph), plan.opset)
    return trace(job.module, job.graph, plan.opset, gelu_approximate=plan.gelu_approximate)


def _compare(job: Job, name: str, files: dict[str, bytes]) -> float:
    """Check a graph, and return the largest relative difference between the network and the graph.

    They are compared on one input with points and a mask, and decoders that depend on the kind of prompt on others.
    """
    generator, names = torch.Generator().manual_seed(0), job.graph.input_names
    inputs = {key: _noise(value, key, generator) for value, key in zip(samples(job.graph), names, strict=True)}
    cases = [inputs]
    for labels in _LABELS.get(type(job.module), ()):
        points = {"point_coords": inputs["point_coords"][:, : len(labels)], "point_labels": torch.tensor([labels])}
        cases.append(inputs | points | {"has_mask_input": torch.zeros(1)})
    with tempfile.TemporaryDirectory() as folder:
        for file, content in files.items():
            (Path(folder) / file).write_bytes(content)
        onnx.checker.check_model(Path(folder) / name, full_check=True)
        session = open_session(Path(folder) / name, "cpu")
        return max(_difference(job, session, case) for case in cases)


def _difference(job: Job, session: onnxruntime.InferenceSession, inputs: dict[str, torch.Tensor]) -> float:
    with torch.no_grad():
        expected = job.module(*inputs.values())
    expected = [expected] if isinstance(expected, torch.Tensor) else list(expected)
    actual = session.run(job.graph.output_names, {name: value.numpy() for name, value in inputs.items()})
    return max(_error(a, e.numpy()) for a, e in zip(actual, expected, strict=True))


def _error(actual: Any, expected: Any) -> float:
    # NaN is a confidence that is not known.
    actual, expected = np.nan_to_num(actual, nan=-1), np.nan_to_num(expected, nan=-1)
    if actual.shape != expected.shape:
        return float("inf")
    scale = max(float(np.abs(expected).max()), 1e-3)
    return float(np.abs(actual - expected).max()) / scale


def _noise(sample: torch.Tensor, name: str, generator: torch.Generator) -> torch.Tensor:
    """Return a random input of the right kind: pixels, points, labels, a flag, a size, or features."""
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
