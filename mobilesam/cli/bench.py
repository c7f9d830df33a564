"""``mobilesam bench``: the time of each stage, and the comparison of two measurements."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from mobilesam.cli import options
from mobilesam.cli.model import ModelOptions, with_model_options
from mobilesam.errors import MissingDependencyError, sentence


@with_model_options
def bench(
    image: Annotated[
        Path | None, typer.Option("--image", metavar="FILE", help="Image; by default a synthetic 1024 x 768 JPEG.")
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1, metavar="N", help="Measured runs.")] = 10,
    warmup: Annotated[int, typer.Option("--warmup", min=0, metavar="N", help="Runs before them, not measured.")] = 2,
    fast_padding: Annotated[
        bool, typer.Option("--fast-padding", help="Encode only the part of the padded square that the image covers.")
    ] = False,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--compare", metavar="BEFORE AFTER", help="Compare two files instead of measuring."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write the measurement as JSON, and beside it a plot (SVG, PNG)."),
    ] = None,
    force: options.ForceOption = False,
    as_json: options.JsonOption = False,
    threads: options.ThreadsOption = None,
    *,
    network: ModelOptions,
) -> None:
    """Time every stage of a prediction after a warm-up.

    mobilesam bench --threads 2 --out before.json

    mobilesam bench --compare before.json after.json

    Prints median and quartiles in milliseconds, and what large matrix products reach on this machine. The JSON adds
    every value, the threads, the versions, and the processor with its instruction sets and caches. The plot needs
    matplotlib.
    """
    if compare:
        if image or out:
            raise options.UsageError(sentence("--compare", "stand alone", "--image or --out", "measure first"))
        _compare(*compare, as_json=as_json)
        return
    from mobilesam.bench import bench_stages, describe_environment, write_sample
    from mobilesam.bench.figures import files_of
    from mobilesam.bench.peak import gemm_gflops
    from mobilesam.files import refuse_existing, write_bytes

    stem = out.with_name(out.name.removesuffix(".json")) if out else None
    for path in (out, *files_of(stem)) if out and stem else ():
        refuse_existing(path, force=force)
    model = network.load(threads)
    with tempfile.TemporaryDirectory() as folder:
        image_file = image or Path(folder) / "sample.jpg"
        if image is None:
            write_sample(image_file)
        measured = bench_stages(
            model, image_file, repeats=repeats, warmup=warmup, fast_padding=fast_padding, progress=_progress
        )
    about = {
        "weights_id": model.weights_id,
        "backend": type(model).__name__,
        "device": model.capabilities.device,
        "threads": threads,
        "fast_padding": fast_padding,
    }
    document = {
        "format": measured.pop("format"),
        "model": about,
        "image": image.name if image else "synthetic",
        **measured,
        "gemm_gflops": gemm_gflops(),
        "environment": describe_environment(),
    }
    text = json.dumps(document, indent=2)
    height, width = document["image_hw"]
    title = f"{width} x {height} pixels, {about['backend']} on {about['device']}"
    if out and stem:
        write_bytes(out, text.encode() + b"\n", force=force)
        _plot(stem, title, document["stages"])
    typer.echo(text if as_json else f"{_table(title, document['stages'])}\n{_peak(document['gemm_gflops'])}")


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        typer.echo(f"\r{done} of {total}\r", err=True, nl=False)


def _table(title: str, stages: dict[str, Any]) -> str:
    lines = [f"{title}, ms", f"{'stage':14}{'median':>10}{'q1':>10}{'q3':>10}"]
    for stage, seconds in stages.items():
        lines.append(stage.ljust(14) + "".join(f"{1000 * seconds[key]:10.1f}" for key in ("median", "q1", "q3")))
    return "\n".join(lines)


def _peak(gflops: dict[str, float]) -> str:
    reached = ", ".join(f"{value:.0f} on {count} thread{'s' * (count != '1')}" for count, value in gflops.items())
    return f"GFLOP/s of large matrix products: {reached}"


def _plot(stem: Path, title: str, stages: dict[str, Any]) -> None:
    from mobilesam.bench.stages import plot_stages

    try:
        plot_stages(stem, title, stages)
    except MissingDependencyError as error:
        typer.echo(f"warning: {error}", err=True)


def _compare(before: Path, after: Path, *, as_json: bool) -> None:
    from mobilesam.bench.compare import are_of_different_machines, compare, differences, read_bench

    left, right = read_bench(before), read_bench(after)
    rows, changed = compare(left, right), differences(left, right)
    other_machine = are_of_different_machines(left, right)
    if as_json:
        typer.echo(json.dumps({"stages": rows, "differences": changed, "other_machine": other_machine}, indent=2))
        return
    typer.echo(f"{'stage':14}{'before ms':>10}{'after ms':>10}{'faster':>10}")
    for row in rows:
        numbers = f"{1000 * row['before']:10.1f}{1000 * row['after']:10.1f}{row['ratio']:9.2f}x"
        typer.echo(row["stage"].ljust(14) + numbers)
    for text in changed:
        typer.echo(f"differs: {text}")
    if other_machine:
        typer.echo(
            "The machines or their load differ, so the ratios do not compare versions. Measure both on one machine."
        )
