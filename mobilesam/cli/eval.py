"""``mobilesam eval``: accuracy and time against ground truth."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mobilesam.cli import options
from mobilesam.cli.model import ModelOptions, with_model_options
from mobilesam.errors import InputError, MissingDependencyError, sentence

if TYPE_CHECKING:
    from mobilesam.evaluate import Dataset, Evaluation

JOURNAL, RESULTS, TABLE = "instances.jsonl", "results.json", "results.md"
FORMAT = "mobilesam-eval-1"  # of the journal
RESULTS_FORMAT = "mobilesam-eval-2"  # of the report


class Split(StrEnum):
    """Which of the images in name order."""

    all = "all"
    even = "even"
    odd = "odd"


@with_model_options
def evaluate(
    images: Annotated[Path, typer.Option("--images", metavar="DIR", help="Folder with the images.")],
    annotations: Annotated[
        Path,
        typer.Option(
            "--annotations",
            metavar="PATH",
            help="Ground truth: a COCO or Parquet file, or a folder or file of labelme, YOLO segmentation, GeoJSON or "
            "indexed or 16-bit PNG; the format is recognized.",
        ),
    ],
    prompts: Annotated[
        str,
        typer.Option(
            "--prompts",
            metavar="KIND,...",
            help="box; point (the innermost pixel of the mask); clicks (a point, then one click on the largest error "
            "after the other).",
        ),
    ] = "box,point",
    limit: Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="At most N images.")] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="S", help="Choose the N images at random, instead of the first N.")
    ] = None,
    split: Annotated[Split, typer.Option("--split", help="Images at even or odd positions in name order.")] = Split.all,
    max_clicks: Annotated[int, typer.Option("--max-clicks", min=1, metavar="N", help="Most clicks per object.")] = 10,
    all_masks: Annotated[
        bool, typer.Option("--all-masks", help="Also compare the masks that are not taken; not timed.")
    ] = False,
    fast_padding: Annotated[
        bool, typer.Option("--fast-padding", help="Encode only the part of the padded square that the image covers.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for report, plots and records; none by default.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a stopped run in --out.")] = False,
    force: options.ForceOption = False,
    as_json: options.JsonOption = False,
    threads: options.ThreadsOption = None,
    *,
    network: ModelOptions,
) -> None:
    """Measure a model against ground-truth masks.

    mobilesam eval --images val --annotations instances.json --prompts box,point,clicks --out results

    Every annotated object is prompted, and the predicted mask compared with the annotated one: mean IoU by size and
    domain, boundary IoU, clicks needed for IoU 0.85 and 0.90, the best of the three candidate masks, the calibration of
    the predicted IoU, and the time of each stage. The table is printed; --out also writes it as JSON, with plots (SVG
    and PNG; they need matplotlib) and the instances with the lowest IoUs.

    Images, files of annotations and annotations that cannot be used are listed as warnings and left out.
    """
    if resume and out is None:
        raise options.UsageError(sentence("--resume", "come with --out", "none", "name the folder of the stopped run"))
    if seed is not None and limit is None:
        raise options.UsageError(sentence("--seed", "come with --limit", "none", "give the number of images to choose"))
    from mobilesam.bench.environment import describe_environment
    from mobilesam.evaluate import Settings, load_annotations
    from mobilesam.evaluate import evaluate as run
    from mobilesam.evaluate.journal import Journal
    from mobilesam.evaluate.report import to_markdown
    from mobilesam.evaluate.runner import parse_prompts, settings_record

    settings = Settings(parse_prompts(prompts), max_clicks=max_clicks, all_masks=all_masks)
    dataset = load_annotations(annotations, images, split=split.value, limit=limit, seed=seed)
    model = network.load(threads)
    about = {
        "format": FORMAT,
        "annotations_sha256": dataset.digest,
        "settings": settings_record(settings),
        "model": {
            "weights_id": model.weights_id,
            "backend": type(model).__name__,
            "device": model.capabilities.device,
            "fast_padding": fast_padding,
        },
    }
    journal = Journal.open(out / JOURNAL, about, resume=resume, force=force) if out else None
    with _progress(out) as progress:
        evaluation = run(model, dataset, settings, fast_padding=fast_padding, journal=journal, progress=progress)
    summary = evaluation.summary
    unusable = [
        *dataset.problems,
        *((entry["file_name"], entry["reason"]) for entry in summary["unreadable"]),
        *((f"{each['file_name']}, annotation {each['annotation_id']}", each["reason"]) for each in summary["skipped"]),
    ]
    for name, reason in unusable:
        typer.echo(f"warning: {name}: {reason}", err=True)
    if not summary["instances"]:
        reason = f" ({unusable[0][1]})" if unusable else ""
        raise InputError(f"no annotated object can be measured{reason}; check --images and --annotations")
    selection = {"split": split.value, "limit": limit, "seed": seed, "images": len(dataset.images)}
    document: dict[str, Any] = {
        **about,
        "format": RESULTS_FORMAT,
        "selection": selection,
        "environment": describe_environment(),
    }
    document["problems"] = [problem._asdict() for problem in dataset.problems]
    document["summary"] = summary
    table = to_markdown(summary)
    if out:
        _write(out, document, table, evaluation, dataset)
    typer.echo(json.dumps(document, indent=2) + "\n" if as_json else table, nl=False)


@contextlib.contextmanager
def _progress(out: Path | None) -> Iterator[Callable[[int, int, str], None]]:
    """Show a bar on stderr; after an interruption, say how to resume."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task("")
        try:
            yield lambda done, total, name: bar.update(task, completed=done, total=total, description=name)
        except KeyboardInterrupt:
            if out:
                bar.console.print(f"stopped; continue with --resume --out {out}", highlight=False, markup=False)
            raise


def _write(out: Path, document: dict[str, Any], table: str, evaluation: Evaluation, dataset: Dataset) -> None:
    from mobilesam.evaluate.plots import write_plots
    from mobilesam.files import write_bytes

    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    write_bytes(out / RESULTS, text.encode(errors="backslashreplace"))
    write_bytes(out / TABLE, table.encode(errors="backslashreplace"))
    try:
        write_plots(out, evaluation, dataset)
    except MissingDependencyError as error:
        typer.echo(f"warning: {error}", err=True)
