"""``mobilesam weights``: list, fetch, verify, find and convert the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mobilesam.cli import options

app = typer.Typer(no_args_is_help=True, help="List, fetch, verify, find and convert the weights.")

NameArgument = Annotated[
    str, typer.Argument(metavar="[NAME]", help="A name in mobilesam weights list.", show_default=True)
]


@app.command("list")
def show(as_json: options.JsonOption = False) -> None:
    """List the available weights and their paths."""
    from mobilesam import weights

    store = weights.default_store()
    rows = []
    for entry in store.entries().values():
        stored = store.find(entry.name)
        source = entry.sources[0] if stored is None else next(s for s in entry.sources if s.result.path == stored)
        rows.append(
            {
                "name": entry.name,
                "role": entry.role,
                "path": stored and str(stored),
                "size": source.result.size,
                "license": source.license,
                "sources": [str(each) for each in entry.sources],
            }
        )
    if as_json:
        typer.echo(json.dumps({"folder": str(store.folder), "weights": rows}, indent=2))
        return
    for row in rows:
        typer.echo(f"{row['name']}  {row['path'] or 'not fetched'}  {row['size']:,} bytes  {row['license']}")
        typer.echo(f"  {row['role']}")


@app.command()
def fetch(name: NameArgument = "mobile_sam", force: options.ForceOption = False) -> None:
    """Fetch weights unless they are stored already, and print the path of the checkpoint."""
    from mobilesam import weights
    from mobilesam.cli.progress import download_bar

    with download_bar() as progress:
        typer.echo(weights.fetch(name, force=force, progress=progress))


@app.command()
def verify(name: NameArgument = "mobile_sam") -> None:
    """Compare the stored files with the manifest; exit code 1 if one differs."""
    from mobilesam import weights

    checked = weights.verify(name)
    for path, size, problem in checked:
        typer.echo(f"{path}  {problem or f'{size:,} bytes, ok'}")
    if any(file.problem for file in checked):
        typer.echo(f'error: run "mobilesam weights fetch {name} --force"', err=True)
        raise typer.Exit(1)


@app.command()
def path(name: NameArgument = "mobile_sam") -> None:
    """Print the path of the checkpoint; exit code 1 if it has not been fetched."""
    from mobilesam import weights

    store = weights.default_store()
    stored = store.find(name)
    if stored is None:
        raise store.absent(name)
    typer.echo(stored)


@app.command(no_args_is_help=True)
def convert(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN OUT",
            help="A checkpoint, or the folder or two files of an ONNX pair; then the file to write.",
        ),
    ],
    force: options.ForceOption = False,
) -> None:
    """Convert a checkpoint to the official layout: .pt, which the reference implementation loads, or .safetensors.

    mobilesam weights convert mobile_sam.safetensors mobile_sam.pt

    mobilesam weights convert encoder.onnx sam.onnx mobile_sam.safetensors
    """
    from mobilesam.errors import sentence
    from mobilesam.files import refuse_existing
    from mobilesam.weights import checkpoint

    *sources, target = paths
    if len(sources) not in (1, 2):
        remedy = "write for example: mobilesam weights convert mobile_sam.safetensors mobile_sam.pt"
        raise options.UsageError(sentence("convert", "have IN and OUT", f"{len(paths)} paths", remedy))
    refuse_existing(target, force=force)
    read = checkpoint.read(sources[0] if len(sources) == 1 else sources)
    checkpoint.write(target, read.state, force=force)
    typer.echo(target)
