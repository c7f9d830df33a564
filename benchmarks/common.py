"""What the scripts share: options, runs in turns, and results as JSON.

Workers import this module in the reference's environment, too. So that their memory is that of the package they run,
mobilesam is imported inside functions.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
T = TypeVar("T")


def make_parser(description: str | None, parts: Mapping[str, Any] | None = None) -> argparse.ArgumentParser:
    """Return a parser with --out, described by the first line of a docstring; ``parts`` are what can be measured."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    if parts:
        parser.add_argument("parts", nargs="+", choices=parts, help="kept in the file beside the parts it has already")
    return parser


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """Add the options of images with ground truth."""
    parser.add_argument("--images", type=Path, required=True, help="folder of the annotated images")
    parser.add_argument("--annotations", type=Path, required=True, help="ground truth, COCO JSON")
    parser.add_argument("--limit", type=int, help="the largest number of images")


def annotated_objects(arguments: argparse.Namespace, predictor: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each image of :func:`add_dataset`, set in the predictor, with each of its annotated objects."""
    from mobilesam.evaluate.coco import load_coco, read_instances
    from mobilesam.image.read import read_image

    dataset = load_coco(arguments.annotations, arguments.images, limit=arguments.limit)
    for place, annotated in enumerate(dataset.images, start=1):
        image = read_image(annotated.path)
        predictor.set_image(image)
        instances, _ = read_instances(annotated, (image.shape[0], image.shape[1]), dataset.categories)
        yield from ((image, instance) for instance in instances)
        print(f"{place} of {len(dataset.images)}", flush=True)


def read_result(path: Path) -> dict[str, Any]:
    """Return what an earlier run wrote, or an empty dictionary."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write a result with a description of the environment."""
    write_document(path, {"environment": environment(), **result})


def write_parts(arguments: argparse.Namespace, measure: Callable[[str], dict[str, Any]]) -> None:
    """Measure each of ``arguments.parts`` and put its result, with its environment, into the file."""
    for part in arguments.parts:
        result = {"threads": arguments.threads, "environment": environment(), **measure(part)}
        write_document(arguments.out, {**read_result(arguments.out), part: result})


def environment() -> dict[str, Any]:
    """Return what a measurement depends on: processor, versions, and the speed of matrix products."""
    from mobilesam.bench import describe_environment
    from mobilesam.bench.peak import gemm_gflops

    return {**describe_environment(), "gemm_gflops": gemm_gflops()}


def write_document(path: Path, document: dict[str, Any]) -> None:
    """Write JSON to a file."""
    path.write_text(json.dumps(document, indent=2, default=float) + "\n", encoding="utf-8")


def write_learned(path: Path, form: str, arrays: Mapping[str, Any]) -> int:
    """Write what was learned on masks of the published weights as :class:`mobilesam.learned.LearnedFile` reads it.

    Print its digest, and return its size.
    """
    import numpy as np

    import mobilesam

    ids = np.array([mobilesam.load(backend="onnx").weights_id])
    np.savez_compressed(path, format=np.array(form), weights_ids=ids, **arrays)
    print("SHA256 =", hashlib.sha256(path.read_bytes()).hexdigest())
    return path.stat().st_size


def in_turns(
    runs: Mapping[str, Callable[[int], T]], turns: int, *, warmup: int = 0, rotate: bool = False
) -> dict[str, list[T]]:
    """Return what each run gives in each turn: A B C A B C, so that any other load of the machine falls on all.

    Args:
        runs: each is called with the number of the turn, which is negative in the warm-up.
        warmup: turns before that are not returned.
        rotate: begin each turn with the next run: A B C B C A.
    """
    results: dict[str, list[T]] = {name: [] for name in runs}
    names = list(runs)
    for turn in range(-warmup, turns):
        first = turn % len(names) if rotate else 0
        for name in names[first:] + names[:first]:
            result = runs[name](turn)
            if turn >= 0:
                results[name].append(result)
    return results


def write_sized(folder: Path, megapixels: float) -> Path:
    """Write a synthetic 4:3 image of so many megapixels into a folder and return its path."""
    from mobilesam.bench import write_sample

    path = folder / f"{megapixels}.png"
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    write_sample(path, (height, round(height * 4 / 3)))
    return path
