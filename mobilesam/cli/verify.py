"""``mobilesam verify``: compare exported files with the network."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mobilesam.cli import options

if TYPE_CHECKING:
    from mobilesam.model import MaskModel

# Compares with a network, and returns rows and the digests of the weights that the files were made of.
Compare = Callable[["MaskModel"], tuple[list[Any], set[str | None]]]


def verify(
    models: Annotated[
        list[Path],
        typer.Argument(metavar="MODEL", help="ONNX files of a model, or the folder of an export."),
    ],
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="NAME|PATH",
            help="A checkpoint, or the folder of another export. Default: the published weights.",
        ),
    ] = None,
    backend: Annotated[
        options.Backend | None,
        typer.Option(
            "--backend", help="Runtime of the network. Default: torch if it is installed.", show_default=False
        ),
    ] = None,
    as_json: options.JsonOption = False,
) -> None:
    """Compare exported files with the network, over five image shapes, points, boxes and mask input.

    mobilesam verify onnx

    mobilesam verify decoder.onnx --against other-export

    Prints the largest difference of each output. The exit code is 1 if one exceeds its limit.
    """
    from mobilesam.cli.model import load_model
    from mobilesam.loading import find_export
    from mobilesam.optional import has_torch

    compare = _of_phone(models[0]) if len(models) == 1 and _is_of_phone(models[0]) else _of_onnx(models)
    if backend is None:
        with_torch = has_torch() and not find_export(against)
        backend = options.Backend.torch if with_torch else options.Backend.auto
    model = load_model(against, backend, options.Device.cpu, None)
    rows, made_from = compare(model)
    if as_json:
        typer.echo(json.dumps([{**row._asdict(), "passed": row.passed} for row in rows], indent=2))
    else:
        for row in rows:
            verdict = "ok" if row.passed else "FAILED"
            limit = f"limit {row.limit:.0e}" if row.limit is not None else "no limit   "
            typer.echo(f"{row.output:34} {row.error:.1e}  {limit}  {verdict}  {row.case}")
    if not all(row.passed for row in rows):
        if made_from and model.source_weights_id not in made_from:
            typer.echo("The files were exported from other weights. Name these with --against CHECKPOINT.", err=True)
        raise typer.Exit(1)


def _of_onnx(paths: Sequence[Path]) -> Compare:
    from mobilesam.export.verify import verify as compare
    from mobilesam.onnx import metadata, recognition

    files = [file for path in paths for file in (recognition.files_of(path) if path.is_dir() else [path])]
    recognition.by_role(files)  # a wrong file is reported before the network is loaded
    made_from = {metadata.of(recognition.read(file)).get("weights_sha256") for file in files} - {None}
    return lambda model: (compare(files, model), made_from)


def _is_of_phone(path: Path) -> bool:
    return path.is_dir() and any(path.glob("*.tflite"))


def _of_phone(folder: Path) -> Compare:
    from mobilesam.export.verify import verify_phone
    from mobilesam.runtimes import litert

    about, _ = litert.read_manifest(folder / litert.MANIFEST)
    open_role, frame_hw = litert.opener(folder), (about["frame_hw"][0], about["frame_hw"][1])
    return lambda model: (
        verify_phone(open_role, model, about["points"], frame_hw, about["precision"]),
        {about["weights_sha256"]},
    )
