"""A table of masks: one line each, for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from mobilesam.files import write_bytes
from mobilesam.formats.masked_image import known
from mobilesam.masks.records import MaskRecord, pixel_box

COLUMNS = (
    *("id", "file", "area", "bbox_x", "bbox_y", "bbox_width", "bbox_height"),
    *("predicted_iou", "stability_score", "point_x", "point_y", "crop_x", "crop_y", "crop_width", "crop_height"),
    *("label", "score", "detection_id", "confidence"),
)


def write_csv(path: Path, records: Sequence[MaskRecord], files: Sequence[str] = (), *, force: bool = False) -> None:
    """Write a header and a line for each mask.

    Args:
        records: with uncompressed RLE.
        files: names of the masks' own files, if they have been written; ids count from 1 all the same.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for index, record in enumerate(records):
        point = record["point_coords"][0] if record["point_coords"] else ("", "")
        scores = [_decimals(record["predicted_iou"]), _decimals(record["stability_score"])]
        name = files[index] if files else ""
        about = [record.get("label", ""), record.get("score", ""), record.get("detection_id", "")]
        about.append(_decimals(record["confidence"]) if "confidence" in record else "")
        measures = [record["area"], *pixel_box(record), *scores, *point, *record["crop_box"]]
        table.writerow([index + 1, name, *measures, *about])
    write_bytes(path, text.getvalue().encode(errors="backslashreplace"), force=force)


def _decimals(score: float) -> str:
    return "" if known(score) is None else f"{score:.4f}"
