"""``mobilesam batch``: segment folders of images, and resume stopped runs."""

from __future__ import annotations

import contextlib
import enum
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilesam.cli import options
from mobilesam.cli.model import ModelOptions, with_model_options
from mobilesam.cores import usable_cores
from mobilesam.errors import sentence

if TYPE_CHECKING:
    from mobilesam.batch import BadImage

_MOST_PROBLEMS = 20  # printed
_MOST_WORKERS = 8  # each holds a model and a few images in memory


class Engine(enum.StrEnum):
    """Where workers run."""

    local = "local"
    ray = "ray"


InputArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT...",
        help="Images, folders with subfolders, globs, lists (.txt) with one path per line, archives (.tar, .parquet); "
        "paths or URLs.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, metavar="N", help="Processes, each with a model. Default: one per core, at most 8."
    ),
]

WorkerThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", min=1, metavar="N", help="CPU threads of each worker. Default: its share of the cores."),
]


@with_model_options
def batch(
    inputs: InputArgument,
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="Folder or URL for the results, created if needed.")],
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts",
            metavar="PATH",
            help="A prompt file; or boxes: a COCO file or results list, CSV, a folder of YOLO or labelme files.",
        ),
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option("--dataset", metavar="FILE", help="The COCO file that a results list belongs to, for its names."),
    ] = None,
    min_score: Annotated[
        float | None, typer.Option("--min-score", metavar="X", help="Leave out boxes of a lower detection score.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", metavar="A,B", help="Segment only objects with one of these labels.")
    ] = None,
    everything: Annotated[bool, typer.Option("--everything", help="Segment everything, without prompts.")] = False,
    formats: options.FormatOption = "coco",
    select: options.SelectOption = None,
    fast_padding: options.FastPaddingOption = False,
    embeddings: options.EmbeddingsOption = None,
    mode: options.ModeOption = options.Mode.balanced,
    points_per_side: options.PointsPerSideOption = 32,
    tile_size: options.TileSizeOption = None,
    min_area: options.MinAreaOption = 0,
    max_masks: options.MaxMasksOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a stopped run in --out, and try its bad images again.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad image.")] = False,
    force: options.ForceOption = False,
    as_json: options.JsonOption = False,
    workers: WorkersOption = None,
    engine: Annotated[
        Engine, typer.Option("--engine", help="local: processes; ray: Ray Data, on one machine or a cluster.")
    ] = (Engine.local),
    ray_address: Annotated[
        str | None, typer.Option("--ray-address", metavar="ADDRESS", help="Address of a Ray cluster, for --engine ray.")
    ] = None,
    threads: WorkerThreadsOption = None,
    *,
    network: ModelOptions,
) -> None:
    """Segment any number of images, by prompts or in everything mode.

    mobilesam batch photos --everything --out results --format coco,overlay

    mobilesam batch val2017 --prompts instances_val2017.json --out results --format parquet

    mobilesam batch photos --prompts detections.json --min-score 0.5 --out results

    mobilesam batch photos --everything --out results --resume

    mobilesam batch s3://bucket/photos --everything --out s3://bucket/results

    coco.json and masks.parquet contain the results of all images. The files of a single image are named after it, in
    the same subfolder as the image. --resume continues a run that was stopped or killed, with the same files as an
    uninterrupted run. It processes images again that have changed or whose results are missing. Images that the prompts
    do not name are left out.

    With prompts: --select and --fast-padding, as in predict. With --everything: --mode, --points-per-side, --tile-size,
    --min-area and --max-masks, as in everything.

    Bad images, and prompts that cannot be used, do not stop the run. They are listed at the end, and the exit code
    is 1.
    """
    from mobilesam.batch import Everything, Prompted, SegmentationJob, read_prompts_or_coco, segment_images
    from mobilesam.formats.detections import filtered
    from mobilesam.formats.naming import refuse_overwriting
    from mobilesam.formats.output import FORMATS, files_of_all
    from mobilesam.storage import is_url, place

    names = options.parse_formats(formats, FORMATS)
    given = {"--dataset": dataset, "--min-score": min_score, "--labels": labels}
    for option, value in given.items():
        if value is not None and prompts is None:
            raise options.UsageError(sentence(option, "be used with --prompts", "none", "add --prompts"))
    if (prompts is None) != everything:
        actual = "both" if everything else "neither"
        raise options.UsageError(sentence("batch", "have either --prompts FILE or --everything", actual, "give one"))
    if ray_address and engine is Engine.local:
        raise options.UsageError(
            sentence("--ray-address", "be used with --engine ray", "--engine local", "add --engine ray")
        )
    settings = (
        Everything(mode.value, points_per_side, tile_size, min_area, max_masks)
        if everything
        else Prompted(None if select is None else select.value, fast_padding)
    )
    objects = None
    if prompts is not None:
        objects = read_prompts_or_coco(prompts, dataset)
        objects = filtered(
            objects, min_score, None if labels is None else [label.strip() for label in labels.split(",")]
        )
        if not is_url(out):
            refuse_overwriting(list(files_of_all(Path(out), names).values()), [*map(str, objects.files)], force=True)
    count, share = split_cores(workers, threads, network)
    model = network.choice(share)
    with progress_bar(f"--resume --out {out}") as (progress, on_warning):
        job = SegmentationJob(
            inputs,
            place(out),
            prompts=objects,
            settings=settings,
            formats=names,
            model=model,
            workers=count,
            engine=engine.value,
            ray_address=ray_address,
            resume=resume,
            force=force,
            strict=strict,
            embeddings=None if embeddings is None else place(embeddings),
        )
        report = segment_images(job, progress=progress, on_warning=on_warning)
    if report.left_out:
        count = len(report.left_out) + report.more_left_out
        which = "an image has" if count == 1 else f"{count} images have"
        left_out = f"{which} no prompt{': ' if count == 1 else ', such as '}{report.left_out[0]}"
        typer.echo(printable(left_out), err=True)
    if as_json:
        bad = [{"image": each.source, "error": each.reason} for each in report.bad]
        document = {"version": 1, "done": report.done, "files": [*map(str, report.files)], "errors": bad}
        document |= {"left_out": report.left_out, "problems": report.problems}
        typer.echo(json.dumps(document, indent=2))
    else:
        for path in report.files:
            typer.echo(os.fsencode(path))
    tell_bad(report.done, report.bad, report.problems)


