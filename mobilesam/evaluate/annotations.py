"""Ground truth in any format that this package writes, recognized by the content of the files."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mobilesam.errors import FormatLossWarning, InputError, sentence
from mobilesam.evaluate.coco import Dataset, Split, coco_dataset, load_coco, require_folder
from mobilesam.evaluate.collection import Collection
from mobilesam.evaluate.image_index import ImageIndex
from mobilesam.files import exists, is_pipe, open_file, parse_json, real_path
from mobilesam.formats.box_folders import NAMES_FILES, class_names, labels_in_order
from mobilesam.formats.boxes import read_json
from mobilesam.formats.coco_document import check_document, is_coco, read_annotations
from mobilesam.formats.geojson import has_size, parse_geojson
from mobilesam.formats.labelme import parse_labelme
from mobilesam.formats.parquet import read_parquet
from mobilesam.formats.png import is_map, read_map
from mobilesam.formats.yolo import read_yolo

_COCO, _LABELME, _GEOJSON, _PARQUET, _YOLO = "COCO", "labelme", "GeoJSON", "Parquet", "YOLO"
_INDEXED, _INSTANCES, _MAP = "indexed PNG", "16-bit PNG", "PNG"
_ENDINGS = {"-indexed": _INDEXED, ".indexed": _INDEXED, "-instances": _INSTANCES, ".instances": _INSTANCES}
_DAMAGED = "damaged JSON"
_SUFFIXES = (".json", ".geojson", ".txt", ".parquet", ".png")
_JSON = (".json", ".geojson")
_HEAD = 4096  # bytes that show whether a text is YOLO's
_FORMATS = "COCO, labelme, YOLO segmentation, GeoJSON, Parquet, or indexed or 16-bit PNG"

_Kinds = Mapping[str, Sequence[Path]]  # of files, by their format; "" for files of no known format


def load_annotations(
    annotations: Path, images: Path, *, split: Split = "all", limit: int | None = None, seed: int | None = None
) -> Dataset:
    """Read annotated images in any format that ``mobilesam batch`` and the page write.

    Images are not decoded, and masks stay encoded. A file that cannot be used is among the problems of the result: it
    is damaged, has no object, or its image is missing, ambiguous or of another size.

    Args:
        annotations: a file of COCO, labelme, GeoJSON or Parquet, an indexed or 16-bit PNG; a folder of labelme, YOLO
            segmentation, GeoJSON or PNG files, with its subfolders; or the YAML of a YOLO dataset, for its folder. If
            a folder contains one COCO file, that is read; or several of one image each, as the page saves them.
        images: the folder of the images, which are found by the names in the annotations or by those of their files.
        split, limit, seed: see :func:`load_coco`.

    Raises:
        InputError: the annotations cannot be read, have none or several of these formats, or none can be used; or
            ``images`` is not a folder.
        MissingDependencyError: Parquet needs pyarrow.
    """
    require_folder(images)
    if os.path.isdir(annotations):  # noqa: PTH112 (Path.is_dir raises for some paths)
        dataset = _of_folder(annotations, images)
    elif annotations.suffix.lower() in (".yaml", ".yml") and exists(annotations):
        dataset = _of_folder(annotations.parent, images, annotations)
    else:
        dataset = _of_file(annotations, images)
    if dataset.problems and not dataset.images:
        (file, reason), more = dataset.problems[0], len(dataset.problems) - 1
        others = f" {more} more files have problems." if more else ""
        raise InputError(f"No annotation in {annotations} can be used. {file}: {reason}{others}")
    return dataset.select(split, limit, seed)


def _of_file(path: Path, images: Path) -> Dataset:
    if is_pipe(path):
        return load_coco(path, images)
    raw = b"" if _is_binary(path) else read_annotations(path)
    content: Any = None
    if path.suffix.lower() in _JSON or raw.lstrip()[:1] in (b"{", b"["):
        try:
            content = parse_json(raw)
        except ValueError as error:
            raise InputError(_not_annotations(path, f"a file that is not JSON ({error})")) from error
    if isinstance(content, dict) and ("images" in content or "annotations" in content):
        return coco_dataset(check_document(content, raw, path, need_masks=True), images)
    kind = _kind_of(path)
    if not kind:
        raise InputError(_not_annotations(path, "another file"))
    return _read(kind, [path], Collection(path, ImageIndex(images)), path.parent)


def _of_folder(folder: Path, images: Path, names: Path | None = None) -> Dataset:
    collection = Collection(folder, ImageIndex(images))
    kinds: dict[str, list[Path]] = {}
    for path in _files(folder):
        kinds.setdefault(_kind_of(path), []).append(path)
    unknown, damaged, maps = (kinds.pop(kind, []) for kind in ("", _DAMAGED, _MAP))
    unknown = damaged + [path for path in unknown if collection.has_image(path)]
    if _COCO in kinds:
        return _of_coco(kinds, damaged, collection, folder, images)
    if not kinds and (maps := list(_without_images(maps, collection))):
        kinds = {_MAP: maps}
    if not kinds and unknown:
        kinds = {_LABELME if unknown[0].suffix.lower() in _JSON else _YOLO: []}
    if len(kinds) != 1:
        raise InputError(_not_annotations(folder, _listed(kinds) or "none"))
    ((kind, files),) = kinds.items()
    suffixes = {_LABELME: _JSON, _GEOJSON: _JSON, _YOLO: (".txt",)}.get(kind, ())
    files = sorted(files + [path for path in unknown if path.suffix.lower() in suffixes])
    return _read(kind, files, collection, names or folder)


def _of_coco(kinds: _Kinds, damaged: Sequence[Path], collection: Collection, folder: Path, images: Path) -> Dataset:
    """Return the dataset of a folder with one COCO file, or with several of one image each."""
    files = kinds[_COCO]
    for path in damaged:
        with collection.entry(path):
            read_json(path)
    if len(kinds) > 1:
        message = f"{folder} contains {_listed(kinds)}; COCO is read"
        warnings.warn(message, FormatLossWarning, stacklevel=3)
    if len(files) == 1:
        return replace(load_coco(files[0], images), problems=collection.dataset().problems)
    most = 1
    for path in files:
        with collection.entry(path):
            collection.add_digest(path)
            dataset = load_coco(path, images)
            most = max(most, len(dataset.images))
            collection.add_coco(dataset)
    if most > 1:
        raise InputError(_not_annotations(folder, _listed({_COCO: files})))
    return collection.dataset()


def _read(kind: str, files: Sequence[Path], collection: Collection, names: Path) -> Dataset:
    """Return the dataset of files of one format; ``names`` is that of YOLO's classes, or the folder of the labels."""
    labels: tuple[str, ...] = ()
    if kind == _YOLO:
        known, sources = class_names(names)
        labels = labels_in_order(known)
        for path in sources:
            collection.add_digest(path)
        collection.add_categories(labels)
    maps = {real_path(file) for file in files} if kind == _MAP else set()
    for file in files:
        with collection.entry(file):
            collection.add_digest(file)
            if kind == _PARQUET:
                for masked in read_parquet(file):
                    with collection.entry(file):
                        collection.add_named(file, masked, Path(masked.file_name).stem)
            elif kind == _YOLO:
                collection.add_sized(file, file.stem, functools.partial(read_yolo, labels=labels))
            elif kind in (_LABELME, _GEOJSON):
                _read_json(kind, file, collection)
            else:
                if maps and real_path(collection.image_of(file, file.stem)) in maps:
                    raise InputError(f"{file.name} and its image are both gray. Give the folder of the images alone.")
                collection.add_sized(file, _stem_of(file), lambda path, _: read_map(path))
    return collection.dataset()


