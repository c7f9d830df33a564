"""Input and output of ``predict`` and ``everything``: they read images, write files, and print paths or JSON."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mobilesam.cli import options
from mobilesam.errors import InputError, sentence
from mobilesam.formats.image_files import ImageFiles, refuse_files
from mobilesam.formats.naming import STDIN, name_outputs, relative_names
from mobilesam.formats.output import FORMATS, PER_MASK, describe, files_of_all, labels_of_prompts, write_files_of_all
from mobilesam.image.read import read_image
from mobilesam.masks.records import MaskRecord
from mobilesam.prompts.file import PromptFile
from mobilesam.prompts.schema import entry_of

if TYPE_CHECKING:
    from mobilesam.arrays import UInt8Array
    from mobilesam.formats.masked_image import MaskedImage

JSON_VERSION = 2


@contextmanager
def timed(milliseconds: dict[str, float], step: str) -> Iterator[None]:
    """Store the time of the block as ``step``."""
    start = time.perf_counter()
    yield
    milliseconds[step] = round(1000 * (time.perf_counter() - start), 1)


@contextmanager
def warnings_of(source: str) -> Iterator[None]:
    """Print the warnings of the block with the name of the image, each once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        typer.echo(f"warning: {source}: {text}", err=True)


class Output:
    """The images of a command, their output files and its result.

    Args:
        images: paths, or ``-`` for standard input.
        formats: the text of ``--format``.
        prompts: the objects of the images; None for everything mode.
        masks_per_object: see :class:`ImageFiles`.
        read: other files that are read, and must not be overwritten.

    Raises:
        UsageError: a format is unknown, or standard input is given twice.
        InputError: an output file exists and ``force`` is false, or is also read, or an image has no prompt.
    """

    def __init__(
        self,
        images: Sequence[str],
        out: Path,
        formats: str,
        *,
        force: bool,
        as_json: bool,
        prompts: PromptFile | None = None,
        masks_per_object: int = 0,
        read: Sequence[Path] = (),
    ) -> None:
        names_of_formats = options.parse_formats(formats, FORMATS)
        if images.count(STDIN) > 1:
            remedy = "standard input contains one image"
            raise options.UsageError(sentence("-", "be given once", f"{images.count(STDIN)} times", remedy))
        objects = [[] if prompts is None else prompts.for_image(image) for image in images]
        self._labels = labels_of_prompts(prompt for of_image in objects for prompt in of_image)
        self._files = [
            ImageFiles(
                names,
                names_of_formats,
                force,
                image,
                (prompts and prompts.name_of(image)) or file_name,
                self._labels,
                of_image,
                masks_per_object,
            )
            for image, of_image, names, file_name in zip(
                images, objects, name_outputs(images, out), relative_names(images), strict=True
            )
        ]
        self._of_all = files_of_all(out, names_of_formats)
        refuse_files(self._files, self._of_all.values(), [*images, *map(str, read)], force=force)
        self._force, self._as_json = force, as_json
        self._images: list[dict[str, Any]] = []
        self._masked: list[MaskedImage] = []
        self._errors: list[dict[str, str]] = []

    def read(self) -> Iterator[tuple[ImageFiles, UInt8Array, dict[str, float]]]:
        """Yield each image that can be read, with its files and its times in milliseconds; report the others."""
        for files in self._files:
            milliseconds: dict[str, float] = {}
            try:
                if files.source == STDIN and sys.stdin is None:
                    raise InputError("Standard input is closed. Send an image file to it, or give a path instead of -.")
                with timed(milliseconds, "read"):
                    image = read_image(sys.stdin.buffer if files.source == STDIN else files.source)
            except InputError as error:
                self.fail(files.source, error)
                continue
            yield files, image, milliseconds

    def fail(self, source: str, error: InputError) -> None:
        """Report an image that could not be read or segmented."""
        typer.echo(f"error: {error}" if source in str(error) else f"error: {source}: {error}", err=True)
        self._errors.append({"image": source, "error": str(error)})

    def write(
        self,
        files: ImageFiles,
        image: UInt8Array,
        records: Sequence[MaskRecord],
        milliseconds: dict[str, float],
        **about: Any,
    ) -> None:
        """Write the files of an image; ``about`` is added to its entry in the JSON document."""
        with timed(milliseconds, "write"):
            paths = files.write(image, records)
        masks = [
            describe(record) | {"files": {name: paths[name][place] for name in PER_MASK if name in paths}}
            for place, record in enumerate(records)
        ]
        described: dict[str, Any] = {"masks": masks}
        if files.masks_per_object:
            each = len(masks) // len(files.prompts)
            described = {
                "objects": [
                    {"prompt": entry_of(prompt), "masks": masks[number * each : (number + 1) * each]}
                    for number, prompt in enumerate(files.prompts)
                ]
            }
        height, width = image.shape[:2]
        size = {"image": files.source, "width": width, "height": height}
        self._images.append(size | about | described | {"files": paths, "timings_ms": milliseconds})
        if self._of_all:
            self._masked.append(files.masked_image((height, width), records))
        if not self._as_json and (listed := [path for of_format in paths.values() for path in of_format]):
            typer.echo("\n".join(listed))

    def finish(self) -> None:
        """Write the files of all images and print the result; exit with code 1 if an image failed."""
        of_all = self._of_all if self._images else {}  # no file without images
        write_files_of_all(of_all, lambda: self._masked, self._labels, force=self._force)
        if self._as_json:
            files = {name: [str(path)] for name, path in of_all.items()}
            document = {"version": JSON_VERSION, "images": self._images, "files": files, "errors": self._errors}
            typer.echo(json.dumps(document, indent=2))
        elif of_all:
            typer.echo("\n".join(map(str, of_all.values())))
        if self._errors:
            raise typer.Exit(1)
