"""``mobilesam everything``: all the masks of a picture, or of many."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mobilesam.cli import options
from mobilesam.cli.model import load_model
from mobilesam.cli.pictures import failed, read_each, refuse_repeated_stdin
from mobilesam.errors import InputError

if TYPE_CHECKING:
    from mobilesam.arrays import UInt8Array
    from mobilesam.automatic import MaskRecords, SamAutomaticMaskGenerator
    from mobilesam.model import MaskModel


def everything(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE", help="Pictures; - reads one from standard input.")],
    preset: options.PresetOption = options.Preset.balanced,
    out: options.OutOption = Path(),
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="WORD,...",
            help="overlay: the picture with its masks; mask, cutout: a PNG each; indexed, instances: a PNG of their "
            "numbers; csv, labelme, yolo, geojson: a file a picture; coco, parquet: one file for all.",
        ),
    ] = "overlay,coco",
    grid: options.GridOption = 32,
    tiles: options.TilesOption = None,
    min_area: options.MinAreaOption = 0,
    max_masks: options.MaxMasksOption = None,
    time_budget: Annotated[
        float | None,
        typer.Option("--time-budget", min=0, metavar="SECONDS", help="Stop each picture then, with what is found."),
    ] = None,
    force: options.ForceOption = False,
    as_json: options.JsonOption = False,
    model: options.ModelOption = None,
    backend: options.BackendOption = options.Backend.auto,
    device: options.DeviceOption = options.Device.auto,
    provider: options.ProviderOption = None,
    threads: options.ThreadsOption = None,
) -> None:
    """Find all the masks of a picture.

    mobilesam everything cat.jpg

    mobilesam everything *.jpg --preset fast --format overlay,mask,csv --out results

    mobilesam everything aerial.tif --tiles 1024 --min-area 100

    The files are named after the picture (cat-overlay.png, cat-masks/001.png, cat-masks.csv) and listed on stdout; the
    masks of all pictures together are in coco.json.

    A picture that cannot be read is reported on stderr; the others are still done, and the exit code is 1.
    """
    from mobilesam.formats import naming, picture_files
    from mobilesam.formats.picture import MaskedPicture

    words = options.parse_formats(formats, picture_files.WORDS)
    refuse_repeated_stdin(images)
    named = zip(images, naming.name_outputs(images, out), strict=True)
    files = [picture_files.MaskFiles(names, words, force, source) for source, names in named]
    of_all = picture_files.files_of_all(out, words)
    planned = [path for item in files for path in item.planned()]
    naming.refuse_overwriting([*planned, *of_all.values()], images, force)

    generator: SamAutomaticMaskGenerator | None = None
    pictures: list[dict[str, Any]] = []
    errors: list[dict[str, str]] = []
    masked: list[MaskedPicture] = []
    for source, writer, image, clock in read_each(images, files, errors):
        # Loaded only now, so that a mistyped path is told at once.
        generator = generator or _generator(load_model(model, backend, device, threads, provider), grid, preset, tiles)
        try:
            with clock.measure("segment"):
                records = _segment(generator, image, source, time_budget)
        except InputError as error:
            errors.append(failed(source, error))
            continue
        chosen = [record for record in records if record["area"] >= min_area][:max_masks]
        with clock.measure("write"):
            described = writer.write(image, chosen)
        height, width = image.shape[:2]
        size = {"image": source, "width": width, "height": height, "partial": records.partial}
        pictures.append(size | described | {"timings_ms": clock.milliseconds})
        if of_all:
            masked.append(MaskedPicture(source, (height, width), chosen))
        early = ", the time was up" if records.partial else ""
        typer.echo(f"{source}: {len(chosen)} masks in {clock.milliseconds['segment'] / 1000:.1f} s{early}", err=True)
        if not as_json and described["files"]:
            typer.echo("\n".join(path for paths in described["files"].values() for path in paths))
    of_all = of_all if pictures else {}  # a file of no picture says nothing
    picture_files.write_files_of_all(of_all, lambda: masked, force=force)
    if as_json:
        names = {word: [str(path)] for word, path in of_all.items()}
        typer.echo(json.dumps({"version": 1, "images": pictures, "files": names, "errors": errors}, indent=2))
    elif of_all:
        typer.echo("\n".join(map(str, of_all.values())))
    if errors:
        raise typer.Exit(1)


def _generator(model: MaskModel, grid: int, preset: options.Preset, tiles: int | None) -> SamAutomaticMaskGenerator:
    from mobilesam.automatic import SamAutomaticMaskGenerator

    return SamAutomaticMaskGenerator(
        model, points_per_side=grid, output_mode="uncompressed_rle", mode=preset.value, tile_size=tiles
    )


def _segment(
    generator: SamAutomaticMaskGenerator, image: UInt8Array, source: str, time_budget: float | None
) -> MaskRecords:
    """Segment a picture behind a progress bar, on a terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[found]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(escape(source), found="")

        def progress(done: int, total: int, found: int) -> None:
            bar.update(task, completed=done, total=total, found=f"{found} masks")

        return generator.generate(image, progress=progress, time_budget_s=time_budget)
