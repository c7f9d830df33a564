"""``mobilesam verify``: compare ONNX files with the network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mobilesam.cli import options


def verify(
    models: Annotated[
        list[Path],
        typer.Argument(metavar="MODEL", help="ONNX files of a model, or their folder."),
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
    """Compare ONNX files with the network, over five image shapes, points, boxes and mask input.

    mobilesam verify onnx

    mobilesam verify decoder.onnx --against other-export

    Prints the largest difference of each output. The exit code is 1 if one exceeds its limit.
    """
    from mobilesam.cli.model import load_model
    from mobilesam.export.verify import verify as compare
    from mobilesam.loading import find_export
    from mobilesam.onnx import metadata, recognition
    from mobilesam.optional import has_torch

    files = [file for path in models for file in (recognition.files_of(path) if path.is_dir() else [path])]
    recognition.by_role(files)  # a wrong file is reported before the network is loaded
    if backend is None:
        with_torch = has_torch() and not find_export(against)
        backend = options.Backend.torch if with_torch else options.Backend.auto
    model = load_model(against, backend, options.Device.cpu, None)
    rows = compare(files, model)
    if as_json:
        typer.echo(json.dumps([{**row._asdict(), "passed": row.passed} for row in rows], indent=2))
    else:
        for row in rows:
            verdict = "ok" if row.passed else "FAILED"
            typer.echo(f"{row.output:34} {row.error:.1e}  limit {row.limit:.0e}  {verdict}  {row.case}")
    if not all(row.passed for row in rows):
        made_from = {metadata.of(recognition.read(file)).get("weights_sha256") for file in files} - {None}
        if made_from and model.source_weights_id not in made_from:
            typer.echo("The files were exported from other weights. Name these with --against CHECKPOINT.", err=True)
        raise typer.Exit(1)
