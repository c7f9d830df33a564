"""This package and the reference, PyPI ``mobilesam-mirror``, which has a virtual environment of its own.

The predictors run in either environment, so the packages are imported inside functions.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import venv
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import ROOT

REFERENCE, OURS, OURS_ONNX = "mobile_sam", "mobilesam", "mobilesam-onnx"
OPENVINO, OPENVINO_BFLOAT16 = "mobilesam-openvino", "mobilesam-openvino-bfloat16"
# The arguments of mobilesam.load.
_LOADING = {
    OURS: {"backend": "torch"},
    OURS_ONNX: {"backend": "onnx"},
    OPENVINO: {"backend": "openvino"},
    OPENVINO_BFLOAT16: {"backend": "openvino", "precision": "bfloat16"},
}
_REFERENCE_PACKAGE = "mobilesam-mirror==1.0.0"
# What it imports and does not declare, and what this package imports in the same environment.
_UNDECLARED = ("torch", "torchvision", "timm", "numpy", "opencv-python-headless", "pillow")
_UNDECLARED += ("safetensors", "platformdirs", "pycocotools", "onnx", "onnxruntime", "openvino")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the scripts that run packages in processes of their own."""
    parser.add_argument("--reference-python", type=Path, help="an interpreter that has the reference installed")
    parser.add_argument("--reference-env", type=Path, default=ROOT / ".venv-reference", help="created otherwise")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads of each package")
    parser.add_argument("--checkpoint", type=Path, help="weights in safetensors; by default those of mobilesam")


def interpreter(arguments: argparse.Namespace) -> Path:
    """Return the reference's Python; create its environment first if there is none."""
    if arguments.reference_python:
        return arguments.reference_python
    folder = arguments.reference_env
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (folder / "ready").exists():
        print(f"installing {_REFERENCE_PACKAGE} into {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        command = [python, "-m", "pip", "install", "--quiet", _REFERENCE_PACKAGE, *_UNDECLARED]
        subprocess.run(command, stdout=sys.stderr, check=True)
        (folder / "ready").touch()
    return python


def checkpoint(arguments: argparse.Namespace) -> Path:
    """Return the weights that both packages load."""
    from mobilesam import weights

    return arguments.checkpoint or weights.ensure()


def environment(threads: int | None = None) -> dict[str, str]:
    """Return the environment variables of a process that imports this checkout and uses so many threads."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    limits = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)} if threads else {}
    return {**os.environ, "PYTHONPATH": path, **limits}


def versions(python: Path, packages: list[str]) -> dict[str, str | None]:
    """Return the installed versions of packages in an interpreter."""
    code = (
        "import importlib.metadata as m, json, sys\n"
        "versions = {d.metadata['Name'].lower(): d.version for d in m.distributions()}\n"
        "print(json.dumps({name: versions.get(name) for name in sys.argv[1:]}))"
    )
    result = subprocess.run([python, "-c", code, *packages], capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


def load_predictor(package: str, weights: Path, threads: int) -> Any:
    """Return a SamPredictor of a package, with the weights loaded, on the CPU."""
    if package == REFERENCE:
        return _load_reference(weights, threads)
    import mobilesam

    return mobilesam.SamPredictor(mobilesam.load(weights, device="cpu", threads=threads, **_LOADING[package]))


def generator_class(predictor: Any) -> Any:
    """Return the SamAutomaticMaskGenerator of the package that a predictor is of."""
    if _is_reference(predictor):
        from mobile_sam import SamAutomaticMaskGenerator
    else:
        from mobilesam import SamAutomaticMaskGenerator
    return SamAutomaticMaskGenerator


def predict_boxes(predictor: Any, boxes: np.ndarray) -> Any:
    """Segment many boxes of one image at once, one mask each, as each package documents it; masks in NumPy."""
    if not _is_reference(predictor):
        return predictor.predict(box=boxes, multimask_output=False).masks
    import torch

    boxes = predictor.transform.apply_boxes_torch(torch.as_tensor(boxes), predictor.original_size)
    return predictor.predict_torch(None, None, boxes, multimask_output=False)[0].cpu().numpy()


def predict_points(predictor: Any, points: np.ndarray) -> Any:
    """Segment many single points of one image at once, three masks each."""
    if not _is_reference(predictor):
        labels = np.ones((len(points), 1), dtype=np.int64)
        return predictor.predict(points[:, None, :], labels, multimask_output=True).masks
    import torch

    coords = predictor.transform.apply_coords_torch(torch.as_tensor(points)[:, None, :], predictor.original_size)
    labels = torch.ones(len(points), 1, dtype=torch.int)
    return predictor.predict_torch(coords, labels, None, multimask_output=True)[0].cpu().numpy()


def _is_reference(predictor: Any) -> bool:
    return type(predictor).__module__.startswith(REFERENCE)


def _load_reference(weights: Path, threads: int) -> Any:
    warnings.simplefilter("ignore")  # it registers its models over timm's
    import torch
    from mobile_sam import SamPredictor, sam_model_registry
    from safetensors.torch import load_file

    torch.set_num_threads(threads)
    sam = sam_model_registry["vit_t"]()
    sam.load_state_dict(load_file(weights), strict=True)
    sam.eval()  # again, after loading: its attention biases are cached by eval() and would stay zero
    return SamPredictor(sam)
