"""YOLO's segmentation labels: one text file a picture, one line an object.

A line is a class number and one polygon, x y of each corner as shares of the width and height. The format has neither
holes nor parts: both are joined by bridges of no width, as Ultralytics' own converter does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from mobilesam import rle
from mobilesam.automatic.records import MaskRecord
from mobilesam.files import write_bytes
from mobilesam.formats.polygons import one_ring_of

_CLASS = 0


def yolo_labels(records: Iterable[MaskRecord]) -> str:
    """Return the lines for masks given as uncompressed RLE; empty masks have none."""
    lines = []
    for record in records:
        height, width = record["segmentation"]["size"]
        ring = one_ring_of(rle.rle_to_mask(record["segmentation"]))
        if len(ring):
            # The middle of a pixel, so that a reader that cuts off decimals finds the pixel again.
            corners = (f"{(x + 0.5) / width:.6f} {(y + 0.5) / height:.6f}" for x, y in ring.tolist())
            lines.append(f"{_CLASS} {' '.join(corners)}\n")
    return "".join(lines)


def write_yolo(path: Path, records: Sequence[MaskRecord], *, force: bool = False) -> None:
    """Write :func:`yolo_labels` of a picture."""
    write_bytes(path, yolo_labels(records).encode(), force=force)
