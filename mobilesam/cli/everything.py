"""``mobilesam everything``: all the masks of an image, or of many."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilesam.cli import options
from mobilesam.cli.model import ModelOptions, with_model_options
from mobilesam.errors import InputError

if TYPE_CHECKING:
    from mobilesam.arrays import UInt8Array
    from mobilesam.automatic import MaskRecords, SamAutomaticMaskGenerator
    from mobilesam.model import MaskModel


@with_model_options
def everything(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE", help="Images; - reads one from standard input.")],
    mode: options.ModeOption = options.Mode.balanced,
    out: options.OutOption = Path(),
    formats: options.FormatOption = "overlay,coco",
    points_per_side: options.PointsPerSideOption = 32,
    tile_size: options.TileSizeOption = None,
    min_area: options.MinAreaOption = 0,
    max_masks: options.MaxMasksOption = None,
    time_budget: Annotated[
        float | None,
        typer.Option("--time-budget", min=0, metavar="SECONDS", help="Stop each image then, with what is found."),
    ] = None,
    force: options.ForceOption = False,
    as_json: options.JsonOption = False,
    threads: options.ThreadsOption = None,
    *,
    network: ModelOptions,
) -> None:
    """Find all the masks of an image.

    mobilesam everything cat.jpg

    mobilesam everything *.jpg --mode fast --format overlay,mask,csv --out results

    mobilesam everything aerial.tif --tile-size 1024 --min-area 100

    The files are named after the image (cat-overlay.png, cat-masks/001.png, cat-masks.csv) and listed on stdout; the
    masks of all images together are in coco.json.

    An image that cannot be read is reported on stderr; the others are still done, and the exit code is 1.
    """
    from mobilesam.cli.output import Output

    output = Output(images, out, formats, force=force, as_json=as_json)
    generator: SamAutomaticMaskGenerator | None = None
    for files, image, clock in output.read():
        # Loaded only now, so that a mistyped path is reported at once.
        generator = generator or _generator(network.load(threads), points_per_side, mode, tile_size)
        try:
            with clock.measure("segment"):
                records = _segment(generator, image, files.source, time_budget)
        except InputError as error:
            output.fail(files.source, error)
            continue
        chosen = [record for record in records if record["area"] >= min_area][:max_masks]
        output.write(files, image, chosen, clock, partial=records.partial)
        early = ", the time was up" if records.partial else ""
        seconds = clock.milliseconds["segment"] / 1000
        typer.echo(f"{files.source}: {len(chosen)} masks in {seconds:.1f} s{early}", err=True)
    output.finish()


def _generator(
    model: MaskModel, points_per_side: int, mode: options.Mode, tile_size: int | None
) -> SamAutomaticMaskGenerator:
    from mobilesam.automatic import SamAutomaticMaskGenerator

    return SamAutomaticMaskGenerator(
        model, points_per_side=points_per_side, output_mode="uncompressed_rle", mode=mode.value, tile_size=tile_size
    )


def _segment(
    generator: SamAutomaticMaskGenerator, image: UInt8Array, source: str, time_budget: float | None
) -> MaskRecords:
    """Segment an image behind a progress bar, on a terminal."""
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
