"""The two packages behind one face. Runs in either's environment, so it imports them inside functions."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

REFERENCE, OURS, OURS_ONNX = "mobile_sam", "mobilesam", "mobilesam-onnx"


def load_predictor(package: str, weights: Path, threads: int) -> Any:
    """Return a SamPredictor of a package, with the weights loaded, on the CPU."""
    if package == REFERENCE:
        return _load_reference(weights, threads)
    import mobilesam

    backend = "onnx" if package == OURS_ONNX else "torch"
    model = mobilesam.load(weights, backend=backend, device="cpu", threads=threads)
    return mobilesam.SamPredictor(model)


def predict_boxes(predictor: Any, boxes: np.ndarray) -> Any:
    """Segment many boxes of one image at once, in the way each package documents; masks at full size in NumPy."""
    return _predict_many(predictor, boxes=boxes, multimask_output=False)


def predict_points(predictor: Any, points: np.ndarray) -> Any:
    """Segment many single points of one image at once, three masks each."""
    return _predict_many(predictor, points=points, multimask_output=True)


def _predict_many(
    predictor: Any, *, multimask_output: bool, boxes: np.ndarray | None = None, points: np.ndarray | None = None
) -> Any:
    if not type(predictor).__module__.startswith("mobile_sam"):
        if boxes is not None:
            return predictor.predict(box=boxes, multimask_output=multimask_output).masks
        labels = np.ones((len(points), 1), dtype=np.int64)
        return predictor.predict(points[:, None, :], labels, multimask_output=multimask_output).masks
    import torch

    size = predictor.original_size
    if boxes is not None:
        boxes = predictor.transform.apply_boxes_torch(torch.as_tensor(boxes), size)
        coords = labels = None
    else:
        coords = predictor.transform.apply_coords_torch(torch.as_tensor(points)[:, None, :], size)
        labels = torch.ones(len(points), 1, dtype=torch.int)
    masks, _, _ = predictor.predict_torch(coords, labels, boxes, multimask_output=multimask_output)
    return masks.cpu().numpy()


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
