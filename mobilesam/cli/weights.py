"""``mobilesam weights``: list, fetch, verify, find, convert and remove the weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from mobilesam.cli import options

app = typer.Typer(no_args_is_help=True, help="List, fetch, verify, find, convert and remove the weights.")

NameArgument = Annotated[
    str, typer.Argument(metavar="[NAME]", help="A name in mobilesam weights list.", show_default=True)
]


@app.command("list", cls=options.Command)
def show(as_json: options.JsonOption = False) -> None:
    """List the weights, and the path of each that has been fetched."""
    from mobilesam import weights

    store = weights.default_store()
    rows = []
    for entry in store.entries().values():
        checkpoint = store.find(entry.name)
        source = next((each for each in entry.sources if each.result.path == checkpoint), entry.sources[0])
        rows.append(
            {
                "name": entry.name,
                "role": entry.role,
                "path": checkpoint and str(checkpoint),
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


@app.command(cls=options.Command)
def fetch(name: NameArgument = "mobile_sam", force: options.ForceOption = False) -> None:
    """Fetch weights if they are absent, and print the path of the checkpoint."""
    from mobilesam import weights
    from mobilesam.cli.progress import download_bar

    with download_bar() as progress:
        typer.echo(weights.fetch(name, force=force, progress=progress))


@app.command(cls=options.Command)
def verify(name: NameArgument = "mobile_sam") -> None:
    """Compare the files with the sizes and digests of the manifest; exit code 1 if one differs."""
    from mobilesam import weights

    checked = weights.verify(name)
    for path, size, problem in checked:
        typer.echo(f"{path}  {problem or f'{size:,} bytes, ok'}")
    if any(file.problem for file in checked):
        typer.echo(f'error: run "mobilesam weights fetch {name} --force" to replace the file', err=True)
        raise typer.Exit(1)


@app.command(cls=options.Command)
def path(name: NameArgument = "mobile_sam") -> None:
    """Print the path of the checkpoint; exit code 1 if it has not been fetched."""
    from mobilesam import weights

    store = weights.default_store()
    checkpoint = store.find(name)
    if checkpoint is None:
        raise store.absent(name)
    typer.echo(checkpoint)


@app.command(cls=options.Command)
def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the files and remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove the files without asking.")] = False,
) -> None:
    """Remove fetched weights, unfinished downloads, saved ONNX files and ONNX Runtime for browsers from the folder.

    Other files in the folder stay. The weights are fetched again when they are needed.
    """
    if not (dry_run or yes or sys.stdin.isatty()):
        raise options.UsageError(
            "mobilesam weights clean asks before it removes files, and standard input is not a terminal. "
            "Add --yes to remove the files, or --dry-run to list them."
        )
    from mobilesam import weights
    from mobilesam.export import site_runtime
    from mobilesam.onnx import templates
    from mobilesam.weights import cache

    store = weights.default_store()
    files = [*cache.fetched_files(store), *templates.saved_files(), *site_runtime.saved_files()]
    if not files:
        typer.echo(f"nothing to remove in {store.folder}")
        return
    sizes = [path.stat().st_size for path in files]
    for path, size in zip(files, sizes, strict=True):
        typer.echo(f"{path}  {size:,} bytes")
    if dry_run:
        typer.echo(f"{sum(sizes):,} bytes would be freed")
        return
    if not yes:
        typer.echo("Remove these files? [y/N] ", nl=False, err=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            typer.echo("nothing was removed", err=True)
            raise typer.Exit(1)
    typer.echo(f"{cache.remove(store, files):,} bytes freed")


@app.command(cls=options.Command, no_args_is_help=True)
def convert(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN OUT",
            help="A checkpoint, or an ONNX pair (its folder or its two files); then the file to write.",
        ),
    ],
    force: options.ForceOption = False,
) -> None:
    """Convert a checkpoint to the official layout: .pt, which the reference implementation loads, or .safetensors.

    Its choosers, NAME.choosers.npz beside it, are copied.

    mobilesam weights convert mobile_sam.safetensors mobile_sam.pt

    mobilesam weights convert encoder.onnx sam.onnx mobile_sam.safetensors
    """
    from mobilesam.errors import sentence
    from mobilesam.files import refuse_existing
    from mobilesam.masks import choosers
    from mobilesam.weights import checkpoint

    *sources, target = paths
    if len(sources) not in (1, 2):
        remedy = "for example: mobilesam weights convert mobile_sam.safetensors mobile_sam.pt"
        raise options.UsageError(sentence("the arguments of convert", "be IN and OUT", f"{len(paths)} paths", remedy))
    refuse_existing(target, force=force)
    one = sources[0] if len(sources) == 1 else None
    network = checkpoint.read(one or sources)
    own = choosers.find(one or sources[0].parent, lambda: network.weights_id)
    has_choosers = choosers.content_of(own, network.weights_id) is not None
    if has_choosers:
        refuse_existing(choosers.file_of(target), force=force)
    checkpoint.write(target, network.state, force=force)
    typer.echo(target)
    if has_choosers:
        choosers.write(choosers.file_of(target), own, force=force)
        typer.echo(choosers.file_of(target))
