"""``mobilesam quantize``: quantize exported ONNX files, and report size, time and accuracy."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilesam.cli import options
from mobilesam.errors import ExportError, sentence

if TYPE_CHECKING:
    from mobilesam.export.quantize import Report

REPORT = "quantization.json"


class RecipeName(enum.StrEnum):
    """The recipes of :mod:`mobilesam.export.recipes`, which --help must not import."""

    weights = "weights"
    dynamic = "dynamic"
    static = "static"
    half = "half"


def quantize(
    model: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that mobilesam export wrote.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the files, created if needed.")],
    recipe: Annotated[
        RecipeName,
        typer.Option(
            "--recipe",
            help="weights: int8 weights, computed in float32; dynamic: matrix products in int8; static: convolutions "
            "too, with ranges calibrated on images; half: float16, for GPUs.",
        ),
    ] = RecipeName.weights,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            "--calibrate", metavar="DIR", help="Images for the calibration of static, similar to those to segment."
        ),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option("--eval", metavar="FILE", help="Also measure accuracy: ground truth as COCO instance JSON."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", metavar="DIR", help="Images of --eval. Default: the folder images next to the JSON file."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="Measure on at most N images.")
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option("--max-drop", min=0, metavar="IOU", help="Fail if mean IoU drops by more than this."),
    ] = None,
    threads: options.ThreadsOption = None,
    force: options.ForceOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Quantize exported ONNX files, with a report of size, time and accuracy.

    mobilesam quantize onnx --out onnx-int8

    mobilesam quantize onnx --out onnx-static --recipe static --calibrate photos --eval val/instances.json

    The report is printed and saved with the files. Results of all recipes: docs/quantization.md.
    """
    if annotations is None and (max_drop is not None or images is not None or limit is not None):
        option = "--max-drop" if max_drop is not None else "--images" if images is not None else "--limit"
        raise options.UsageError(sentence(option, "be used with --eval", "none", "add --eval FILE"))
    from mobilesam.evaluate import load_coco
    from mobilesam.export import quantize as work
    from mobilesam.export.recipes import Recipe
    from mobilesam.files import refuse_existing, write_bytes

    if annotations is not None and images is None:
        images = annotations.parent / "images"
        images = images if images.is_dir() else annotations.parent
    dataset = None if annotations is None or images is None else load_coco(annotations, images, limit=limit)
    refuse_existing(out / REPORT, force=force)

    def say(stage: str) -> None:
        typer.echo(f"{stage} ...", err=True)

    chosen = Recipe(recipe.value)
    files = work.quantize(model, out, chosen, calibrate=calibrate, force=force, progress=say)
    report = work.report(chosen, files, model, out, dataset=dataset, threads=threads, pin_threads=True, progress=say)
    write_bytes(out / REPORT, json.dumps(report.as_json(), indent=2).encode() + b"\n")
    typer.echo(json.dumps(report.as_json(), indent=2) if as_json else "\n".join(_lines(report)))
    if max_drop is not None and report.drop > max_drop:
        raise ExportError(
            f"Mean IoU drops by {report.drop:.4f}, more than --max-drop {max_drop:g}. Use another recipe, or other "
            "images for the calibration."
        )


def _lines(report: Report) -> list[str]:
    lines = [f"{'file':14} {'float32':>9} {report.recipe:>9}"]
    for file in report.files:
        in_int8, left = (
            ", ".join(f"{n} {kind}" for kind, n in each.items()) for each in (file.in_int8, file.left_in_float)
        )
        note = f"  in int8: {in_int8}" * bool(in_int8) + f"; left in float: {left}" * bool(left)
        lines.append(f"{file.name:14} {file.size / 1e6:6.2f} MB {file.quantized_size / 1e6:6.2f} MB{note}")
    for stage, (before, after) in report.seconds.items():
        lines.append(f"{stage:14} {1000 * before:6.1f} ms {1000 * after:6.1f} ms  {after / before:.2f}x")
    for kind, accuracy in report.accuracy.items():
        lines.append(
            f"{'mIoU, ' + kind:14} {accuracy.float32:9.4f} {accuracy.quantized:9.4f}  drop {accuracy.drop:+.4f}, "
            f"{accuracy.agreement:.4f} with float32's masks"
        )
    return lines
