"""The images of a folder, as files of annotations name them: by a path, a name, or a name without its suffix."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

from mobilesam.errors import InputError, sentence
from mobilesam.image.read import SUFFIXES

_IMAGES, _LABELS = "images", "labels"  # the two folders of a dataset of YOLO's, which have the same subfolders


class ImageIndex:
    """The images of a folder and its subfolders; links to folders are not followed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._paths: set[str] = set()
        self._by_name: dict[str, list[Path]] = {}
        self._by_stem: dict[str, list[Path]] = {}
        for here, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if name[0] != ".")
            for name in sorted(names):
                path = Path(here, name)
                if name[0] != "." and path.suffix.lower() in SUFFIXES:
                    self._paths.add(_absolute(path))
                    self._by_name.setdefault(name, []).append(path)
                    self._by_stem.setdefault(path.stem, []).append(path)

    def __contains__(self, path: Path) -> bool:
        """Return whether a path is an image of the folder."""
        return _absolute(path) in self._paths

    def has(self, file: Path) -> bool:
        """Return whether an image, other than the file itself, has its name without the suffix."""
        return any(_absolute(image) != _absolute(file) for image in self._by_stem.get(file.stem, ()))

    def name_of(self, path: Path) -> str:
        """Return the path of an image relative to the folder, with slashes."""
        return path.relative_to(self.folder).as_posix()

    def find(self, file: Path, below: Path, stem: str, name: str = "") -> Path:
        """Return the image that a file of annotations describes.

        Args:
            file: the file of annotations, which is not the image itself.
            below: its folder, relative to that of all annotations.
            stem: of the image if nothing has its name.
            name: of the image, with or without folders, of any system.

        Raises:
            InputError: there is no such image, or there are several.
        """
        windows = PureWindowsPath(name)  # has parts between slashes of both kinds
        stated = [part for part in windows.parts if part not in ("..", windows.anchor)]
        if stated:
            for place in (file.parent, self.folder / below, self.folder):
                if (path := Path(os.path.normpath(place / name.replace("\\", "/")))) in self and path != file:
                    return self._own(path)
        folders = [*below.parts, *stated[:-1]]
        if stated and (image := self._nearest(file, self._by_name.get(stated[-1], []), folders)):
            return image
        if image := self._nearest(file, self._by_stem.get(stem, []), folders):
            return image
        wanted = f"no image {stated[-1]!r}" if stated else f"no image of the name {stem!r}"
        raise InputError(f"There is {wanted} in {self.folder}. Check the folder of the images.")

    def _own(self, path: Path) -> Path:
        """Return the path of an image as it begins with the folder."""
        return self.folder / Path(_absolute(path)).relative_to(_absolute(self.folder))

    def _nearest(self, file: Path, images: Sequence[Path], folders: Sequence[str]) -> Path | None:
        """Return the one image whose folders end as the file's do; None if there is no image.

        Raises:
            InputError: there are several.
        """
        twins = {image: _is_twin(image, file) for image in images if _absolute(image) != _absolute(file)}
        near = [image for image, twin in twins.items() if twin] or [image for image in twins if twins[image] is None]
        ranks = {image: self._rank(image, folders) for image in near}
        near = [image for image in near if ranks[image] == max(ranks.values())]
        if len(near) > 1:
            names = " and ".join(self.name_of(image) for image in near[:2])
            remedy = "give the folder of these images alone"
            raise InputError(sentence(f"the image of {file.name}", "be one file", f"{len(near)}: {names}", remedy))
        return near[0] if near else None

    def _rank(self, image: Path, folders: Sequence[str]) -> tuple[int, bool]:
        """Return how many folders an image shares with the file, and whether those are all folders of both."""
        shared = _shared(Path(_absolute(image)).parent.parts, folders)
        return shared, image.relative_to(self.folder).parent.parts == tuple(folders)


def _is_twin(image: Path, file: Path) -> bool | None:
    """Return whether images/a/1.jpg and labels/b/1.txt are in subfolders of one name; None if they are in no such."""
    parts, labels = Path(_absolute(image)).parent.parts, Path(_absolute(file)).parent
    if _IMAGES not in parts:
        return None
    place = len(parts) - 1 - parts[::-1].index(_IMAGES)
    root = Path(*parts[:place], _LABELS)
    return root.joinpath(*parts[place + 1 :]) == labels if labels.is_relative_to(root) else None


def _shared(folders: Sequence[str], others: Sequence[str]) -> int:
    """Return how many folders two paths have in common at their ends."""
    count = 0
    for one, other in zip(reversed(folders), reversed(others), strict=False):
        if one != other:
            break
        count += 1
    return count


def _absolute(path: Path) -> str:
    return os.path.normpath(path.absolute())
