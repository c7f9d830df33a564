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
from mobilesam.errors import InputError, sentence

if TYPE_CHECKING:
    from mobilesam.evaluate import Dataset, Evaluation

JOURNAL, RESULTS, TABLE = "instances.jsonl", "results.json", "results.md"
FORMAT = "mobilesam-eval-1"  # of the journal
RESULTS_FORMAT = "mobilesam-eval-2"  # of the report; before, images were called images


class Split(StrEnum):
    """Which of the images in name order."""

    all = "all"
    even = "even"
    odd = "odd"


@with_model_options
def evaluate(
    images: Annotated[Path, typer.Option("--images", metavar="DIR", help="Folder with the images.")],
    annotations: Annotated[
        Path, typer.Option("--annotations", metavar="FILE", help="Ground truth as COCO instance JSON.")
    ],
    prompts: Annotated[
        str,
        typer.Option(
            "--prompts",
            metavar="KIND,...",
            help="box; point (inmost pixel of the mask); clicks (corrections of the largest error, fed back).",
        ),
    ] = "box,point",
    limit: Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="At most N images.")] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="S", help="Choose them at random; without it, the first by name.")
    ] = None,
    split: Annotated[Split, typer.Option("--split", help="Images at even or odd places in name order.")] = Split.all,
    max_clicks: Annotated[int, typer.Option("--max-clicks", min=1, metavar="N", help="Clicks an object.")] = 10,
    all_masks: Annotated[
        bool, typer.Option("--all-masks", help="Also score the masks that are not the answer; untimed.")
    ] = False,
    fast_padding: Annotated[
        bool, typer.Option("--fast-padding", help="Encode only what the image covers of the padded square.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for report, plots and records; none by default.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped run in --out.")] = False,
    force: options.ForceOption = False,
    as_json: options.JsonOption = False,
    threads: options.ThreadsOption = None,
    *,
    network: ModelOptions,
) -> None:
    """Measure a model against ground-truth masks.

    mobilesam eval --images val --annotations instances.json --prompts box,point,clicks --out results

    Every annotated object is prompted, and the answer compared with its mask: mean IoU by size and domain, boundary
    IoU, clicks needed for IoU 0.85 and 0.90, the best of the three masks against the one ranked first, how far
    predicted IoU can be trusted, and the time of each stage. The table is printed; --out keeps it with JSON, plots and
    the worst cases.

    Images that cannot be read and annotations that cannot be used are counted and named, and do not stop the run.
    """
    if resume and out is None:
        raise options.UsageError(sentence("--resume", "come with --out", "none", "name the folder of the stopped run"))
    if seed is not None and limit is None:
        raise options.UsageError(sentence("--seed", "come with --limit", "none", "say how many images to choose"))
    from mobilesam.bench.environment import describe_environment
    from mobilesam.evaluate import Settings, load_coco
    from mobilesam.evaluate import evaluate as run
    from mobilesam.evaluate.journal import Journal
    from mobilesam.evaluate.runner import parse_prompts, settings_record

    settings = Settings(parse_prompts(prompts), max_clicks=max_clicks, all_masks=all_masks)
    dataset = load_coco(annotations, images, split=split.value, limit=limit, seed=seed)
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
        found = run(model, dataset, settings, fast_padding=fast_padding, journal=journal, progress=progress)
    summary = found.summary
    _name_left_out(summary)
    if not summary["instances"]:
        reasons = [entry["reason"] for entry in (*summary["unreadable"], *summary["skipped"])]
        actual = f"none ({reasons[0]})" if reasons else "none"
        raise InputError(sentence("the data set", "have an instance that can be measured", actual, "check --images"))
    selection = {"split": split.value, "limit": limit, "seed": seed, "images": len(dataset.images)}
    document = {**about, "format": RESULTS_FORMAT, "selection": selection, "environment": describe_environment()}
    document["summary"] = summary
    if out:
        _write(out, document, found, dataset)
    if as_json:
        typer.echo(json.dumps(document, indent=2))
    else:
        from mobilesam.evaluate.report import to_markdown

        typer.echo(to_markdown(summary), nl=False)


@contextlib.contextmanager
def _progress(out: Path | None) -> Iterator[Callable[[int, int, str], None]]:
    """Show a bar on stderr; say how to go on if the run is stopped."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task("")
        try:
            yield lambda done, total, name: bar.update(task, completed=done, total=total, description=name)
        except KeyboardInterrupt:
            if out:
                bar.console.print(f"stopped; go on with --resume --out {out}", highlight=False, markup=False)
            raise


def _name_left_out(summary: dict[str, Any]) -> None:
    for entry in summary["unreadable"]:
        typer.echo(f"warning: {entry['file_name']}: {entry['reason']}", err=True)
    for entry in summary["skipped"]:
        typer.echo(f"warning: {entry['file_name']}, annotation {entry['annotation_id']}: {entry['reason']}", err=True)


def _write(out: Path, document: dict[str, Any], found: Evaluation, dataset: Dataset) -> None:
    from mobilesam.evaluate import plots
    from mobilesam.evaluate.report import to_markdown
    from mobilesam.files import write_bytes

    kinds = found.settings.prompts
    write_bytes(
        out / RESULTS, json.dumps(document, indent=2, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"
    )
    write_bytes(out / TABLE, to_markdown(found.summary).encode(errors="backslashreplace"))
    plots.save(plots.iou_histograms(found.records, kinds), out / "iou-histogram.png")
    if "clicks" in kinds:
        plots.save(plots.click_curve(found.records, found.settings.max_clicks), out / "clicks.png")
    for kind in kinds:
        plots.save(plots.contact_sheet(found.records, dataset, kind), out / f"worst-{kind}.png")
