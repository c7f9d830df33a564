"""Two classical methods that fit the border of a mask to the image, and what they gain.

python -m benchmarks.edges --images DIR --annotations instances.json --out benchmarks/results/edges.json

The masks are those of boxes. A guided filter of the logits (He et al. 2010) with the image's colors as the guide, by
OpenCV's boxFilter; and OpenCV's watershed in a band around the border. Neither is in the package: their gain is small.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from typing import Any

import cv2
import numpy as np

import mobilesam
from benchmarks.common import add_dataset, annotated_objects, make_parser, write_result
from mobilesam.evaluate.metrics import boundary_iou, iou

# Chosen on other images than those of the results. Pixels are those of the model frame (longer side 1024).
RADIUS, EPS, LIMIT = 4, 1e-3, 4.0
BAND = 2
_MARGIN = 24  # of the window around a mask


def guided(image: np.ndarray, logits: np.ndarray, scale: float) -> np.ndarray:
    """Return the mask of logits, (h, w) float32, filtered with an image, (h, w, 3) uint8; ``scale`` of the frame."""
    guide = image.astype(np.float32) / 255
    side = 2 * max(1, round(RADIUS * scale)) + 1

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(values, -1, (side, side), borderType=cv2.BORDER_REFLECT)

    clipped = np.clip(logits, -LIMIT, LIMIT) / LIMIT
    means, mean_logit = mean(guide), mean(clipped)
    covariance = mean(guide * clipped[..., None]) - means * mean_logit[..., None]
    pairs = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    spread = np.empty((*logits.shape, 3, 3), np.float32)
    for one, other in pairs:
        value = mean(guide[..., one] * guide[..., other]) - means[..., one] * means[..., other]
        spread[..., one, other] = spread[..., other, one] = value + (EPS if one == other else 0)
    slope = np.linalg.solve(spread, covariance[..., None])[..., 0]
    offset = mean_logit - (slope * means).sum(axis=-1)
    return (mean(slope) * guide).sum(axis=-1) + mean(offset) > 0


def watershed(image: np.ndarray, logits: np.ndarray, scale: float) -> np.ndarray:
    """Return the mask of logits with the border of OpenCV's watershed in a band around it; see :func:`guided`."""
    mask, kernel = (logits > 0).astype(np.uint8), np.ones((3, 3), np.uint8)
    width = max(1, round(BAND * scale))
    inner = cv2.erode(mask, kernel, iterations=width) > 0
    outer = cv2.dilate(mask, kernel, iterations=width) == 0
    if not inner.any():
        return mask > 0
    regions = inner + 2 * outer.astype(np.int32)
    cv2.watershed(np.ascontiguousarray(image), regions)
    return np.where(regions == -1, mask > 0, regions == 1)


METHODS = {"guided filter": guided, "watershed": watershed}


def main() -> None:
    """Measure each method on every object, and write the JSON."""
    parser = make_parser(__doc__)
    add_dataset(parser)
    arguments = parser.parse_args()
    predictor = mobilesam.SamPredictor(mobilesam.load())
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for image, instance in annotated_objects(arguments, predictor):
        scale = max(image.shape[:2]) / 1024
        prompt: dict[str, Any] = {"box": instance.box_xyxy, "multimask_output": False, "return_logits": True}
        logits = predictor.predict(**prompt).masks[0]
        mask = logits > 0
        x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
        margin = round(_MARGIN * scale) + 8
        window = np.s_[max(0, y - margin) : y + height + margin, max(0, x - margin) : x + width + margin]
        for name, method in ({"not refined": None} | METHODS).items():
            refined = mask.copy()
            start = time.perf_counter()
            if method is not None:
                refined[window] = method(image[window], logits[window], scale)
            values[name]["ms per megapixel"].append((time.perf_counter() - start) * 1e9 / max(logits[window].size, 1))
            values[name]["boundary"].append(boundary_iou(refined, instance.mask))
            values[name]["iou"].append(iou(refined, instance.mask))
    rows = [
        {
            "name": name,
            "objects": len(each["iou"]),
            "mean_iou": statistics.fmean(each["iou"]),
            "boundary_iou": statistics.fmean(each["boundary"]),
            "ms_per_megapixel": statistics.median(each["ms per megapixel"]),
        }
        for name, each in values.items()
    ]
    write_result(arguments.out, {"rows": rows, "radius": RADIUS, "eps": EPS, "limit": LIMIT, "band": BAND})
    print(*rows, sep="\n")


if __name__ == "__main__":
    main()
