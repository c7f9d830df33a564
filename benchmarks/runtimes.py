"""Exports for every runtime and precision: accuracy against ground truth, size, and time beside ONNX Runtime.

python -m benchmarks.runtimes accuracy DIR ... --images DIR --annotations FILE --out benchmarks/results/runtimes.json
python -m benchmarks.runtimes time DIR ... --out benchmarks/results/runtimes.json

The folders are exports, of the same weights; the first one of a timing is of ONNX. Each part is kept beside the other,
and the accuracy of a folder beside those of others. One environment has to have all runtimes that are named.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import mobilesam
from benchmarks.common import environment, make_parser, read_result, write_document
from mobilesam.evaluate import Settings, evaluate, load_coco
from mobilesam.export.cases import synthetic_image
from mobilesam.loading import find_export
from mobilesam.onnx import fixed_folder, metadata, recognition
from mobilesam.versions import installed_version

KINDS = ("box", "point")
_PAIR = ("encoder", "decoder")  # what an app with clicks and boxes needs


def main() -> None:
    """Measure one part, and write the JSON."""
    parser = make_parser(__doc__)
    parser.add_argument("part", choices=("accuracy", "time"))
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--images", type=Path, help="folder of the annotated images")
    parser.add_argument("--annotations", type=Path, help="ground truth, COCO JSON")
    parser.add_argument("--limit", type=int, help="the largest number of images")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5, help="of the timing; the folders take turns")
    arguments = parser.parse_args()
    for folder in arguments.folders:
        measured = _times(arguments) if arguments.part == "time" else {_label(folder): _accuracy(folder, arguments)}
        result = read_result(arguments.out)
        kept = result.get(arguments.part, {}) if arguments.part == "accuracy" else {}
        write_document(arguments.out, {**result, arguments.part: {**kept, **measured}})
        if arguments.part == "time":
            break


def _label(folder: Path) -> str:
    runtime = fixed_folder.runtime_of(folder)
    if runtime is None:
        return f"onnx {metadata.of(recognition.read(folder / 'encoder.onnx'))['precision']}"
    return f"{runtime} {fixed_folder.read(folder, runtime).metadata['precision']}"


def _size(folder: Path) -> int:
    """Return the bytes of the files of the encoder and of the decoder for one prompt."""
    return sum(path.stat().st_size for role in _PAIR for path in folder.glob(f"{role}.*"))


def _accuracy(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    dataset = load_coco(arguments.annotations, arguments.images, limit=arguments.limit)
    measured = evaluate(mobilesam.load(folder, threads=arguments.threads), dataset, Settings(prompts=KINDS))
    result = {kind: measured.mean_iou(kind) for kind in KINDS}
    print(_label(folder), result, flush=True)
    return {**result, "images": len(dataset.images), "bytes": _size(folder), "environment": _environment()}


def _times(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the medians of the seconds of an encoding and of a click, for folders that take turns."""
    image = synthetic_image("landscape")
    point = [[image.shape[1] / 2, image.shape[0] / 2]]
    predictors = {}
    for folder in arguments.folders:
        assert find_export(folder), f"{folder} is not an export"
        predictors[_label(folder)] = mobilesam.SamPredictor(mobilesam.load(folder, threads=arguments.threads))
    taken: dict[str, dict[str, list[float]]] = {name: {"set_image": [], "click": []} for name in predictors}
    for turn in range(arguments.turns + 1):
        for name, predictor in predictors.items():
            start = time.perf_counter()
            predictor.set_image(image)
            encoded = time.perf_counter()
            predictor.predict(point, [1])  # prepares what clicks on an image share
            prepared = time.perf_counter()
            predictor.predict(point, [1])
            if turn:  # the first one is for caches and first allocations
                taken[name]["set_image"].append(encoded - start)
                taken[name]["click"].append(time.perf_counter() - prepared)
    medians = {name: {stage: statistics.median(each) for stage, each in rows.items()} for name, rows in taken.items()}
    print(medians, flush=True)
    about = {"threads": arguments.threads, "turns": arguments.turns, "environment": _environment()}
    return {**about, "seconds": medians}


def _environment() -> dict[str, Any]:
    described = environment()
    versions = {name: installed_version(name) for name in ("ai-edge-litert", "ncnn", "openvino")}
    return {**described, "versions": {**described["versions"], **versions}}


if __name__ == "__main__":
    main()
