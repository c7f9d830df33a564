"""The files that ``mobilesam predict`` writes for a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mobilesam.formats import png
from mobilesam.formats.naming import Names
from mobilesam.prompt_file import ObjectPrompt
from mobilesam.visualize import overlay

FORMATS = ("overlay", "mask", "cutout")


@dataclass(frozen=True)
class Found:
    """The masks of one object, best first: R of them.

    masks: (R, H, W) bool. scores: (R,) float, the model's estimate of each mask's IoU.
    """

    prompt: ObjectPrompt
    masks: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float32]


def write_picture(
    names: Names, image: npt.NDArray[np.uint8], found: Sequence[Found], words: Sequence[str], force: bool
) -> dict[str, Any]:
    """Write the files of one picture and return their description: its ``objects`` and ``files``, ready for JSON."""
    objects: list[dict[str, Any]] = [
        {
            "prompt": _prompt(item.prompt),
            "masks": [
                {"score": round(float(score), 4)} | _describe(mask) | {"files": {}}
                for mask, score in zip(item.masks, item.scores, strict=True)
            ],
        }
        for item in found
    ]
    files: dict[str, list[str]] = {}
    for word in words:
        if word == "overlay":
            files[word] = _write_overlays(names, image, found, force)
            continue
        for index, item in enumerate(found):
            for rank, mask in enumerate(item.masks):
                path = names.path(word, index, rank)
                if word == "mask":
                    png.write_mask(path, mask, force=force)
                else:
                    png.write_cutout(path, image, mask, force=force)
                objects[index]["masks"][rank]["files"][word] = str(path)
    return {"objects": objects, "files": files}


def written(picture: dict[str, Any]) -> list[str]:
    """Return the files in a description that :func:`write_picture` made."""
    of_masks = [mask["files"].values() for item in picture["objects"] for mask in item["masks"]]
    return [path for paths in [*picture["files"].values(), *of_masks] for path in paths]


def _write_overlays(names: Names, image: npt.NDArray[np.uint8], found: Sequence[Found], force: bool) -> list[str]:
    prompts = [item.prompt for item in found]
    paths = [names.path("overlay", rank=rank) for rank in range(max(len(item.masks) for item in found))]
    for rank, path in enumerate(paths):
        drawn = overlay(
            image,
            [item.masks[rank] for item in found],
            point_coords=[point for prompt in prompts for point in prompt.points],
            point_labels=[label for prompt in prompts for label in prompt.labels],
            boxes=[prompt.box for prompt in prompts if prompt.box],
        )
        png.write_image(path, drawn, force=force)
    return [str(path) for path in paths]


def _prompt(prompt: ObjectPrompt) -> dict[str, Any]:
    """Return a prompt in the words of a prompt file."""
    points = [[*point, label] for point, label in zip(prompt.points, prompt.labels, strict=True)]
    return ({"points": points} if points else {}) | ({"box": list(prompt.box)} if prompt.box else {})


def _describe(mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Return the area in pixels and the bounding box, x y width height, of a mask; zeros if it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return {"area": 0, "bbox": [0, 0, 0, 0]}
    x, y = int(columns[0]), int(rows[0])
    bbox = [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]
    return {"area": int(np.count_nonzero(mask)), "bbox": bbox}
