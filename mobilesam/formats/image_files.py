"""The files of one image and its masks: their names, which of them are there already, and writing them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilesam.arrays import UInt8Array
from mobilesam.errors import InputError, sentence
from mobilesam.formats.masked_image import OBJECT, MaskedImage
from mobilesam.formats.naming import STDIN, Names, refuse_overwriting
from mobilesam.formats.output import PER_MASK, write_masks
from mobilesam.masks.records import MaskRecord
from mobilesam.prompts.object_prompt import ObjectPrompt

_SUFFIXES = {
    "overlay": "-overlay.png",
    "mask": "-masks",
    "cutout": "-cutouts",
    "indexed": "-indexed.png",
    "instances": "-instances.png",
    "labelme": ".json",
    "yolo": ".txt",
    "csv": "-masks.csv",
    "geojson": ".geojson",
}


@dataclass(frozen=True)
class ImageFiles:
    """The files of one image: ``cat-overlay.png``, ``cat-masks/001.png`` and so on, ``cat-masks.csv``, ``cat.json`` ...

    source: the image's own file. file_name: what the files call it.
    labels: of the classes that YOLO numbers.
    prompts: drawn on the overlay.
    masks_per_object: the most masks that an object of ``prompts`` gets. Files of masks are then named after it,
        ``cat-mask-2-alt3.png``, and each rank has an overlay, see :class:`Names`. 0 numbers all masks in a folder.
    """

    names: Names
    formats: Collection[str]
    force: bool
    source: str
    file_name: str
    labels: Sequence[str] = (OBJECT,)
    prompts: Sequence[ObjectPrompt] = ()
    masks_per_object: int = 0

    def planned(self) -> Iterator[Path]:
        """Yield the names that :meth:`write` uses; of masks in a folder, whose number is not known before, those that
        exist already, or the first.
        """
        for kind in self._own_formats():
            if kind in PER_MASK and not self.masks_per_object:
                yield from self._numbered(kind) or self._paths(kind, 1)
            else:
                yield from self._paths(kind, self.masks_per_object * len(self.prompts))

    def written(self, count: int) -> Iterator[Path]:
        """Yield the names of all files of an image with so many masks."""
        for kind in self._own_formats():
            yield from self._paths(kind, count)

    def remove(self) -> None:
        """Remove all files of the image, which would pass for those of this run."""
        for path in self.planned():
            if os.path.isfile(path):  # noqa: PTH113 (Path.is_file raises for some paths)
                path.unlink()
                if path.parent != self.names.folder:
                    with contextlib.suppress(OSError):  # the folder of the masks, if nothing else is in it
                        path.parent.rmdir()

    def masked_image(self, hw: tuple[int, int], records: Sequence[MaskRecord]) -> MaskedImage:
        """Return the image of (height, width) with its masks, as files that hold several images take it."""
        return MaskedImage(self.file_name, hw, records)

    def write(self, image: UInt8Array, records: Sequence[MaskRecord]) -> dict[str, list[str]]:
        """Write the files and return their paths, by word.

        Args:
            image: (H, W, 3) uint8 RGB.
            records: with uncompressed RLE; of ``prompts``, if masks are named after objects, all masks of the first
                object, best first, then as many of the next.
        """
        return {kind: [*map(str, self._write(kind, image, records))] for kind in self._own_formats()}

    def _write(self, kind: str, image: UInt8Array, records: Sequence[MaskRecord]) -> Sequence[Path]:
        masked = self.masked_image((image.shape[0], image.shape[1]), records)
        paths = self._paths(kind, len(records))
        parts = [records]
        if kind in PER_MASK:
            parts = [[record] for record in records]
        elif kind == "overlay":
            parts = [records[rank :: len(paths)] for rank in range(len(paths))]
        if kind == "labelme" and self.source != STDIN:  # labelme looks for the image from its own file on
            near = os.path.relpath(self.source, self.names.folder)
            masked = masked._replace(file_name=Path(near).as_posix())
        masks = self._paths("mask", len(records)) if kind == "csv" and "mask" in self.formats else ()
        for path, part in zip(paths, parts, strict=True):
            write_masks(
                kind,
                path,
                masked._replace(records=part),
                lambda: image,
                prompts=self.prompts,
                labels=self.labels,
                mask_files=[mask.relative_to(self.names.folder).as_posix() for mask in masks],
                force=self.force,
            )
        if kind in PER_MASK and self.force and not self.masks_per_object:
            for path in set(self._numbered(kind)) - set(paths):  # of an earlier run that found more
                path.unlink(missing_ok=True)
        return paths

    def _own_formats(self) -> list[str]:
        return [kind for kind in _SUFFIXES if kind in self.formats]

    def _paths(self, kind: str, count: int) -> list[Path]:
        """Return the files of a word for so many masks."""
        each = count // len(self.prompts) if self.masks_per_object else 1
        path = self.names.folder / (self.names.stem + _SUFFIXES[kind])
        if kind == "overlay":
            return [self.names.path(kind, rank=rank) for rank in range(each)]
        if kind not in PER_MASK:
            return [path]
        if self.masks_per_object:
            return [self.names.path(kind, *divmod(index, each)) for index in range(count)]
        return [path / f"{index + 1:03}.png" for index in range(count)]

    def _numbered(self, kind: str) -> list[Path]:
        """Return the files in the folder of the masks that are named as masks are."""
        try:
            paths = sorted((self.names.folder / (self.names.stem + _SUFFIXES[kind])).iterdir())
        except OSError:
            return []
        return [path for path in paths if re.fullmatch(r"[0-9]{3,}\.png", path.name)]


def refuse_files(files: Iterable[ImageFiles], of_all: Collection[Path], sources: Sequence[str], *, force: bool) -> None:
    """Raise InputError if a file that is to be written is one that is read, exists, or is to be written twice.

    Args:
        of_all: the files of all images.
        sources: files that are read.
        force: whether files that exist may be overwritten.
    """
    planned = [path for each in files for path in each.planned()]
    refuse_overwriting([*planned, *of_all], sources, force)
    if twice := set(planned) & set(of_all):
        remedy = "rename the image of that name, or leave out a format"
        raise InputError(sentence("output file", "be written once", f"{twice.pop()} of two formats", remedy))
