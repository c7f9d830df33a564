"""YOLO's segmentation labels: one text file an image, one line an object, and the names of its classes in YAML.

A line is a class number and one polygon, x y of each corner as shares of the width and height. The format has neither
holes nor parts: both are joined by bridges of no width, as Ultralytics' own converter does. It has no scores either.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mobilesam.errors import InputError, sentence, unknown_name
from mobilesam.files import MAX_TEXT_BYTES, read_bytes, write_bytes
from mobilesam.formats.masked_image import OBJECT, MaskedImage, label_of, read_record
from mobilesam.formats.polygons import filled_boundaries, one_ring_of
from mobilesam.masks import rle
from mobilesam.masks.records import MaskRecord


def yolo_labels(records: Iterable[MaskRecord], labels: Sequence[str] = (OBJECT,)) -> str:
    """Return the lines for masks given as uncompressed RLE; empty masks have none.

    labels: of the classes, in the order of their numbers.

    Raises:
        InputError: a mask has another label.
    """
    lines = []
    for record in records:
        height, width = record["segmentation"]["size"]
        if label_of(record) not in labels:
            raise InputError(unknown_name("the label of each mask", label_of(record), labels))
        ring = one_ring_of(rle.rle_to_mask(record["segmentation"]))
        if len(ring):
            # A quarter into the pixel, so that readers that cut off decimals and those that round find it again.
            corners = (f"{(x + 0.25) / width:.6f} {(y + 0.25) / height:.6f}" for x, y in ring.tolist())
            lines.append(f"{labels.index(label_of(record))} {' '.join(corners)}\n")
    return "".join(lines)


def write_yolo(
    path: Path, records: Sequence[MaskRecord], labels: Sequence[str] = (OBJECT,), *, force: bool = False
) -> None:
    """Write :func:`yolo_labels` of an image."""
    write_bytes(path, yolo_labels(records, labels).encode(), force=force)


def write_yolo_names(path: Path, labels: Sequence[str] = (OBJECT,), *, force: bool = False) -> None:
    """Write the YAML that names a data set's classes."""
    names = "".join(f"  {number}: {json.dumps(label)}\n" for number, label in enumerate(labels))
    write_bytes(path, f"nc: {len(labels)}\nnames:\n{names}".encode(), force=force)


def read_yolo(path: Path, hw: tuple[int, int], labels: Sequence[str] = (OBJECT,)) -> MaskedImage:
    """Read the masks of an image of (height, width); a class beyond ``labels`` is called by its number.

    Raises:
        InputError: the file cannot be read, or a line is not a class and at least three x y pairs.
    """
    try:
        lines = read_bytes(path, MAX_TEXT_BYTES, pipes=True).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"The labels {path} cannot be read ({reason}). Check the file.") from error
    records = []
    for place, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            number, shares = int(line.split()[0]), np.array(line.split()[1:], np.float64)
            if number < 0 or len(shares) < 6 or not ((shares >= 0) & (shares <= 1)).all():
                raise ValueError
            corners = np.floor(shares.reshape(-1, 2) * (hw[1], hw[0])).astype(np.int64)
        except ValueError as error:
            requirement = "be a class number and three or more x y pairs from 0 to 1"
            remedy = "export the labels for segmentation, not for detection"
            raise InputError(sentence(f"{path.name}, line {place}", requirement, repr(line[:60]), remedy)) from error
        corners = np.minimum(corners, (hw[1] - 1, hw[0] - 1))
        label = labels[number] if number < len(labels) else str(number)
        records.append(read_record(filled_boundaries(corners, hw), hw, label=label))
    return MaskedImage(path.stem, hw, records)
