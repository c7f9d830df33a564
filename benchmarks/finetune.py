"""Train on annotated images with ``mobilesam finetune``, and measure the result on other images.

python -m benchmarks.finetune --train DIR --test DIR --work DIR --out benchmarks/results/finetune.json facades nuclei

Each DIR contains images/ and instances.json, whose images have a ``domain``. The runs are the names in RUNS; their
results are kept in the file beside those that it has. Weights and embeddings stay in --work.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import mobilesam
from benchmarks.common import make_parser, write_parts
from mobilesam.arrays import UInt8Array
from mobilesam.evaluate import Settings, evaluate
from mobilesam.evaluate.coco import load_coco
from mobilesam.image.read import image_digest
from mobilesam.model import Embedding, MaskModel, Wrapped

DOMAINS = {"facades": "building_facade", "nuclei": "microscopy_nuclei_fluo", "everyday": "everyday_photo"}
# The domains to train on, the number of objects (None for all), and further options.
RUNS: dict[str, tuple[tuple[str, ...], int | None, tuple[str, ...]]] = {
    "facades": (("facades",), None, ()),
    "nuclei": (("nuclei",), None, ()),
    "both": (("facades", "nuclei"), None, ()),
    "lora": (("facades",), None, ("--lora", "8")),
    "neck": (("facades",), None, ("--neck",)),
    "views": (("facades",), None, ("--views", "3")),
    "keep": (("facades",), None, ("--keep", "KEEP")),
    "nuclei-keep": (("nuclei",), None, ("--keep", "KEEP")),
    "no-distill": (("facades",), None, ("--no-distill",)),
    "nuclei-no-distill": (("nuclei",), None, ("--no-distill",)),
    **{f"facades-{count}": (("facades",), count, ()) for count in (5, 10, 20, 100)},
    **{f"nuclei-{count}": (("nuclei",), count, ()) for count in (10,)},
}


def write_subset(train: Path, domains: tuple[str, ...], objects: int | None, path: Path) -> dict[str, int]:
    """Write the annotations of some domains, or of the first objects of their images in random order."""
    content = json.loads((train / "instances.json").read_text(encoding="utf-8"))
    wanted = {DOMAINS[domain] for domain in domains}
    images = [image for image in content["images"] if image["domain"] in wanted]
    images = [images[place] for place in np.random.default_rng(0).permutation(len(images))]
    kept_images, kept = [], []
    for image in images:
        own = [each for each in content["annotations"] if each["image_id"] == image["id"]]
        own = own if objects is None else own[: objects - len(kept)]
        if own:
            kept_images.append(image)
            kept += own
    path.write_text(json.dumps({**content, "images": kept_images, "annotations": kept}), encoding="utf-8")
    return {"images": len(kept_images), "objects": len(kept)}


def link_photos(arguments: argparse.Namespace) -> str:
    """Return a folder of the everyday photos to train on, for ``--keep``."""
    folder: Path = arguments.work / "everyday"
    folder.mkdir(exist_ok=True)
    for image in json.loads((arguments.train / "instances.json").read_text(encoding="utf-8"))["images"]:
        if image["domain"] == DOMAINS["everyday"]:
            link = folder / Path(image["file_name"]).name
            link.unlink(missing_ok=True)
            link.symlink_to((arguments.train / "images" / image["file_name"]).resolve())
    return str(folder)


class SameEncoder(Wrapped):
    """A model whose encoder is that of another one, which encodes each image once for both."""

    def __init__(self, model: MaskModel, original: MaskModel, known: dict[str, Embedding]) -> None:
        super().__init__(model)
        self._original, self._known = original, known

    def encode(self, image: UInt8Array, *, fast_padding: bool = False) -> Embedding:
        digest = image_digest(image)
        if digest not in self._known:
            self._known[digest] = self._original.encode(image, fast_padding=fast_padding)
        return self._known[digest]


class Tests:
    """The images to measure on, and the figures of the original model, which are measured once."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._folder, self._threads = folder, threads
        self._original = mobilesam.load(threads=threads)
        self._embeddings: dict[str, Embedding] = {}
        self._before: dict[tuple[str, bool], dict[str, float]] = {}

    def before(self, domain: str, *, clicks: bool) -> dict[str, float]:
        """Return the figures of the original model."""
        if (domain, clicks) not in self._before:
            model = SameEncoder(self._original, self._original, self._embeddings)
            self._before[domain, clicks] = measure(model, self._folder, domain, clicks=clicks)
        return self._before[domain, clicks]

    def after(self, checkpoint: Path, domain: str, *, clicks: bool, same_encoder: bool) -> dict[str, float]:
        """Return the figures of a trained checkpoint; ``same_encoder``: whether its encoder is the original one."""
        model = mobilesam.load(checkpoint, threads=self._threads)
        if same_encoder:
            model = SameEncoder(model, self._original, self._embeddings)
        return measure(model, self._folder, domain, clicks=clicks)


