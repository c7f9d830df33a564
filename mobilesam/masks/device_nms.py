"""Non-maximum suppression by torchvision, on a device, with the results of :func:`mobilesam.masks.boxes.nms`."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from mobilesam.arrays import AnyFloatArray, Array, IntArray


@cache
def available() -> bool:
    """Return whether torchvision is installed and built for the installed torch."""
    try:
        import torchvision.ops  # noqa: F401
    except Exception:  # a torchvision built for another torch raises errors of many types
        return False
    return True


def nms(boxes: Array, scores: AnyFloatArray, iou_threshold: float, device: torch.device) -> IntArray:
    """Return what :func:`mobilesam.masks.boxes.nms` returns, computed on a device."""
    import torchvision.ops

    order = np.argsort(-np.asarray(scores), kind="stable")
    corners = np.asarray(boxes, np.float32).reshape(-1, 4)[order]
    if iou_threshold < 1:  # torchvision would keep all of several equal boxes without area
        _, first = np.unique(corners, axis=0, return_index=True)
        first.sort()
        order, corners = order[first], corners[first]
    # Some kernels compare the float32 IoU with a float32 threshold, some with a float64 one. This one suits both.
    threshold = np.float32(iou_threshold)
    if float(threshold) > iou_threshold:
        threshold = np.nextafter(threshold, np.float32(-np.inf))
    ranks = torch.arange(len(order), 0, -1, dtype=torch.float32, device=device)
    kept = torchvision.ops.nms(torch.from_numpy(corners).to(device), ranks, float(threshold))
    indices: IntArray = order[kept.cpu().numpy()]
    return indices
