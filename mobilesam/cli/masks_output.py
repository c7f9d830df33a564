"""The files that ``mobilesam everything`` writes for a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mobilesam import rle
from mobilesam.automatic.records import MaskRecord, pixel_box
from mobilesam.cli.output import Names
from mobilesam.formats import png
from mobilesam.formats.csv import write_csv
from mobilesam.visualize import overlay


@dataclass(frozen=True)
class MaskFiles:
    """Names and contents: ``cat-overlay.png``, ``cat-masks/001.png`` and so on, ``cat-masks.csv``."""

    names: Names
    words: Sequence[str]
    force: bool

    def planned(self) -> Iterator[Path]:
        """Yield the names that :meth:`write` uses; of the masks, whose number is not known before, the first."""
        if "overlay" in self.words:
            yield self.names.path("overlay")
        if "mask" in self.words:
            yield self._mask(0)
        if "csv" in self.words:
            yield self._table

    def write(self, image: npt.NDArray[np.uint8], records: Sequence[MaskRecord]) -> dict[str, Any]:
        """Write the files and return the ``masks`` and ``files`` of the picture, ready for JSON.

        Args:
            image: (H, W, 3) uint8 RGB.
            records: with uncompressed RLE.
        """
        files: dict[str, list[str]] = {}
        masks = rle.DecodedMasks([record["segmentation"] for record in records])
        if "overlay" in self.words:
            path = self.names.path("overlay")
            png.write_image(path, overlay(image, masks), force=self.force)
            files["overlay"] = [str(path)]
        mask_paths: list[Path] = []
        if "mask" in self.words:
            mask_paths = [self._mask(index) for index in range(len(records))]
            for path, mask in zip(mask_paths, masks, strict=True):
                png.write_mask(path, mask, force=self.force)
            self._remove_masks_from(len(records))
            files["mask"] = [str(path) for path in mask_paths]
        if "csv" in self.words:
            relative = [path.relative_to(self.names.folder).as_posix() for path in mask_paths]
            write_csv(self._table, records, relative, force=self.force)
            files["csv"] = [str(self._table)]
        return {"masks": [_describe(record) for record in records], "files": files}

    @property
    def _table(self) -> Path:
        return self.names.folder / f"{self.names.stem}-masks.csv"

    def _mask(self, index: int) -> Path:
        return self.names.folder / f"{self.names.stem}-masks" / f"{index + 1:03}.png"

    def _remove_masks_from(self, index: int) -> None:
        """Remove the masks of an earlier run that found more, which would pass for masks of this one."""
        while self.force and self._mask(index).exists():
            self._mask(index).unlink()
            index += 1


def _describe(record: MaskRecord) -> dict[str, Any]:
    return {
        "area": record["area"],
        "bbox": pixel_box(record),
        "predicted_iou": round(record["predicted_iou"], 4),
        "stability_score": round(record["stability_score"], 4),
        "point_coords": record["point_coords"],
    }