def measure(model: Any, test: Path, domain: str, *, clicks: bool) -> dict[str, float]:
    """Return the figures of a model on the test images of a domain."""
    dataset = load_coco(test / "instances.json", test / "images")
    images = tuple(image for image in dataset.images if image.domain == DOMAINS[domain])
    kinds = ("box", "point", "clicks") if clicks else ("box", "point")
    result = evaluate(model, dataset.__class__(images, dataset.categories, dataset.digest), Settings(kinds))
    prompts = result.summary["prompts"]
    points = [instance["point"] for record in result.records for instance in record["instances"]]
    figures = {
        "objects": len(points),
        "box": prompts["box"]["mean_iou"],
        "point": prompts["point"]["mean_iou"],
        "best": float(np.mean([max(each["ious"][1:]) for each in points])),
        "error": float(np.mean([abs(each["predicted"][each["chosen"]] - each["iou"]) for each in points])),
    }
    if clicks:
        figures["noc_90"] = prompts["clicks"]["noc"]["90"]
    return figures


def run(name: str, arguments: argparse.Namespace, tests: Tests) -> dict[str, Any]:
    """Train, and measure before and after."""
    domains, objects, options = RUNS[name]
    annotations, out = arguments.work / f"{name}.json", arguments.work / f"{name}.pt"
    data = write_subset(arguments.train, domains, objects, annotations)
    options = tuple(link_photos(arguments) if each == "KEEP" else each for each in options)
    command = [sys.executable, "-m", "mobilesam", "finetune", "--images", arguments.train / "images", "--annotations",
               annotations, "--out", out, "--force", "--threads", arguments.threads, *options]  # fmt: skip
    if arguments.embeddings and "--neck" not in options:
        command += ["--embeddings", arguments.embeddings]
    started = time.monotonic()
    process = subprocess.Popen([*map(str, command)])
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    if code := os.waitstatus_to_exitcode(status):
        raise SystemExit(code)
    report = json.loads((out.with_suffix(".finetune") / "report.json").read_text(encoding="utf-8"))
    row = {}
    for domain in (*domains, "everyday"):
        clicks = domain != "everyday" and (objects in (None, 10)) and not options
        row[domain] = {
            "before": tests.before(domain, clicks=clicks),
            "after": tests.after(out, domain, clicks=clicks, same_encoder="--neck" not in options),
        }
        print(name, domain, row[domain], flush=True)
    about = {key: report[key] for key in ("images", "objects", "steps", "stopped", "settings", "seconds", "choosers")}
    return {
        "data": data,
        "options": list(RUNS[name][2]),
        "wall": seconds,
        "peak": usage.ru_maxrss * 1024,
        "about": about,
        "domains": row,
    }


def main() -> None:
    """Run what is named."""
    parser = make_parser(__doc__, RUNS)
    parser.add_argument("--train", type=Path, required=True, help="folder of the images to train on")
    parser.add_argument("--test", type=Path, required=True, help="folder of the images to measure on")
    parser.add_argument("--work", type=Path, required=True, help="folder for weights and embeddings")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch and ONNX Runtime")
    parser.add_argument("--embeddings", type=Path, help="folder of embeddings that the runs share; their time is less")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    tests = Tests(arguments.test, arguments.threads)
    write_parts(arguments, lambda name: run(name, arguments, tests))


if __name__ == "__main__":
    main()