def _read_json(kind: str, file: Path, collection: Collection) -> None:
    content = read_json(file)
    if kind == _LABELME:
        collection.add_named(file, parse_labelme(content, file), file.stem)
    elif has_size(content):
        collection.add_named(file, parse_geojson(content, file), file.stem)
    else:
        collection.add_sized(file, file.stem, functools.partial(parse_geojson, content))


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder that may be annotations."""
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        for name in sorted(names):
            path = Path(here, name)
            if name[0] != "." and path.suffix.lower() in _SUFFIXES and name not in NAMES_FILES:
                yield path


def _kind_of(path: Path) -> str:
    """Return the format of a file, "" if it is not known."""
    suffix = path.suffix.lower()
    try:
        with open_file(path) as file:
            head = file.read(_HEAD)
    except OSError:
        head = b""
    if suffix == ".parquet" or head.startswith(b"PAR1"):
        return _PARQUET
    if suffix == ".png" or head.startswith(b"\x89PNG"):
        return next((kind for ending, kind in _ENDINGS.items() if path.stem.endswith(ending)), _MAP)
    if suffix not in _JSON and head.lstrip()[:1] not in (b"{", b"["):
        return _YOLO if _is_yolo(head) else ""
    try:
        content = parse_json(read_annotations(path))
    except ValueError:
        return _DAMAGED
    if is_coco(content):
        return _COCO
    if not isinstance(content, dict):
        return ""
    return _LABELME if "shapes" in content else _GEOJSON if content.get("type") == "FeatureCollection" else ""


def _is_binary(path: Path) -> bool:
    try:
        with open_file(path) as file:
            return file.read(4) in (b"PAR1", b"\x89PNG")
    except OSError:
        return False


def _is_yolo(head: bytes) -> bool:
    """Return whether a text begins with a class and four shares."""
    fields = head.split(maxsplit=5)[:5]
    try:
        return len(fields) == 5 and int(fields[0]) >= 0 and all(-1 < float(field) < 2 for field in fields[1:])
    except ValueError:
        return False


def _stem_of(path: Path) -> str:
    """Return the name of the image of a map, without suffix."""
    return next((path.stem.removesuffix(ending) for ending in _ENDINGS if path.stem.endswith(ending)), path.stem)


def _without_images(paths: Sequence[Path], collection: Collection) -> Iterator[Path]:
    """Yield the PNG files that are not the images themselves."""
    for path in paths:
        if not collection.is_image(path) or (is_map(path) and collection.has_image(path)):
            yield path


def _listed(kinds: _Kinds) -> str:
    parts = (f"{len(files)} {kind} ({files[0].name}{', ...' if files[1:] else ''})" for kind, files in kinds.items())
    return ", ".join(parts)


def _not_annotations(path: Path, actual: str) -> str:
    remedy = "name one file, or a folder with files of one format"
    return sentence(f"annotations {path}", f"have one format of {_FORMATS}", actual, remedy)
