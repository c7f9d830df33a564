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
        typer.Argument(metavar="MODEL", help="ONNX files of a model, or the folder of any export."),
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
    from mobilesam.onnx import fixed_folder
    from mobilesam.optional import has_torch

    runtime = fixed_folder.runtime_of(models[0]) if len(models) == 1 else None
    compare = _of_fixed(models[0], runtime) if runtime else _of_onnx(models)
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


def _of_fixed(folder: Path, runtime: str) -> Compare:
    import importlib

    from mobilesam import runtimes
    from mobilesam.errors import InputError, sentence
    from mobilesam.export.verify_fixed import verify_fixed
    from mobilesam.onnx import fixed_folder

    if runtime not in runtimes.NAMES:
        title, remedy = fixed_folder.TITLES[runtime], "run the self-test of its golden.npz in an app"
        raise InputError(sentence("model", "be one that this package runs", f"an export to {title}", remedy))
    exported = fixed_folder.read(folder, runtime)
    open_run = importlib.import_module(f"mobilesam.runtimes.{runtime}").open_run
    return lambda model: (verify_fixed(exported, open_run, model), {exported.metadata["weights_sha256"]})
