"""What ``predict`` and ``everything`` share: they read images, write files, and print paths or JSON on stdout."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mobilesam.cli import options
from mobilesam.cli.sources import Clock, read_source, refuse_repeated_stdin
from mobilesam.errors import InputError
from mobilesam.formats.image_files import ImageFiles, refuse_files
from mobilesam.formats.naming import name_outputs
from mobilesam.formats.output import PER_MASK, WORDS, describe, files_of_all, labels_of_prompts, write_files_of_all
from mobilesam.masks.records import MaskRecord
from mobilesam.prompts.file import PromptFile
from mobilesam.prompts.schema import entry_of

if TYPE_CHECKING:
    from mobilesam.arrays import UInt8Array
    from mobilesam.formats.masked_image import MaskedImage

JSON_VERSION = 2


class Output:
    """The files of a run over images, and its result.

    Args:
        images: paths, or ``-`` for standard input.
        formats: the text of ``--format``.
        prompts: the objects of the images; None for everything mode.
        masks_per_object: see :class:`ImageFiles`.
        read: other files that are read, and must not be overwritten.

    Raises:
        UsageError: the formats cannot be read, or standard input is named twice.
        InputError: a file exists and ``force`` is false, or is one that is read, or there is no prompt for an image.
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
        words = options.parse_formats(formats, WORDS)
        refuse_repeated_stdin(images)
        objects = [[] if prompts is None else prompts.for_image(image) for image in images]
        self._labels = labels_of_prompts(prompt for of_image in objects for prompt in of_image)
        self._files = [
            ImageFiles(
                names,
                words,
                force,
                image,
                (prompts and prompts.name_of(image)) or Path(image).as_posix(),
                self._labels,
                of_image,
                masks_per_object,
            )
            for image, of_image, names in zip(images, objects, name_outputs(images, out), strict=True)
        ]
        self._of_all = files_of_all(out, words)
        refuse_files(self._files, self._of_all.values(), [*images, *map(str, read)], force=force)
        self._force, self._as_json = force, as_json
        self._images: list[dict[str, Any]] = []
        self._masked: list[MaskedImage] = []
        self._errors: list[dict[str, str]] = []

    def read(self) -> Iterator[tuple[ImageFiles, UInt8Array, Clock]]:
        """Yield each image that can be read, with its files and its clock; the others are reported."""
        for files in self._files:
            clock = Clock()
            try:
                with clock.measure("read"):
                    image = read_source(files.source)
            except InputError as error:
                self.fail(files.source, error)
                continue
            yield files, image, clock

    def fail(self, source: str, error: InputError) -> None:
        """Report an image that could not be read or segmented."""
        typer.echo(f"error: {error}" if source in str(error) else f"error: {source}: {error}", err=True)
        self._errors.append({"image": source, "error": str(error)})

    def write(
        self, files: ImageFiles, image: UInt8Array, records: Sequence[MaskRecord], clock: Clock, **about: Any
    ) -> None:
        """Write the files of an image; what is said ``about`` it goes into the JSON document."""
        with clock.measure("write"):
            paths = files.write(image, records)
        masks = [
            describe(record) | {"files": {word: paths[word][place] for word in PER_MASK if word in paths}}
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
        self._images.append(size | about | described | {"files": paths, "timings_ms": clock.milliseconds})
        if self._of_all:
            self._masked.append(files.masked_image((height, width), records))
        if not self._as_json and (listed := [path for of_word in paths.values() for path in of_word]):
            typer.echo("\n".join(listed))

    def finish(self) -> None:
        """Write the files of all images and print what is left to print; exit with code 1 if an image failed."""
        of_all = self._of_all if self._images else {}  # a file of no image says nothing
        write_files_of_all(of_all, lambda: self._masked, self._labels, force=self._force)
        if self._as_json:
            files = {word: [str(path)] for word, path in of_all.items()}
            document = {"version": JSON_VERSION, "images": self._images, "files": files, "errors": self._errors}
            typer.echo(json.dumps(document, indent=2))
        elif of_all:
            typer.echo("\n".join(map(str, of_all.values())))
        if self._errors:
            raise typer.Exit(1)
