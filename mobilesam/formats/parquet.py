"""Parquet: a table with one row a mask, for any number of images; needs pyarrow.

A mask is COCO's compressed run lengths, so a row is small whatever the image's size. An image without masks has one
row whose ``mask_id`` is null.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mobilesam.errors import InputError, missing_dependency, sentence
from mobilesam.files import MALFORMED, atomic_path, open_file
from mobilesam.formats.masked_image import MaskedImage, image_size, label_of, read_record
from mobilesam.formats.segmentation import decode_segmentation
from mobilesam.masks import rle
from mobilesam.masks.records import MaskRecord, pixel_box

_GROUP = 4096  # rows that a reader takes at once


def require_pyarrow() -> None:
    """Raise MissingDependencyError if pyarrow is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise missing_dependency("pyarrow", "parquet", "Parquet") from error


def write_parquet(path: Path, images: Iterable[MaskedImage], *, force: bool = False) -> None:
    """Write the table, taking one image at a time.

    Raises:
        MissingDependencyError: pyarrow is not installed.
    """
    require_pyarrow()
    import pyarrow
    from pyarrow import parquet

    schema = _schema()
    with (
        atomic_path(path, force=force) as temporary,
        parquet.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        rows = (row for image_id, image in enumerate(images, start=1) for row in _rows(image_id, image))
        while group := list(itertools.islice(rows, _GROUP)):
            writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))


def read_parquet(path: Path) -> Iterator[MaskedImage]:
    """Read the images of a table that :func:`write_parquet` wrote, one at a time.

    Raises:
        InputError: the file cannot be read or is not such a table.
        MissingDependencyError: pyarrow is not installed.
    """
    require_pyarrow()
    import pyarrow
    from pyarrow import parquet

    try:
        with open_file(path) as stream, parquet.ParquetFile(stream) as file:
            if missing := set(_schema().names) - set(file.schema_arrow.names) - {"score", "detection_id", "confidence"}:
                raise InputError(f"one without {sorted(missing)[0]!r}")
            rows = (row for batch in file.iter_batches(_GROUP) for row in batch.to_pylist())
            for _, group in itertools.groupby(rows, key=lambda row: row["image_id"]):
                first, *others = group
                hw = image_size(first["height"], first["width"])
                masks = [_record(row, hw) for row in (first, *others) if row["mask_id"] is not None]
                yield MaskedImage(str(first["file_name"]), hw, masks)
    except (*MALFORMED, pyarrow.ArrowException) as error:
        raise InputError(_not_ours(path, str(error) or repr(error))) from error


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema(
        [
            ("image_id", pa.int64()),
            ("file_name", pa.string()),
            ("height", pa.int32()),
            ("width", pa.int32()),
            ("mask_id", pa.int32()),
            ("label", pa.string()),
            ("counts", pa.string()),
            ("area", pa.int64()),
            ("bbox", pa.list_(pa.int32())),
            ("predicted_iou", pa.float64()),
            ("stability_score", pa.float64()),
            ("point_coords", pa.list_(pa.list_(pa.float64()))),
            ("score", pa.float64()),
            ("detection_id", pa.string()),
            ("confidence", pa.float64()),
        ]
    )


def _rows(image_id: int, image: MaskedImage) -> Iterator[dict[str, Any]]:
    height, width = image.hw
    about = {"image_id": image_id, "file_name": image.file_name, "height": height, "width": width}
    if not image.records:
        yield about
    for number, record in enumerate(image.records, start=1):
        yield {
            **about,
            "mask_id": number,
            "label": label_of(record),
            "counts": rle.coco_encode_rle(record["segmentation"])["counts"],
            "area": record["area"],
            "bbox": pixel_box(record),
            "predicted_iou": record["predicted_iou"],
            "stability_score": record["stability_score"],
            "point_coords": record["point_coords"],
            "score": record.get("score"),
            "detection_id": str(record["detection_id"]) if "detection_id" in record else None,
            "confidence": record.get("confidence"),
        }


def _record(row: dict[str, Any], hw: tuple[int, int]) -> MaskRecord:
    mask = decode_segmentation({"size": list(hw), "counts": row["counts"]}, hw)
    return read_record(
        rle.boundaries_of(mask),
        hw,
        predicted_iou=row["predicted_iou"],
        stability_score=row["stability_score"],
        point_coords=row["point_coords"],
        label=row["label"],
        score=row.get("score"),
        detection_id=row.get("detection_id"),
        confidence=row.get("confidence"),
    )


def _not_ours(path: Path, actual: str) -> str:
    return sentence(path.name, "be a table of masks in Parquet", actual, "give one that write_parquet wrote")
