"""The masks of SamPredictor that the tools' own code should give with a pack.

Run where mobilesam is installed; the other scripts ``packs_*`` run where the tool is, and need only NumPy besides:

    mobilesam samples PHOTOS
    python -m benchmarks.clients.pack_expected PHOTOS expected.npz
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

import mobilesam


class Frame:
    """SamPredictor on what X-AnyLabeling, AnyLabeling and rembg encode: 684 x 1024 pixels, padded in black."""

    SIZE = (1024, 684)

    def __init__(self, photo: np.ndarray) -> None:
        self._hw = photo.shape[:2]
        self._scale = min(self.SIZE[0] / self._hw[1], self.SIZE[1] / self._hw[0])
        self._matrix = np.array([[self._scale, 0, 0], [0, self._scale, 0]])
        self._predictor = mobilesam.SamPredictor(mobilesam.load())
        self._predictor.set_image(cv2.warpAffine(photo, self._matrix, self.SIZE))

    def mask(self, **prompt: object) -> np.ndarray:
        """Return the mask of a prompt in the photo, brought back from the frame."""
        scaled = {key: np.multiply(value, 1 if key == "point_labels" else self._scale) for key, value in prompt.items()}
        logits = self._predictor.predict(**scaled, multimask_output=False, return_logits=True).masks[0]
        back = np.array([[1 / self._scale, 0, 0], [0, 1 / self._scale, 0]])
        return cv2.warpAffine(logits, back, self._hw[::-1]) > 0


def main() -> None:
    """Write, for each object of prompts.json, its points, labels, box and mask with the single-mask output."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    predictor = mobilesam.SamPredictor(mobilesam.load())
    arrays = {}
    prompts = json.loads((options.photos / "prompts.json").read_text())
    for name, objects in prompts["images"].items():
        photo = np.asarray(Image.open(options.photos / name))
        predictor.set_image(photo)
        in_frame = Frame(photo)
        for entry in objects:
            points = [[*point, 1][:3] for point in entry.get("points", [])]
            coords = np.array(points, float).reshape(-1, 3)
            box = entry.get("box")
            given = {"box": box} if box else {"point_coords": coords[:, :2], "point_labels": coords[:, 2]}
            key = f"{name}: {entry['label']}"
            arrays[f"{key}|points"] = coords
            arrays[f"{key}|box"] = np.array(box or [], float)
            arrays[f"{key}|mask"] = predictor.predict(**given, multimask_output=False).masks[0]
            arrays[f"{key}|one"] = predictor.predict_one(**given).masks[0]
            arrays[f"{key}|frame"] = in_frame.mask(**given)
            if box:
                padded = {"point_coords": [[0, 0]], "point_labels": [-1]}
                arrays[f"{key}|padded"] = predictor.predict(**given, **padded, multimask_output=False).masks[0]
    np.savez_compressed(options.out, **arrays)


if __name__ == "__main__":
    main()
