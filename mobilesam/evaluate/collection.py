"""A dataset put together from files of annotations, each of which may be wrong without the others."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mobilesam.errors import InputError
from mobilesam.evaluate.coco import AnnotatedImage, Dataset, FileProblem
from mobilesam.evaluate.image_index import ImageIndex
from mobilesam.files import check_regular
from mobilesam.formats.masked_image import MaskedImage, label_of
from mobilesam.image.read import read_image_hw
from mobilesam.masks import rle


class Collection:
    """Images with their annotations as compressed RLE, and the files that cannot be used.

    Args:
        root: the folder of the annotations, or the only file.
        index: of the images.
    """

    def __init__(self, root: Path, index: ImageIndex) -> None:
        self._root, self._index = root, index
        self._images: dict[str, AnnotatedImage] = {}
        self._categories: dict[str, int] = {}
        self._digests: dict[str, str] = {}
        self._problems: list[FileProblem] = []

    @contextlib.contextmanager
    def entry(self, file: Path) -> Iterator[None]:
        """Within the context, an InputError is a problem of a file."""
        try:
            yield
        except InputError as error:
            self._problems.append(FileProblem(self._name(file), str(error)))

    def add_categories(self, labels: Iterable[str]) -> None:
        """Let these be the next categories, in this order; others follow as they appear."""
        for label in labels:
            self._category(label)

    def add_digest(self, file: Path) -> None:
        """Let the digest of the dataset depend on a file."""
        try:
            check_regular(file)
            with file.open("rb") as content:
                self._digests[self._name(file)] = hashlib.file_digest(content, "sha256").hexdigest()
        except OSError as error:
            raise InputError(f"The file {file} cannot be read ({error.strerror}). Check it.") from error

    def add_named(self, file: Path, masked: MaskedImage, stem: str) -> None:
        """Add the masks of an image that the file names; ``stem`` is the name without suffix if no image has it."""
        image = self._index.find(file, self._below(file), stem, masked.file_name)
        self._add(image, read_image_hw(image), masked)

    def add_sized(self, file: Path, stem: str, read: Callable[[Path, tuple[int, int]], MaskedImage]) -> None:
        """Add the masks of an image of the same name; ``read`` takes the file and its (height, width)."""
        image = self.image_of(file, stem)
        hw = read_image_hw(image)
        self._add(image, hw, read(file, hw))

    def image_of(self, file: Path, stem: str) -> Path:
        """Return the image whose name without suffix is ``stem``; see :meth:`ImageIndex.find`."""
        return self._index.find(file, self._below(file), stem)

    def is_image(self, path: Path) -> bool:
        """Return whether a path is an image itself."""
        return path in self._index

    def has_image(self, file: Path) -> bool:
        """Return whether there is an image, or there are several, of the name of a file."""
        return self._index.has(file)

    def add_coco(self, dataset: Dataset) -> None:
        """Add the images of another dataset, with its categories by their names."""
        for image in dataset.images:
            named = [(each, dataset.categories.get(each.get("category_id"))) for each in image.annotations]
            annotations = tuple(
                each if name is None else {**each, "category_id": self._category(name)} for each, name in named
            )
            self._put(AnnotatedImage(image.file_name, image.path, image.domain, image.stated_hw, annotations))

    def dataset(self) -> Dataset:
        """Return the images in name order."""
        digest = hashlib.sha256("".join(f"{name}\0{each}\n" for name, each in sorted(self._digests.items())).encode())
        images = tuple(self._images[name] for name in sorted(self._images))
        categories: Mapping[Any, str] = {number: label for label, number in self._categories.items()}
        return Dataset(images, categories, digest.hexdigest(), problems=tuple(self._problems))

    def _add(self, path: Path, hw: tuple[int, int], masked: MaskedImage) -> None:
        name = self._index.name_of(path)
        if masked.hw != hw:
            sizes = [f"{width} x {height}" for height, width in (hw, masked.hw)]
            raise InputError(f"The image {name} is {sizes[0]}, its annotations are for {sizes[1]}.")
        if not masked.records:
            raise InputError(f"There is no object of the image {name}.")
        annotations = tuple(
            {
                "id": number,
                "category_id": self._category(label_of(record)),
                "segmentation": rle.coco_encode_rle(record["segmentation"]),
            }
            for number, record in enumerate(masked.records, start=1)
        )
        self._put(AnnotatedImage(name, path, None, hw, annotations))

    def _put(self, image: AnnotatedImage) -> None:
        if image.file_name in self._images:
            raise InputError(f"The image {image.file_name} has annotations in another file, too. Leave one out.")
        self._images[image.file_name] = image

    def _category(self, label: str) -> int:
        return self._categories.setdefault(label, len(self._categories) + 1)

    def _below(self, file: Path) -> Path:
        return file.parent.relative_to(self._root) if file.is_relative_to(self._root) and file != self._root else Path()

    def _name(self, file: Path) -> str:
        """Return what problems and the digest call a file."""
        return file.relative_to(self._root).as_posix() if self._below(file).parts else file.name
