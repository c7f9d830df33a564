"""The boxes of a detector: ``mobilesam batch`` and ``segment_many`` against a plain loop of the reference.

python -m benchmarks.detections --images DIR --annotations FILE --out benchmarks/results/detections.json

The images are used again, mirrored or not, until there are enough. The boxes are those of the annotations, moved a
little as a detector's are. The three run in turns on parts of the images, each in a process of its own, loading
included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from benchmarks import packages
from benchmarks.common import ROOT, add_dataset, in_turns, make_parser, write_result

_FORMATS = "coco,yolo,labelme,parquet"
_MOVED = 0.05  # of the side of a box, the standard deviation


def make_part(arguments: argparse.Namespace, folder: Path, part: int) -> None:
    """Write the images of a part, their dataset.json, and the boxes as detections.json."""
    document = json.loads(arguments.annotations.read_text(encoding="utf-8"))
    by_image: dict[Any, list[dict[str, Any]]] = {}
    for annotation in document["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    sources = [image for image in document["images"] if image["id"] in by_image]
    random = np.random.default_rng(part)
    (folder / "images").mkdir(parents=True)
    images: list[dict[str, Any]] = []
    detections: list[dict[str, Any]] = []
    for number in range(part, arguments.count, arguments.turns):
        source, mirrored = sources[number % len(sources)], number // len(sources) % 2 == 1
        photo = Image.open(arguments.images / source["file_name"]).convert("RGB")
        name = f"{number:06}.jpg"
        (ImageOps.mirror(photo) if mirrored else photo).save(folder / "images" / name, quality=92)
        images.append({"id": number, "file_name": name, "width": photo.width, "height": photo.height})
        annotated = by_image[source["id"]]
        for place in range(arguments.boxes // arguments.count):
            annotation = annotated[place % len(annotated)]
            x, y, width, height = annotation["bbox"]
            sides = np.array([width, height] * 2) * random.normal(0, _MOVED, 4)
            x1, y1, x2, y2 = np.array([x, y, x + width, y + height]) + sides
            if mirrored:
                x1, x2 = photo.width - x2, photo.width - x1
            bbox = [round(float(value), 2) for value in (x1, y1, x2 - x1, y2 - y1)]
            about = {"image_id": number, "category_id": annotation["category_id"], "id": len(detections)}
            detections.append({**about, "bbox": bbox, "score": round(float(random.uniform(0.3, 1)), 4)})
    dataset = {"images": images, "annotations": [], "categories": document["categories"]}
    (folder / "dataset.json").write_text(json.dumps(dataset))
    (folder / "detections.json").write_text(json.dumps(detections))


def timed(command: list[Any], threads: int) -> float:
    """Run a command and return its seconds."""
    start = time.perf_counter()
    environment = packages.environment(threads)
    subprocess.run([*map(str, command)], check=True, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def segment_part(folder: Path, out: Path) -> None:
    """Segment a part with ``segment_many``, as a script would that gets the boxes from a detector."""
    import mobilesam
    from mobilesam.batch import read_prompts_or_coco
    from mobilesam.masks.rle import coco_encode_rle

    prompts = read_prompts_or_coco(folder / "detections.json", folder / "dataset.json")
    results = [
        {"id": record["detection_id"], "segmentation": coco_encode_rle(record["segmentation"])}
        for image in mobilesam.segment_many(sorted((folder / "images").iterdir()), prompts)
        for record in image.records
    ]
    out.write_text(json.dumps(results))


def ious(folder: Path, out: Path) -> list[float]:
    """Return the IoU of each mask of the batch with that of the reference."""
    reference = {each["id"]: each for each in json.loads((folder / "reference.json").read_text())}
    coco = json.loads((out / "coco.json").read_text())
    masks = {each["detection_id"]: each["segmentation"] for each in coco["annotations"]}
    assert masks.keys() == reference.keys(), "a detection has no mask"
    return [
        float(coco_mask.iou([masks[key]], [reference[key]["segmentation"]], [0])[0, 0]) for key in sorted(reference)
    ]


def read_back(folder: Path, out: Path) -> dict[str, int]:
    """Return how many detections have their label and score in each format, by the readers of those formats."""
    names = {each["id"]: each["name"] for each in json.loads((folder / "dataset.json").read_text())["categories"]}
    detections = json.loads((folder / "detections.json").read_text())
    expected = {each["id"]: (names[each["category_id"]], each["score"]) for each in detections}
    coco = COCO(str(out / "coco.json"))
    categories = {each["id"]: each["name"] for each in coco.loadCats(coco.getCatIds())}
    in_coco = {
        each["detection_id"]: (categories[each["category_id"]], each["score"])
        for each in coco.loadAnns(coco.getAnnIds())
    }
    rows = pyarrow.parquet.read_table(out / "masks.parquet").to_pylist()
    in_parquet = {int(row["detection_id"]): (row["label"], row["score"]) for row in rows if row["mask_id"]}
    in_labelme = {}
    for path in out.glob("*.json"):
        for shape in json.loads(path.read_text()).get("shapes", []):
            about = dict(line.split(" ", 1) for line in shape["description"].splitlines() if " " in line)
            in_labelme[int(about["detection_id"])] = shape["label"], float(about["score"])
    classes = [line.split(":", 1) for line in (out / "data.yaml").read_text().splitlines() if line[:2] == "  "]
    yolo = {int(number): json.loads(name) for number, name in classes}
    written = [label for path in sorted(out.glob("*.txt")) for label in sorted(_yolo_labels(path, yolo))]
    of_image: dict[int, list[str]] = {}
    for each in detections:
        of_image.setdefault(each["image_id"], []).append(names[each["category_id"]])
    wanted = [label for number in sorted(of_image) for label in sorted(of_image[number])]
    return {
        "detections": len(expected),
        **{
            name: sum(read.get(key) == value for key, value in expected.items())
            for name, read in (("coco", in_coco), ("parquet", in_parquet), ("labelme", in_labelme))
        },
        "yolo": sum(one == other for one, other in zip(written, wanted, strict=True)),
    }


def _yolo_labels(path: Path, names: dict[int, str]) -> list[str]:
    return [names[int(line.split()[0])] for line in path.read_text().splitlines()]


def main() -> None:
    """Measure and write the JSON."""
    if sys.argv[1:2] == ["--segment"]:
        segment_part(*map(Path, sys.argv[2:]))
        return
    parser = make_parser(__doc__)
    add_dataset(parser)
    packages.add_arguments(parser)
    parser.add_argument("--count", type=int, default=500, help="images")
    parser.add_argument("--boxes", type=int, default=3000, help="boxes of all images")
    parser.add_argument("--turns", type=int, default=5, help="into which the images are divided")
    parser.add_argument("--scratch", type=Path, help="folder for the images; by default a temporary one")
    arguments = parser.parse_args()
    threads, python = arguments.threads, packages.interpreter(arguments)
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        parts = [Path(scratch) / f"part-{turn}" for turn in range(arguments.turns)]
        for turn, part in enumerate(parts):
            make_part(arguments, part, turn)
        import torch
        from safetensors.torch import load_file

        checkpoint = Path(scratch) / "mobile_sam.pt"
        torch.save(load_file(packages.checkpoint(arguments)), checkpoint)
        script = ROOT / "benchmarks/reference_scripts/detections.py"

        def reference(part: Path) -> list[Any]:
            files = [part / "images", part / "dataset.json", part / "detections.json", part / "reference.json"]
            return [python, "-W", "ignore", script, checkpoint, *files]

        def batch(part: Path) -> list[Any]:
            options = ["--prompts", part / "detections.json", "--dataset", part / "dataset.json"]
            options += ["--format", _FORMATS, "--out", part / "out"]
            return [sys.executable, "-m", "mobilesam", "batch", part / "images", *options]

        def many(part: Path) -> list[Any]:
            return [sys.executable, "-m", "benchmarks.detections", "--segment", part, part / "many.json"]

        commands: dict[str, Callable[[Path], list[Any]]] = {
            "mobilesam-mirror, plain loop": reference,
            "mobilesam batch": batch,
            "segment_many": many,
        }
        runs = {
            name: lambda turn, command=command: timed(command(parts[turn]), threads)
            for name, command in commands.items()
        }
        seconds = in_turns(runs, arguments.turns, rotate=True)
        equal = [iou for part in parts for iou in ious(part, part / "out")]
        back = [read_back(part, part / "out") for part in parts]
        plain = seconds["mobilesam-mirror, plain loop"]
        rows = [
            {
                "name": name,
                "seconds": sum(turns),
                "times": sum(plain) / sum(turns),
                "ratios": sorted(one / other for one, other in zip(plain, turns, strict=True)),
            }
            for name, turns in seconds.items()
        ]
        result = {
            "threads": threads,
            "images": arguments.count,
            "boxes": len(equal),
            "reference": packages.versions(python, ["mobilesam-mirror", "torch"]),
            "rows": rows,
            "iou": {"median": statistics.median(equal), "lowest": min(equal), "equal": sum(iou == 1 for iou in equal)},
            "read_back": {key: sum(part[key] for part in back) for key in back[0]},
        }
    write_result(arguments.out, result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
