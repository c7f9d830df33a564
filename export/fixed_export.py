"""Export a network as graphs of fixed shapes: convert, compare with the network, and write with a contract."""

from __future__ import annotations

import copy
import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilesam._version import __version__
from mobilesam.config import EncoderConfig
from mobilesam.errors import ExportError, InputError, MobileSamError, sentence, unknown_name
from mobilesam.export import fixed_contract
from mobilesam.export.compare import Row
from mobilesam.export.fixed_modules import Named, modules
from mobilesam.export.manifest import MANIFEST, refuse_files
from mobilesam.export.targets import Files, Operators, Target, target
from mobilesam.export.verify_fixed import verify_fixed
from mobilesam.files import write_bytes
from mobilesam.masks import choosers
from mobilesam.modeling import Sam
from mobilesam.modeling.torch_sam import TorchSam
from mobilesam.onnx import contract, fixed, fixed_folder
from mobilesam.onnx.fixed_folder import OpenRun
from mobilesam.runtimes import EXPORTED

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
    weights_id = TorchSam(sam).weights_id
    own = choosers.content_of(sam.choosers, weights_id)
    others = {fixed_contract.GOLDEN: b""} | ({} if own is None else {choosers.NAME: own})
    # A chooser of other weights would choose wrongly.
    roles = [role for role in converter.roles if role != fixed.CHOOSER.role or sam.choosers.point.knows(weights_id)]
    names = [role + suffix for role in roles for suffix in converter.suffixes]
    refuse_files(folder, [*names, *others], force=force)
    converter.require()
    on_cpu = copy.deepcopy(sam).float().cpu()
    reference = TorchSam(on_cpu)
    files: dict[str, bytes] = {}
    entries = []
    for module in modules(on_cpu, plan.points, plan.frame_hw, roles):
        role = module.graph.role
        say(f"converting {role}")
        # The chooser is small, and compares distances in pixels.
        made, used = _converted(converter, module, plan.precision if role != fixed.CHOOSER.role else "float32")
        entries.append(_entry(module, EXPORTED[plan.runtime], made, used))
        files |= {role + suffix: content for suffix, content in made.items()}
    chooses = fixed.CHOOSER.role in roles
    others[fixed_contract.GOLDEN] = fixed_contract.golden(reference, plan.points, plan.frame_hw, choose=chooses)
    tolerances = fixed_contract.tolerances(plan.runtime, plan.precision)
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
        "preprocessing": fixed_contract.preprocessing(plan.frame_hw),
        "prompts": fixed_contract.prompt_rules(plan.points),
        "files": entries,
        "golden": {"file": fixed_contract.GOLDEN, "tolerances": tolerances},
        "compared": _NOT_RUN,
    }
    rows: list[Row] = []
    if converter.open_run:
        say("comparing with the network")
        rows = _compared(files, about, reference, converter.open_run)
        about["compared"] = [row._asdict() for row in rows]
    for name, content in (files | others).items():
        write_bytes(folder / name, content, force=force)
    write_bytes(folder / MANIFEST, json.dumps(about, indent=2).encode() + b"\n", force=force)
    return rows


def _converted(converter: Target, module: Named, precision: str) -> tuple[Files, Operators]:
    """Return the files of a graph, and what they are made of.

    Raises:
        ExportError: the converter failed.
    """
    try:
        files = converter.convert(module, precision)
        return files, converter.operators(files)
    except MobileSamError:
        raise
    except Exception as error:  # converters raise what they like, among it errors of libraries that do not load
        reason = (str(error).strip().splitlines() or [""])[0][:300]
        raise ExportError(
            f"The converter failed on {module.graph.role!r}: {type(error).__name__}: {reason}. Install another release "
            "of it into an environment of its own; mobilesam doctor shows the versions."
        ) from error


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
