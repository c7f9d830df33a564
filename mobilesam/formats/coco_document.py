"""COCO instance files as they are found: read and checked, nothing decoded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from mobilesam.errors import InputError, sentence
from mobilesam.files import MAX_DATASET_BYTES, is_number, parse_json, read_bytes


class CocoDocument(NamedTuple):
    """The lists of a COCO file.

    annotations: all of them.
    by_image: the annotations of each image, by its id.
    categories: the name of each category, by its id.
    digest: sha256 of the file.
    orphans: annotations whose ``image_id`` is not among the images.
    """

    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    by_image: Mapping[Any, list[dict[str, Any]]]
    categories: Mapping[Any, str]
    digest: str
    orphans: int


def read_document(path: Path, *, need_masks: bool = False) -> CocoDocument:
    """Read a COCO instance file, or a pipe that gives one.

    Raises:
        InputError: it cannot be read, is not COCO instance JSON, or masks are needed and there are none.
    """
    raw = read_annotations(path)
    try:
        content = parse_json(raw)
    except ValueError as error:
        raise InputError(_not_coco(path, f"a file that is not JSON ({error})")) from error
    return check_document(content, raw, path, need_masks=need_masks)


def read_annotations(path: Path) -> bytes:
    """Return the content of a file of annotations, or of a pipe that gives one.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return read_bytes(path, MAX_DATASET_BYTES, pipes=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"The annotations {path} cannot be read ({reason}). Check the path.") from error


def check_document(content: Any, raw: bytes, path: Path, *, need_masks: bool = False) -> CocoDocument:
    """Return the lists of a COCO file that has been read.

    Args:
        content: what ``raw``, the file's bytes, holds as JSON.
        path: what messages call it.

    Raises:
        InputError: see :func:`read_document`.
    """
    _check(content, path, need_masks)
    by_image: dict[Any, list[dict[str, Any]]] = {entry["id"]: [] for entry in content["images"]}
    for annotation in content["annotations"]:
        by_image.get(annotation["image_id"], []).append(annotation)
    orphans = len(content["annotations"]) - sum(map(len, by_image.values()))
    entries = content.get("categories") or []
    named = (entry for entry in entries if isinstance(entry, dict) and is_key(entry.get("id")))
    categories = {entry.get("id"): str(entry.get("name", "")) for entry in named}
    return CocoDocument(
        content["images"], content["annotations"], by_image, categories, hashlib.sha256(raw).hexdigest(), orphans
    )


def is_bbox(value: Any) -> TypeGuard[list[float]]:
    """Return whether JSON content is a box of COCO: four finite numbers x, y, width and height."""
    return isinstance(value, list) and len(value) == 4 and all(map(is_number, value))


def is_coco(content: Any) -> bool:
    """Return whether JSON content has the lists of a COCO instance file."""
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in ("images", "annotations"))


def _check(content: Any, path: Path, need_masks: bool) -> None:
    if not isinstance(content, dict):
        raise InputError(_not_coco(path, f"a JSON {type(content).__name__}"))
    missing = [key for key in ("images", "annotations") if not isinstance(content.get(key), list)]
    if missing:
        raise InputError(_not_coco(path, f"no list {' and no list '.join(map(repr, missing))}"))
    for kind, keys in (("images", ("id", "file_name")), ("annotations", ("image_id",))):
        for place, entry in enumerate(content[kind]):
            lacking = list(keys) if not isinstance(entry, dict) else [key for key in keys if key not in entry]
            if lacking:
                raise InputError(_not_coco(path, f"{kind}[{place}] without {lacking[0]!r}"))
            wrong = [key for key in (*keys, "category_id") if not is_key(entry.get(key))]
            if wrong:
                actual = f"{kind}[{place}] whose {wrong[0]!r} is neither a number nor text"
                raise InputError(_not_coco(path, actual))
    if not isinstance(content.get("categories") or [], list):
        raise InputError(_not_coco(path, "'categories' that are not a list"))
    if need_masks and content["annotations"] and not any("segmentation" in entry for entry in content["annotations"]):
        raise InputError(_not_coco(path, "annotations without 'segmentation'"))
    for key in ("id", "file_name"):
        values = [entry[key] for entry in content["images"]]
        if len(set(map(str, values))) < len(values):
            raise InputError(_not_coco(path, f"several images with one {key!r}"))


def is_key(value: Any) -> bool:
    """Return whether JSON content can be the id of an image or a category, or is absent."""
    return value is None or isinstance(value, int | float | str)


def _not_coco(path: Path, actual: str) -> str:
    return sentence(
        f"annotations {path.name}",
        "be COCO instance JSON: an object with the lists 'images' and 'annotations'",
        actual,
        "export the ground truth as COCO instance segmentation",
    )
