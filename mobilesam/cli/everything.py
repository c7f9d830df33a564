"""``mobilesam everything``: segment everything in one image or many."""

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
        typer.Option(
            "--time-budget", min=0, metavar="SECONDS", help="Stop each image after this time and keep its masks so far."
        ),
    ] = None,
    force: options.ForceOption = False,
    as_json: options.JsonOption = False,
    threads: options.ThreadsOption = None,
    *,
    network: ModelOptions,
) -> None:
    """Segment everything in an image, without prompts.

    mobilesam everything cat.jpg

    mobilesam everything *.jpg --mode fast --format overlay,mask,csv --out results

    mobilesam everything aerial.tif --tile-size 1024 --min-area 100

    The files are named after the image (cat-overlay.png, cat-masks/001.png, cat-masks.csv), and their paths are
    printed. The masks of all images are in coco.json.

    An image that cannot be read is reported on stderr. The other images are processed, and the exit code is 1.
    """
    from mobilesam.automatic import SamAutomaticMaskGenerator
    from mobilesam.cli.output import Output, timed

    output = Output(images, out, formats, force=force, as_json=as_json)
    generator: SamAutomaticMaskGenerator | None = None
    for files, image, milliseconds in output.read():
        # Loaded after the first image is read, so that a wrong path is reported at once.
        generator = generator or SamAutomaticMaskGenerator(
            network.load(threads), points_per_side, output_mode="uncompressed_rle", mode=mode.value, tile_size=tile_size
        )
        try:
            with timed(milliseconds, "segment"):
                records = _segment(generator, image, files.source, time_budget)
        except InputError as error:
            output.fail(files.source, error)
            continue
        chosen = [record for record in records if record["area"] >= min_area][:max_masks]
        output.write(files, image, chosen, milliseconds, partial=records.partial)
        early = ", stopped at the time budget" if records.partial else ""
        seconds = milliseconds["segment"] / 1000
        typer.echo(f"{files.source}: {len(chosen)} masks in {seconds:.1f} s{early}", err=True)
    output.finish()


def _segment(
    generator: SamAutomaticMaskGenerator, image: UInt8Array, source: str, time_budget: float | None
) -> MaskRecords:
    """Segment an image, with a progress bar on a terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[masks]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(escape(source), masks="")

        def progress(done: int, total: int, masks: int) -> None:
            bar.update(task, completed=done, total=total, masks=f"{masks} masks")

        return generator.generate(image, progress=progress, time_budget_s=time_budget)
