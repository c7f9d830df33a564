"""Other programs for MobileSAM against the reference: A B C A B C, ratios turn by turn, and the IoU of their masks.

python -m benchmarks.rivals --image PHOTO --out benchmarks/results/rivals.json --reference-python PYTHON

The interpreter also has samexporter, segment-anything, openvino and ultralytics, which are only run, as their documents
say. samexporter and OpenVINO take a thread for each core.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import packages, worker
from benchmarks.common import make_parser, write_result
from benchmarks.packages import OURS_ONNX, REFERENCE
from benchmarks.side_by_side import VERSIONS, compare

SAMEXPORTER, ULTRALYTICS = "samexporter", "ultralytics"
OPENVINO, OPENVINO_FLOAT32 = "openvino", "openvino-float32"
CHECKPOINT, ENCODER, DECODER = "mobile_sam.pt", "encoder.onnx", "decoder.onnx"  # in the folder of the weights
CLICK = {"x": 0.5, "y": 0.5}
TURNS = {"set_image": 12, "click": 30}


class Exported:
    """The class of samexporter with its files on ONNX Runtime; they give the best scored mask of three alone."""

    def __init__(self, folder: Path, threads: int) -> None:
        from samexporter.sam_onnx import SegmentAnythingONNX

        self.model = SegmentAnythingONNX(str(folder / ENCODER), str(folder / DECODER))
        self.precision = "f32"

    def set_image(self, image: np.ndarray) -> None:
        self.embedding = self.model.encode(np.ascontiguousarray(image[..., ::-1]))

    def predict(self, points: np.ndarray, labels: np.ndarray, multimask_output: bool) -> Any:
        marks = [{"type": "point", "data": list(points[0]), "label": int(labels[0])}]
        return self.model.predict_masks(self.embedding, marks)[0] > 0, np.ones(1), None


class Converted(Exported):
    """The same class with the same files, converted by OpenVINO without options."""

    def __init__(self, folder: Path, threads: int, **options: str) -> None:
        import openvino

        super().__init__(folder, threads)
        networks = [openvino.convert_model(folder / name) for name in (ENCODER, DECODER)]
        compiled = [openvino.compile_model(network, "CPU", options) for network in networks]
        self.model.encoder_session, self.model.decoder_session = map(_Session, compiled)
        self.precision = compiled[0].get_property("INFERENCE_PRECISION_HINT").get_type_name()


class _Session:
    """A network of OpenVINO with the method of ONNX Runtime's session that samexporter calls."""

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled

    def run(self, names: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        return list(self.compiled(inputs).values())


class Ultralytics:
    def __init__(self, folder: Path, threads: int) -> None:
        import torch
        from ultralytics.models.sam import Predictor

        options = {"model": str(folder / CHECKPOINT), "imgsz": 1024, "device": "cpu", "save": False, "verbose": False}
        self.predictor = Predictor(overrides=options)
        self.predictor.setup_model(verbose=False)
        torch.set_num_threads(threads)  # afterwards, since it leaves a core to others
        self.precision = "f32"

    def set_image(self, image: np.ndarray) -> None:
        self.predictor.set_image(np.ascontiguousarray(image[..., ::-1]))

    def predict(self, points: np.ndarray, labels: np.ndarray, multimask_output: bool) -> Any:
        (result,) = self.predictor(points=points, labels=labels, multimask_output=multimask_output)
        return result.masks.data.numpy(), result.boxes.conf.numpy(), None


RIVALS: dict[str, Callable[[Path, int], Any]] = {
    SAMEXPORTER: Exported,
    OPENVINO: Converted,  # its own choice of precision
    OPENVINO_FLOAT32: functools.partial(Converted, INFERENCE_PRECISION_HINT="f32"),
    ULTRALYTICS: Ultralytics,
}


class RivalWorker(worker.Worker):
    """The tasks of a worker, for the rivals too."""

    def load(self, package: str, weights: str, threads: int) -> None:
        if package not in RIVALS:
            super().load(package, weights, threads)
            return
        with self.timed():
            self.predictor = RIVALS[package](Path(weights).parent, threads)

    def best_mask(self) -> dict[str, Any]:
        """Return the best scored mask of the last click as COCO "rle", the number of "masks", and the "precision"."""
        from pycocotools import mask as coco_mask

        masks, scores, _ = self.candidates
        rle = coco_mask.encode(np.asfortranarray(masks[int(np.argmax(scores))], dtype=np.uint8))
        precision = getattr(self.predictor, "precision", "f32")
        return {"rle": {**rle, "counts": rle["counts"].decode()}, "masks": len(masks), "precision": precision}


def start(python: Path, package: str, weights: Path, threads: int) -> worker.Process:
    """Start a process with a :class:`RivalWorker`."""
    offline = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_CONFIG_DIR": str(weights.parent)}
    command = ("-m", "benchmarks.rivals", "--worker")
    return worker.Process(python, package, weights, threads, command, offline)


@contextlib.contextmanager
def weights_and_files(python: Path, checkpoint: Path) -> Iterator[Path]:
    """Yield the weights in a temporary folder, with the checkpoint and the files of samexporter's exporter."""
    import torch
    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / checkpoint.name).symlink_to(checkpoint.resolve())
        torch.save(load_file(checkpoint), folder / CHECKPOINT)
        for part, option in (("encoder", "--use-preprocess"), ("decoder", "--return-single-mask")):
            command = [python, "-W", "ignore", "-m", f"samexporter.export_{part}", "--model-type", "mobile", option]
            command += ["--checkpoint", folder / CHECKPOINT, "--output", folder / f"{part}.onnx"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        yield folder / checkpoint.name


def main() -> None:
    """Compare, print the results, and write the JSON."""
    if sys.argv[1:] == ["--worker"]:
        worker.main(RivalWorker)
        return
    parser = make_parser(__doc__)
    packages.add_arguments(parser)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--turns", type=float, default=1.0, help="factor for the number of turns")
    arguments = parser.parse_args()
    if arguments.threads != os.cpu_count():
        parser.error("samexporter and OpenVINO take a thread for each core, so --threads must be their number.")
    from pycocotools import mask as coco_mask

    python = packages.interpreter(arguments)
    with weights_and_files(python, packages.checkpoint(arguments)) as weights, contextlib.ExitStack() as stack:
        processes = {
            package: stack.enter_context(start(python, package, weights, arguments.threads))
            for package in (OURS_ONNX, *RIVALS, REFERENCE)
        }
        for process in processes.values():
            process.run("open", photo=str(arguments.image.resolve()))
        tasks = [
            compare(processes, task, CLICK if task == "click" else {}, max(2, round(turns * arguments.turns)))
            for task, turns in TURNS.items()
        ]
        bests = {package: process.run("best_mask") for package, process in processes.items()}
    load = os.getloadavg()  # of other programs too
    reference = bests[REFERENCE]["rle"]
    masks = {
        package: {
            "masks": best["masks"],
            "precision": best["precision"],
            "iou": float(coco_mask.iou([best["rle"]], [reference], [0])[0, 0]),
        }
        for package, best in bests.items()
    }
    result = {
        "format": "rivals-1",
        "order": list(processes),
        "threads": arguments.threads,
        "load": load,
        "image": arguments.image.name,
        "versions": packages.versions(python, [*VERSIONS, "samexporter", "segment-anything", "ultralytics"]),
        "tasks": tasks,
        "click": masks,
    }
    write_result(arguments.out, result)
    for task in tasks:
        print(task["task"], f"reference {task['reference']:.4f} s", task["packages"])
    print(masks)


if __name__ == "__main__":
    main()
