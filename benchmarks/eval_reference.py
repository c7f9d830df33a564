"""The protocol of ``mobilesam eval``, by the same code, on the reference package.

    python -m benchmarks.eval_reference --images DIR --annotations FILE --out benchmarks/results/eval_reference.json

It starts itself again in the reference's environment, where ``mobilesam.evaluate`` drives ``mobile_sam.SamPredictor``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import packages
from benchmarks.common import add_dataset, make_parser, write_result

RUNS_INSIDE = "--inside"


def timed(watch: Any, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that does the same and adds its time to a stage."""

    def run(*arguments: Any, **options: Any) -> Any:
        with watch.measure(stage):
            return call(*arguments, **options)

    return run


def run_inside(arguments: argparse.Namespace) -> None:
    """Evaluate the reference, in an interpreter that has it."""
    from mobilesam.bench.timing import Stopwatch
    from mobilesam.evaluate.coco import load_coco
    from mobilesam.evaluate.journal import Journal
    from mobilesam.evaluate.report import summarize, to_markdown
    from mobilesam.evaluate.runner import Settings, measure, parse_prompts, settings_record

    predictor = packages.load_predictor(packages.REFERENCE, arguments.checkpoint, arguments.threads)
    watch, sam = Stopwatch(), predictor.model
    sam.image_encoder.forward = timed(watch, "encode", sam.image_encoder.forward)
    sam.prompt_encoder.forward = timed(watch, "decode", sam.prompt_encoder.forward)
    sam.mask_decoder.forward = timed(watch, "decode", sam.mask_decoder.forward)
    settings = Settings(parse_prompts(arguments.prompts), all_masks=arguments.all_masks)
    dataset = load_coco(arguments.annotations, arguments.images, limit=arguments.limit)
    about = {
        "format": "mobilesam-eval-1",
        "annotations_sha256": dataset.digest,
        "settings": settings_record(settings),
        "model": {"backend": "mobilesam-mirror", "device": "cpu"},
    }
    journal = None
    if arguments.records:
        journal = Journal.open(arguments.records, about, resume=arguments.records.exists())
    records = measure(
        predictor,
        dataset,
        settings,
        watch=watch,
        journal=journal,
        progress=lambda done, total, name: print(f"\r{done} of {total} {name:60}", end="", file=sys.stderr),
    )
    print(file=sys.stderr)
    summary = summarize(records, settings)
    write_result(arguments.out, {**about, "format": "mobilesam-eval-2", "summary": summary})
    print(to_markdown(summary), end="")


def main() -> None:
    """Parse the options; run here or in the reference's environment."""
    parser = make_parser(__doc__)
    packages.add_arguments(parser)
    add_dataset(parser)
    parser.add_argument("--prompts", default="box,point,clicks")
    parser.add_argument("--all-masks", action="store_true")
    parser.add_argument("--records", type=Path, help="journal of single results; an existing one is resumed")
    parser.add_argument(RUNS_INSIDE, action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        run_inside(arguments)
        return
    python, weights = packages.interpreter(arguments), packages.checkpoint(arguments)
    command = [python, "-m", "benchmarks.eval_reference", RUNS_INSIDE, *sys.argv[1:], "--checkpoint", weights]
    raise SystemExit(subprocess.run(command, env=packages.environment(arguments.threads)).returncode)


if __name__ == "__main__":
    main()