def tell_bad(done: int, bad: Sequence[BadImage], problems: Sequence[str] = ()) -> None:
    """Print the number of images done, the bad images and the problems on stderr; exit with code 1 if there are any."""
    typer.echo(f"{done} image{'' if done == 1 else 's'} done, {len(bad)} bad", err=True)
    for text in problems[:_MOST_PROBLEMS]:
        typer.echo(printable(f"error: {text}"), err=True)
    if len(problems) > _MOST_PROBLEMS:
        typer.echo(f"error: {len(problems) - _MOST_PROBLEMS} more; --json lists all of them", err=True)
    for source, reason in bad:
        named = source in reason or repr(source) in reason
        typer.echo(printable(f"error: {reason}" if named else f"error: {source}: {reason}"), err=True)
    if bad or problems:
        raise typer.Exit(1)


def printable(text: str) -> str:
    """Return a text with escapes for characters of file names that are not Unicode."""
    return text.encode(errors="backslashreplace").decode()


def split_cores(workers: int | None, threads: int | None, network: ModelOptions) -> tuple[int, int]:
    """Return the number of workers and the threads of each: many workers on a CPU, one on an accelerator."""
    from mobilesam.loading import onnx_is_faster

    cores = usable_cores()
    if workers is None:
        one = network.provider or not onnx_is_faster(network.device.value)
        workers = 1 if one else min(max(1, cores // (threads or 1)), _MOST_WORKERS)
    return workers, threads or max(1, cores // workers)


@contextlib.contextmanager
def progress_bar(remedy: str) -> Iterator[tuple[Callable[[int, int, int], None], Callable[[str], None]]]:
    """Show a progress bar on stderr, and print how to continue if the run is interrupted."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text("" if task.speed is None else f"{task.speed:.1f} images/s")

    columns = (BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn(), TextColumn("{task.description}"))
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", start=False)

        def progress(done: int, total: int, bad: int) -> None:
            if not bar.tasks[0].started:
                bar.start_task(task)
                bar.update(task, completed=done, total=total or None)  # 0 if it is not known before the end
            bar.update(task, completed=done + bad, total=total, description=f"{bad} bad" if bad else "")

        def line(text: str) -> None:
            console.print(printable(text), highlight=False, markup=False, soft_wrap=True)

        try:
            yield progress, lambda text: line(f"warning: {text}")
        except KeyboardInterrupt:
            line(f"interrupted; continue with {remedy}")
            raise
