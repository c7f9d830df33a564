"""``mobilesam finetune``: train the mask decoder on annotated images."""

from __future__ import annotations

import contextlib
import ctypes
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mobilesam.cli import options
from mobilesam.cli.model import fetch_weights

if TYPE_CHECKING:
    from mobilesam.finetune.run import Finetuned

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # parameters of glibc's mallopt


def finetune(
    images: Annotated[Path, typer.Option("--images", metavar="DIR", help="Folder with the images.")],
    annotations: Annotated[
        Path,
        typer.Option(
            "--annotations",
            metavar="FILE|DIR",
            help="Masks of objects: COCO JSON, or a folder of labelme JSON, YOLO labels or indexed PNG.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Checkpoint to write: .pt, .pth or .safetensors.")],
    model: options.ModelOption = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep", metavar="DIR", help="Images on which masks are to stay as they are. Default: the samples."
        ),
    ] = None,
    distill: Annotated[
        bool, typer.Option("--distill/--no-distill", help="Train against forgetting, on the images of --keep.")
    ] = True,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, metavar="N", help="Updates. Default: by the number of objects.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", metavar="RATE", help="Default: 0.0001; 0.001 with --lora.")
    ] = None,
    lora: Annotated[
        int | None,
        typer.Option("--lora", min=1, max=64, metavar="RANK", help="Train low-rank updates of the attention only."),
    ] = None,
    neck: Annotated[bool, typer.Option("--neck", help="Also train the last layers of the image encoder.")] = False,
    views: Annotated[
        int,
        typer.Option("--views", min=0, max=3, metavar="N", help="1: also mirrored images; 3: mirrored, cropped, both."),
    ] = 0,
    held_back: Annotated[
        float,
        typer.Option(
            "--held-back", min=0, max=0.9, metavar="SHARE", help="Share of the images that is not trained on."
        ),
    ] = 0.15,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="S", help="Of all random choices.")] = 0,
    time_budget: Annotated[
        float | None, typer.Option("--time-budget", metavar="SECONDS", help="End the training after this time.")
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option("--embeddings", metavar="DIR", help="Folder for the embeddings. Default: in NAME.finetune."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a stopped run.")] = False,
    force: options.ForceOption = False,
    as_json: options.JsonOption = False,
    device: options.DeviceOption = options.Device.auto,
    threads: options.ThreadsOption = None,
) -> None:
    """Train the mask decoder on your own annotated images; needs PyTorch, and no GPU.

    mobilesam finetune --images photos --annotations instances.json --out tuned.pt

    mobilesam predict photo.jpg --point 320,240 --model tuned.pt

    The result is a checkpoint like any other. Every image is encoded once, 2.1 MB each on disk. A part of the images
    is held back: training ends early when they gain nothing more, and the report compares the network before and after
    on them. Annotations and images that cannot be used are listed as warnings and left out.

    Beside FILE, NAME.choosers.npz has the choosers of the new weights, and the folder NAME.finetune the report.
    """
    import mobilesam

    fetch_weights(model)
    _keep_memory()
    with _progress(out) as progress:
        result = mobilesam.finetune(
            images,
            annotations,
            out,
            model=model,
            keep=keep,
            distill=distill,
            embeddings=embeddings,
            device=device.value,
            threads=threads,
            resume=resume,
            force=force,
            progress=progress,
            steps=steps,
            learning_rate=learning_rate,
            lora=lora,
            neck=neck,
            views=views,
            held_back=held_back,
            seed=seed,
            time_budget=time_budget,
        )
    for each in result.skipped:
        typer.echo(f"warning: {each}", err=True)
    if result.stopped:
        typer.echo(f"ended early: {result.stopped}", err=True)
    typer.echo(json.dumps(_as_json(result), indent=2) if as_json else "\n".join(_lines(result)))


def _keep_memory() -> None:
    """Let glibc keep the memory of a training step for the next one, which saves a fifth of the time."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_MMAP_MAX, 0)


def _lines(result: Finetuned) -> list[str]:
    from mobilesam.finetune.report import summary_lines

    return [*summary_lines(result.before, result.after), f"{result.path}", f"report: {result.folder / 'report.md'}"]


def _as_json(result: Finetuned) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((result.folder / "report.json").read_text(encoding="utf-8"))
    return {"checkpoint": str(result.path), **report}


@contextlib.contextmanager
def _progress(out: Path) -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for each stage on stderr; after an interruption, say how to continue."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bars: dict[str, Any] = {}
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:

        def report(stage: str, done: int, total: int) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage)
            progress.update(bars[stage], completed=done, total=total)

        try:
            yield report
        except KeyboardInterrupt:
            progress.console.print(f"stopped; continue with --resume --out {out}", highlight=False, markup=False)
            raise
