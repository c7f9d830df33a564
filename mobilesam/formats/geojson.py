"""GeoJSON: the masks of one image as features, in pixels or in the coordinates of a map.

A feature's geometry is the exact outline of the mask along the edges of pixels: one or several polygons, with holes;
null for an empty mask. Exteriors run as RFC 7946 wants. Beside the features, ``image`` holds the name, the size and the
transform, with which the masks can be read back; in files of version 1, which are read too, it is called ``image``.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam.arrays import FloatArray64
from mobilesam.errors import InputError, sentence
from mobilesam.files import LARGEST, MALFORMED, MAX_DATASET_BYTES, parse_json, read_bytes, write_bytes
from mobilesam.formats.masked_image import OBJECT, MaskedImage, details_of, image_size, known, label_of, read_record
from mobilesam.formats.outlines import fill, outlines
from mobilesam.masks import rle

Transform = Sequence[float]
IDENTITY: Transform = (1, 0, 0, 0, 1, 0)

_VERSION = 2


def geojson_collection(image: MaskedImage, transform: Transform = IDENTITY) -> dict[str, Any]:
    """Return an image's masks as a feature collection.

    transform: a b c d e f as in rasterio, from the corner (x, y) of a pixel to (ax + by + c, dx + ey + f); by default
        coordinates are pixels, x to the right and y downwards.

    Raises:
        InputError: the transform is not six finite numbers, or cannot be inverted.
    """
    a, b, c, d, e, f = matrix = _checked(transform)
    features = []
    for number, record in enumerate(image.records, start=1):
        polygons = [
            [_placed(ring, matrix) for ring in (part.exterior, *part.holes)]
            for part in outlines(rle.rle_to_mask(record["segmentation"]))
        ]
        geometry: dict[str, Any] | None = {"type": "MultiPolygon", "coordinates": polygons}
        if len(polygons) < 2:
            geometry = {"type": "Polygon", "coordinates": polygons[0]} if polygons else None
        properties = {
            "label": label_of(record),
            "area": record["area"],
            "predicted_iou": known(record["predicted_iou"]),
            "stability_score": known(record["stability_score"]),
            "point_coords": record["point_coords"],
            **details_of(record),
        }
        features.append({"type": "Feature", "id": number, "properties": properties, "geometry": geometry})
    height, width = image.hw
    about = {"file_name": image.file_name, "width": width, "height": height, "transform": [a, b, c, d, e, f]}
    return {"type": "FeatureCollection", "version": _VERSION, "image": about, "features": features}


def write_geojson(path: Path, image: MaskedImage, *, transform: Transform = IDENTITY, force: bool = False) -> None:
    """Write :func:`geojson_collection` as JSON."""
    write_bytes(path, (json.dumps(geojson_collection(image, transform)) + "\n").encode(), force=force)


def read_geojson(path: Path, hw: tuple[int, int] | None = None, transform: Transform = IDENTITY) -> MaskedImage:
    """Read masks: the pixels whose middle lies inside the polygons.

    Args:
        hw: (height, width) of the image, needed where the file does not say it.
        transform: used where the file does not say it.

    Raises:
        InputError: the file is not a feature collection of polygons, or the size is not known.
    """
    try:
        content = parse_json(read_bytes(path, MAX_DATASET_BYTES, pipes=True))
    except MALFORMED as error:
        raise _no_geojson(path, error) from error
    return parse_geojson(content, path, hw, transform)


def has_size(content: Any) -> bool:
    """Return whether the JSON content of a GeoJSON file states the size of its image."""
    return isinstance(content, dict) and bool(content.get("image") or content.get("picture"))


def parse_geojson(
    content: Any, path: Path, hw: tuple[int, int] | None = None, transform: Transform = IDENTITY
) -> MaskedImage:
    """Return what :func:`read_geojson` does for the JSON content of a file."""
    try:
        about = content.get("image") or content.get("picture") or {}
        if about:
            hw, transform = image_size(about["height"], about["width"]), _matrix(about["transform"])
    except MALFORMED as error:
        raise _no_geojson(path, error) from error
    if hw is None:
        raise InputError(sentence("hw", "be given for a GeoJSON of another program", "none", "pass (height, width)"))
    matrix = _checked(transform)
    try:
        records = []
        for feature in content["features"]:
            rings = [_unplaced(ring, matrix) for ring in _rings(feature["geometry"])]
            properties = feature.get("properties") or {}
            records.append(
                read_record(
                    fill(rings, hw),
                    hw,
                    predicted_iou=properties.get("predicted_iou"),
                    stability_score=properties.get("stability_score"),
                    point_coords=properties.get("point_coords"),
                    label=properties.get("label", OBJECT),
                    score=properties.get("score"),
                    detection_id=properties.get("detection_id"),
                    confidence=properties.get("confidence"),
                )
            )
        return MaskedImage(str(about.get("file_name", path.stem)), hw, records)
    except MALFORMED as error:
        raise _no_geojson(path, error) from error


def _no_geojson(path: Path, error: Exception) -> InputError:
    actual = str(error) if isinstance(error, InputError) else repr(error)
    return InputError(sentence(path.name, "be GeoJSON", actual, "give a FeatureCollection of polygons"))


def _rings(geometry: dict[str, Any] | None) -> list[Any]:
    if geometry is None:
        return []
    if geometry["type"] not in ("Polygon", "MultiPolygon"):
        raise InputError(f"a geometry of type {geometry['type']!r}, which is not a polygon")
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    return [ring for polygon in polygons for ring in polygon]


def _placed(ring: FloatArray64, matrix: list[float]) -> list[list[float]]:
    """Return a ring's coordinates, turned round where the transform mirrors; whole numbers in pixels."""
    a, b, c, d, e, f = matrix
    if matrix == list(IDENTITY):
        pixels: list[list[float]] = ring.astype(int).tolist()
        return pixels
    x, y = ring.T
    placed = np.stack([a * x + b * y + c, d * x + e * y + f], axis=1)
    turned: list[list[float]] = placed[:: 1 if a * e - b * d > 0 else -1].tolist()
    return turned


def _unplaced(ring: Any, matrix: list[float]) -> FloatArray64:
    a, b, c, d, e, f = matrix
    corners = np.array([corner[:2] for corner in ring], np.float64) - (c, f)
    back: FloatArray64 = corners @ np.linalg.inv([[a, b], [d, e]]).T
    if not (np.abs(back) < LARGEST).all():
        raise InputError(f"the corners {reprlib.repr(ring)}, which are not near the image")
    return back


def _checked(transform: Transform) -> list[float]:
    try:
        return _matrix(transform)
    except InputError as error:
        requirement, remedy = (
            "be six numbers a b c d e f of an affine map",
            "pass those of rasterio's dataset.transform",
        )
        raise InputError(sentence("transform", requirement, reprlib.repr(transform), remedy)) from error


def _matrix(transform: Any) -> list[float]:
    try:
        matrix = [float(value) for value in list(transform)[:6]]  # rasterio's own type goes on with 0 0 1
    except (TypeError, ValueError, OverflowError):
        matrix = []
    if len(matrix) < 6 or not np.isfinite(matrix).all() or matrix[0] * matrix[4] == matrix[1] * matrix[3]:
        raise InputError(f"the transform {reprlib.repr(transform)}, which is not an affine map of six numbers")
    return matrix
