"""Export a network as graphs of fixed shapes: convert, compare with the network, and write with a contract."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam._version import __version__
from mobilesam.arrays import Array
from mobilesam.config import ALL_MASKS, MASK_THRESHOLD, EncoderConfig
from mobilesam.errors import ExportError, InputError, sentence, unknown_name
from mobilesam.export.cases import frame_image
from mobilesam.export.compare import Row
from mobilesam.export.fixed_modules import Named, modules
from mobilesam.export.manifest import MANIFEST, refuse_files
from mobilesam.export.targets import Files, Operators, target
from mobilesam.export.verify_fixed import verify_fixed
from mobilesam.files import write_bytes
from mobilesam.image.model_input import PIXEL_MEAN, PIXEL_STD, encoder_input
from mobilesam.masks import choosers
from mobilesam.modeling import Sam
from mobilesam.modeling.torch_sam import TorchSam
from mobilesam.onnx import contract, fixed, fixed_folder
from mobilesam.onnx.fixed_folder import OpenRun
from mobilesam.prompts import arrays as prompts
from mobilesam.runtimes import EXPORTED

GOLDEN = "golden.npz"
# Largest differences of a self-test on the golden inputs from the outputs, which are those of the network.
_TOLERANCES = {
    "float32": {"image_embeddings": 1e-3, "low_res_masks": 0.05, "iou_predictions": 1e-3},
    "float16": {"image_embeddings": 0.01, "low_res_masks": 1.0, "iou_predictions": 0.05},
    "int8": {"image_embeddings": 0.1, "low_res_masks": 8.0, "iou_predictions": 0.3},
}
_NOT_RUN = "converted, not run"


@dataclass(frozen=True, kw_only=True)
class FixedPlan:
    """What to write.

    runtime: one of :data:`mobilesam.export.targets.NAMES`. points: the most of a prompt, beside a box.
    precision: of the weights, "float32", "float16" or "int8"; not every runtime has each.
    frame_hw: (height, width) of the images in the model frame; the longer side is 1024.

    Raises:
        InputError: an option is not one of these.
    """

    runtime: str = "litert"
    points: int = 6
    precision: str = "float32"
    frame_hw: tuple[int, int] = (contract.IMAGE_SIZE, contract.IMAGE_SIZE)

    def __post_init__(self) -> None:
        precisions = target(self.runtime).precisions
        if self.precision not in precisions:
            title = fixed_folder.TITLES[self.runtime]
            raise InputError(unknown_name(f"precision for {title}", str(self.precision), precisions))
        if type(self.points) is not int or not 1 <= self.points <= fixed.MOST_POINTS:
            requirement = f"be a whole number from 1 to {fixed.MOST_POINTS}"
            raise InputError(sentence("points", requirement, self.points, "leave it out for 6"))
        side, patch = contract.IMAGE_SIZE, contract.IMAGE_SIZE // contract.GRID_SIZE
        if not fixed.is_frame(self.frame_hw):
            actual = "x".join(map(str, self.frame_hw))
            requirement = f"have a longer side of {side} and a shorter one that is a multiple of {patch}"
            raise InputError(sentence("image size", requirement, actual, f"use {side}x{side}, or 768x{side}"))


def export_fixed(
    sam: Sam,
    out: str | Path,
    plan: FixedPlan | None = None,
    *,
    force: bool = False,
    progress: Callable[[str], object] | None = None,
) -> list[Row]:
    """Write a network for a runtime, and return how it compares with the network; nothing for files that are not run.

    The folder gets the files of graphs of :mod:`mobilesam.onnx.fixed`, golden.npz with inputs and outputs for a
    self-test, and manifest.json with the contract.

    Args:
        sam: the network, MobileSAM's, in eval mode; its choosers are written too if they are not those of the package.
        out: the folder; created if absent.
        plan: by default, float32 files for LiteRT with 6 points.
        force: overwrite files that exist.
        progress: called with what is done next.

    Raises:
        InputError: a file exists, or the network is not MobileSAM's.
        MissingDependencyError: the converter is not installed.
        ExportError: the network is in training mode, or the files do not compute what it does. Nothing is written.
    """
    plan = plan or FixedPlan()
    say = progress or (lambda _: None)
    folder, converter = Path(out).expanduser(), target(plan.runtime)
    if not isinstance(sam.config.encoder, EncoderConfig):
        remedy = "use its ONNX export"
        requirement = f"be a MobileSAM to be exported to {fixed_folder.TITLES[plan.runtime]}"
        raise InputError(sentence("model", requirement, sam.config.name, remedy))
    if sam.training:
        raise ExportError(sentence("model", "be in eval mode to be exported", "training mode", "call model.eval()"))
    own = choosers.content_of(sam.choosers, TorchSam(sam).weights_id)
    others = {GOLDEN: b""} | ({} if own is None else {choosers.NAME: own})
    refuse_files(folder, [*(f"{role}{EXPORTED[plan.runtime]}" for role in converter.roles), *others], force=force)
    converter.require()
    on_cpu = copy.deepcopy(sam).float().cpu()
    reference = TorchSam(on_cpu)
    files: dict[str, bytes] = {}
    entries = []
    for module in modules(on_cpu, plan.points, plan.frame_hw, converter.roles):
        role = module.graph.role
        say(f"converting {role}")
        # The chooser is small, and compares distances in pixels.
        made = converter.convert(module, plan.precision if role != fixed.CHOOSER.role else "float32")
        used = converter.operators(made)
        entries.append(_entry(module, EXPORTED[plan.runtime], made, used))
        files |= {role + suffix: content for suffix, content in made.items()}
    others[GOLDEN] = _golden(reference, plan)
    about: dict[str, Any] = {
        "version": 1,
        "runtime": plan.runtime,
        "contract": str(contract.VERSION),
        "model": sam.config.name,
        "weights_sha256": reference.weights_id,
        "precision": plan.precision,
        "points": plan.points,
        "frame_hw": list(plan.frame_hw),
        "mobilesam": __version__,
        "preprocessing": _preprocessing(plan),
        "prompts": _prompt_rules(plan),
        "files": entries,
        "golden": {"file": GOLDEN, "tolerances": _TOLERANCES[plan.precision]},
        "compared": _NOT_RUN,
    }
    rows: list[Row] = []
    if converter.open_run:
        say("comparing with the network")
        rows = _compared(files, about, reference, converter.open_run)
        about["compared"] = [row._asdict() for row in rows]
    for name, content in (files | others).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / name, content, force=force)
    write_bytes(folder / MANIFEST, json.dumps(about, indent=2).encode() + b"\n", force=force)
    return rows


def _compared(files: Files, about: dict[str, Any], reference: TorchSam, open_run: OpenRun) -> list[Row]:
    """Return how files compare with the network.

    Raises:
        ExportError: they do not compute what it does.
    """
    with tempfile.TemporaryDirectory() as temporary:
        for name, content in (files | {MANIFEST: json.dumps(about).encode()}).items():
            (Path(temporary) / name).write_bytes(content)
        rows = verify_fixed(fixed_folder.read(Path(temporary), about["runtime"]), open_run, reference)
    for row in rows:
        if not row.passed:
            raise ExportError(
                f"The converted network differs from the network: {row.output} by {row.error:g} ({row.case}), at most "
                f"{row.limit:g} is allowed. Nothing was written. Report it with the versions that mobilesam doctor "
                "shows."
            )
    return rows


def _entry(module: Named, suffix: str, files: Files, used: Operators) -> dict[str, Any]:
    """Return what the manifest says of a graph; ``suffix`` is that of its main file, or of the folder of its files."""
    role = module.graph.role
    values = {
        kind: [{"name": each.name, "shape": list(each.shape), "dtype": each.dtype} for each in values]
        for kind, values in (("inputs", module.graph.inputs), ("outputs", module.graph.outputs))
    }
    parts = [
        {"file": role + name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    ]
    size = sum(map(len, files.values()))
    made_of = {"operators": used.counts, "largest_rank": used.largest_rank}
    return {"file": role + suffix, "role": role, "size": size, "parts": parts, **values, **made_of}


def _preprocessing(plan: FixedPlan) -> dict[str, Any]:
    """Return how an app makes the input of the encoder, in order."""
    return {
        "channels": "RGB",
        "resize": f"longer side to {contract.IMAGE_SIZE}, bilinear with antialiasing, sides rounded to the nearest",
        "normalize": "(pixel - mean) / std, pixels in 0..255",
        "mean": PIXEL_MEAN,
        "std": PIXEL_STD,
        "padding": f"zeros to the right and below, to {plan.frame_hw[0]}x{plan.frame_hw[1]}, after normalization",
        "layout": "NCHW",
    }


def _prompt_rules(plan: FixedPlan) -> dict[str, Any]:
    """Return how an app fills the slots of a prompt."""
    return {
        "coordinates": f"pixels of the model frame: those of the image times {contract.IMAGE_SIZE} / its longer side",
        "slots": plan.points + fixed.EXTRA_SLOTS,
        "labels": {
            "foreground": prompts.FOREGROUND,
            "background": prompts.BACKGROUND,
            "box_upper_left": prompts.BOX_START,
            "box_lower_right": prompts.BOX_END,
            "padding": prompts.PADDING,
            "absent": prompts.ABSENT,
        },
        "order": "points, then the corners of a box, or without a box one padding point at (0, 0); then absent slots",
        "mask_threshold": MASK_THRESHOLD,
        "block_rows": fixed.BLOCK_ROWS,
    }


def _golden(reference: TorchSam, plan: FixedPlan) -> bytes:
    """Return an archive of inputs for the encoder and the decoder, and the outputs of the network."""
    height, width = plan.frame_hw
    image = frame_image(plan.frame_hw)
    pixels, input_hw = encoder_input(image, contract.IMAGE_SIZE)
    embedding = reference.encode(image, fast_padding=height != width)
    slots = plan.points + fixed.EXTRA_SLOTS
    coords = np.zeros((1, slots, 2), np.float32)
    labels = np.full((1, slots), prompts.ABSENT, np.float32)
    coords[0, 0] = input_hw[1] / 2, input_hw[0] / 2
    labels[0, :2] = prompts.FOREGROUND, prompts.PADDING
    decoded = reference.decode(embedding, prompts.Prompts(coords[:, :2], labels[:, :2]), ALL_MASKS)
    values: dict[str, Array] = {
        "image": image,
        "input_image": pixels[:, :, :height, :width],
        "point_coords": coords,
        "point_labels": labels,
        "image_embeddings": reference.dump_features(embedding.features),
        "low_res_masks": decoded.low_res_logits,
        "iou_predictions": decoded.iou_predictions,
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **values)
    return buffer.getvalue()
