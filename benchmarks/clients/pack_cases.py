"""The prompts of ``pack_expected``, and the comparison of a tool's masks with its masks; needs NumPy only."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Case(NamedTuple):
    """points: (N, 3) x, y and label; box: x1 y1 x2 y2, or empty; padded: the mask of the box with padding.

    mask: SamPredictor's for the photo; frame: its mask for the photo in the frame of some tools, see pack_expected;
    one: that of its predict_one.
    """

    image: Path
    label: str
    points: np.ndarray
    box: np.ndarray
    mask: np.ndarray
    frame: np.ndarray
    padded: np.ndarray | None
    one: np.ndarray

    @property
    def marks(self) -> list[dict]:
        """The prompt in the form of samexporter, which several tools use."""
        marks = [{"type": "point", "data": [x, y], "label": int(label)} for x, y, label in self.points.tolist()]
        return marks + ([{"type": "rectangle", "data": self.box.tolist()}] if self.box.size else [])

    @property
    def labeled_points(self) -> tuple[np.ndarray, np.ndarray]:
        """Points (N, 2) and labels (N,), the corners of a box among them."""
        corners = np.c_[self.box.reshape(-1, 2), [2, 3][: self.box.size // 2]]
        every = np.concatenate([self.points, corners])
        return every[:, :2], every[:, 2].astype(int)


def arguments(description: str) -> argparse.Namespace:
    """Return the arguments that the scripts share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("pack", type=Path, help="the folder that mobilesam export --for wrote")
    parser.add_argument("photos", type=Path, help="the folder that mobilesam samples wrote")
    parser.add_argument("expected", type=Path, help="the file that pack_expected wrote")
    return parser.parse_args()


def cases(photos: Path, expected: Path) -> Iterator[Case]:
    """Yield the prompts."""
    arrays = np.load(expected)
    for key in dict.fromkeys(name.partition("|")[0] for name in arrays.files):
        image, _, label = key.partition(": ")
        padded = arrays.get(f"{key}|padded")
        values = (arrays[f"{key}|{name}"] for name in ("points", "box", "mask", "frame"))
        yield Case(photos / image, label, *values, padded, arrays[f"{key}|one"])


class Report:
    """Prints the IoU of each mask with SamPredictor's, and ends with an error if one is below ``least``.

    Args:
        in_frame: whether the tool encodes the photo in the frame of pack_expected, for which the mask is then judged.
    """

    def __init__(self, least: float, in_frame: bool = False) -> None:
        self._least = least
        self._worst = 1.0
        self._in_frame = in_frame

    def add(self, case: Case, mask: np.ndarray) -> None:
        """Print a line."""
        expected = case.frame if self._in_frame else case.mask
        value = iou(mask, expected)
        self._worst = min(self._worst, value)
        details = [f"{int((np.asarray(mask, bool) != expected).sum())} pixels differ"]
        if self._in_frame:
            details.append(f"IoU {iou(mask, case.mask):.4f} with the mask of the photo itself")
        elif case.padded is not None:
            details.append(f"the box with padding would have {iou(case.padded, case.mask):.4f}")
        kind = "box" if case.box.size else f"{len(case.points)} points"
        print(f"{case.image.name}, {case.label}, {kind}: IoU {value:.4f}, {', '.join(details)}")

    def end(self) -> None:
        """Raise SystemExit if a mask differs."""
        print(f"The least IoU is {self._worst:.4f}.")
        if self._worst < self._least:
            raise SystemExit(f"An IoU is below {self._least}.")


def iou(mask: np.ndarray, expected: np.ndarray) -> float:
    """Return the intersection over union of two masks of one size."""
    mask = np.asarray(mask, bool)
    return float((mask & expected).sum() / max((mask | expected).sum(), 1))
