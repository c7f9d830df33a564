"""``mobilesam site``: write a folder of static files that segments images in a browser tab."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Annotated

import typer

from mobilesam.cli import options
from mobilesam.errors import sentence


class Stored(enum.StrEnum):
    """How the weights are stored, :data:`mobilesam.export.site.PRECISIONS`, which --help must not import."""

    weights = "weights"
    float32 = "float32"


def site(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder to write; it must not exist yet.")
    ] = None,
    model: options.ModelOption = None,
    precision: Annotated[
        Stored,
        typer.Option("--precision", help="weights: int8 weights, computed in float32; float32: three times as large."),
    ] = Stored.weights,
    runtime_only: Annotated[
        bool, typer.Option("--runtime-only", help="Only fetch ONNX Runtime for browsers, which is kept for later.")
    ] = False,
    webgpu: Annotated[
        bool,
        typer.Option("--webgpu", help="Add 27 MB for encoding on a GPU, where the address ends in ?webgpu."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder that mobilesam site wrote.")] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Write a folder of static files that segments images in a browser tab, for any static host.

    mobilesam site --out web

    python -m http.server -d web

    Images stay in the tab, and nothing is loaded from elsewhere. ONNX Runtime for browsers comes from npm on first use.
    Networks other than MobileSAM need PyTorch, and --precision float32.
    """
    if runtime_only == (out is not None):
        actual = "neither" if out is None else "both"
        raise options.UsageError(sentence("--out or --runtime-only", "be given", actual, "for example: --out web"))
    from mobilesam.cli.progress import download_bar
    from mobilesam.export import site_runtime
    from mobilesam.files import expanded

    folder = None if out is None else expanded(out)
    if folder is not None:
        from mobilesam.export.site import refuse_out

        refuse_out(folder, force=force)
    with download_bar("ONNX Runtime for browsers") as progress:
        runtime = site_runtime.find(webgpu=webgpu) or site_runtime.fetch(progress, webgpu=webgpu)
    if folder is None:
        sizes = {path.name: path.stat().st_size for path in runtime}
        _report(site_runtime.folder(), sizes, as_json)
        return
    from mobilesam.cli.model import fetch_weights
    from mobilesam.export.site import write_site
    from mobilesam.export.site_source import source_of

    fetch_weights(model)
    with source_of(model, _say) as source:
        written = write_site(source, folder, runtime, precision=precision.value, force=force, progress=_say)
    _report(written.path, written.files, as_json)


def _say(stage: str) -> None:
    typer.echo(f"{stage} ...", err=True)


def _report(folder: Path, files: dict[str, int], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"folder": str(folder), "files": files}, indent=2))
        return
    typer.echo(folder)
    typer.echo(f"{len(files)} files, {sum(files.values()):,} bytes", err=True)
