"""The files of one picture's masks, and the files that hold those of all pictures of a run."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilesam.arrays import UInt8Array
from mobilesam.formats import png
from mobilesam.formats.coco import write_coco
from mobilesam.formats.csv import write_csv
from mobilesam.formats.geojson import write_geojson
from mobilesam.formats.labelme import write_labelme
from mobilesam.formats.naming import Names
from mobilesam.formats.parquet import require_pyarrow, write_parquet
from mobilesam.formats.picture import OBJECT, MaskedPicture, known
from mobilesam.formats.yolo import write_yolo, write_yolo_names
from mobilesam.masks import rle
from mobilesam.masks.records import MaskRecord, pixel_box
from mobilesam.visualize import overlay

# Words of --format. The names of the first ones go on with -WORD, those of masks with a folder of files.
_NAMED = {
    "overlay": "-overlay.png",
    "mask": "-masks",
    "cutout": "-cutouts",
    "indexed": "-indexed.png",
    "instances": "-instances.png",
    "csv": "-masks.csv",
    "labelme": ".json",
    "yolo": ".txt",
    "geojson": ".geojson",
}
FOLDERS = ("mask", "cutout")
_OF_ALL = {"coco": "coco.json", "parquet": "masks.parquet", "yolo": "data.yaml"}
WORDS = (*_NAMED, "coco", "parquet")


@dataclass(frozen=True)
class MaskFiles:
    """Names and contents: ``cat-overlay.png``, ``cat-masks/001.png`` and so on, ``cat-masks.csv``, ``cat.json`` ...

    source: the picture's own file. labels: of the classes that YOLO numbers.
    """

    names: Names
    words: Sequence[str]
    force: bool
    source: str = ""
    labels: Sequence[str] = (OBJECT,)

    def planned(self) -> Iterator[Path]:
        """Yield the names that :meth:`write` uses; of the masks, whose number is not known before, those that exist
        already, or the first.
        """
        for word in self.words:
            if word in _NAMED:
                yield from (self._masks_there(word) or [self._mask(word, 0)]) if word in FOLDERS else [self._path(word)]

    def written(self, count: int) -> Iterator[Path]:
        """Yield the names of all files of a picture with so many masks."""
        for word in self.words:
            if word in _NAMED:
                names = (self._mask(word, index) for index in range(count))
                yield from names if word in FOLDERS else [self._path(word)]

    def remove(self) -> None:
        """Remove all files of the picture, which would pass for those of this run."""
        for path in self.planned():
            if os.path.isfile(path):  # noqa: PTH113 (Path.is_file raises for some paths)
                path.unlink()
                if path.parent != self.names.folder:
                    with contextlib.suppress(OSError):  # the folder of the masks, if nothing else is in it
                        path.parent.rmdir()

    def write(self, image: UInt8Array, records: Sequence[MaskRecord]) -> dict[str, Any]:
        """Write the files and return the ``masks`` and ``files`` of the picture, ready for JSON.

        Args:
            image: (H, W, 3) uint8 RGB.
            records: with uncompressed RLE.
        """
        files = {word: [*map(str, self._write(word, image, records))] for word in _NAMED if word in self.words}
        return {"masks": [_describe(record) for record in records], "files": files}

    def _write(self, word: str, image: UInt8Array, records: Sequence[MaskRecord]) -> Iterable[Path]:
        masks = rle.DecodedMasks([record["segmentation"] for record in records])
        if word in FOLDERS:
            paths = [self._mask(word, index) for index in range(len(records))]
            for path, mask in zip(paths, masks, strict=True):
                if word == "mask":
                    png.write_mask(path, mask, force=self.force)
                else:
                    png.write_cutout(path, image, mask, force=self.force)
            if self.force:  # masks of an earlier run that found more would pass for masks of this one
                for path in set(self._masks_there(word)) - set(paths):
                    path.unlink(missing_ok=True)
            return paths
        path = self._path(word)
        picture = MaskedPicture(self.source, (image.shape[0], image.shape[1]), records)
        if word == "overlay":
            png.write_image(path, overlay(image, masks), force=self.force)
        elif word == "indexed":
            png.write_indexed(path, picture, force=self.force)
        elif word == "instances":
            png.write_instances(path, picture, force=self.force)
        elif word == "csv":
            numbers = range(len(records)) if "mask" in self.words else ()
            relative = [self._mask("mask", index).relative_to(self.names.folder).as_posix() for index in numbers]
            write_csv(path, records, relative, force=self.force)
        elif word == "labelme":
            # labelme looks for the picture from its own file on.
            near = os.path.relpath(self.source, path.parent) if self.source else ""
            write_labelme(path, picture._replace(file_name=Path(near).as_posix()), force=self.force)
        elif word == "yolo":
            write_yolo(path, records, self.labels, force=self.force)
        else:
            write_geojson(path, picture, force=self.force)
        return [path]

    def _path(self, word: str) -> Path:
        return self.names.folder / (self.names.stem + _NAMED[word])

    def _mask(self, word: str, index: int) -> Path:
        return self._path(word) / f"{index + 1:03}.png"

    def _masks_there(self, word: str) -> list[Path]:
        """Return the files in the folder of the masks that are named as masks are."""
        try:
            paths = sorted(self._path(word).iterdir())
        except OSError:
            return []
        return [path for path in paths if re.fullmatch(r"[0-9]{3,}\.png", path.name)]


def files_of_all(folder: Path, words: Sequence[str]) -> dict[str, Path]:
    """Return the files that hold what all pictures have in common, by their word.

    Raises:
        MissingDependencyError: a word needs a package that is not installed.
    """
    if "parquet" in words:
        require_pyarrow()
    return {word: folder / name for word, name in _OF_ALL.items() if word in words}


def write_files_of_all(
    files: dict[str, Path],
    pictures: Callable[[], Iterable[MaskedPicture]],
    labels: Sequence[str] = (OBJECT,),
    *,
    force: bool = False,
) -> None:
    """Write what :func:`files_of_all` named.

    pictures: gives all pictures in their order, each time it is called.
    """
    for word, path in files.items():
        if word == "coco":
            write_coco(path, pictures(), labels=labels, force=force)
        elif word == "parquet":
            write_parquet(path, pictures(), force=force)
        else:
            write_yolo_names(path, labels, force=force)


def _describe(record: MaskRecord) -> dict[str, Any]:
    return {
        "area": record["area"],
        "bbox": pixel_box(record),
        "predicted_iou": known(record["predicted_iou"]),
        "stability_score": known(record["stability_score"]),
        "point_coords": record["point_coords"],
    }
