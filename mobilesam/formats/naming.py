"""Names of output files, after the images' own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilesam.errors import InputError, sentence
from mobilesam.files import real_path, refuse_existing

STDIN = "-"


@dataclass(frozen=True)
class Names:
    """The file names of one image: ``cat-mask.png`` for its first object's best mask, and so on.

    The second object has ``cat-mask-2.png``, its second best mask ``cat-mask-2-alt2.png``. An overlay shows all objects
    of the image; ``cat-overlay-alt2.png`` shows their second best masks.
    """

    folder: Path
    stem: str

    def path(self, word: str, index: int = 0, rank: int = 0) -> Path:
        """Return the name for a ``--format`` word, an object's index and a mask's rank, both from 0."""
        number = f"-{index + 1}" if index else ""
        alternative = f"-alt{rank + 1}" if rank else ""
        return self.folder / f"{self.stem}-{word}{number}{alternative}.png"


def name_outputs(sources: Sequence[str], folder: Path) -> list[Names]:
    """Name the outputs of images after their own names; the second ``cat`` becomes ``cat-2``.

    Names are compared without case, since some file systems do.
    """
    stems = ["stdin" if source == STDIN else Path(source).stem for source in sources]
    given = {stem.casefold() for stem in stems}
    taken: set[str] = set()
    names = []
    for stem in stems:
        unique, count = stem, 1
        while unique.casefold() in taken or (count > 1 and unique.casefold() in given):
            count += 1
            unique = f"{stem}-{count}"
        taken.add(unique.casefold())
        names.append(Names(folder, unique))
    return names


def relative_names(sources: Sequence[str], depths: Sequence[int] = ()) -> list[str]:
    """Return what the results call images: their paths relative to the folder that contains all of them, with slashes.

    Args:
        depths: how many folders each image is below an input folder, which is then a part of no name.
    """
    paths = [Path(os.path.normpath(Path(source).absolute())) for source in sources if source != STDIN]
    folders = {path.parents[depth] for path, depth in zip(paths, depths or [0] * len(paths), strict=True)}
    try:
        root = os.path.commonpath(folders) if folders else ""
    except ValueError:  # on several drives of Windows
        return [Path(source).as_posix() for source in sources]
    return [source if source == STDIN else Path(os.path.relpath(source, root)).as_posix() for source in sources]


def refuse_overwriting(paths: Sequence[Path], sources: Sequence[str], force: bool) -> None:
    """Raise InputError if a file exists and ``force`` is false, or if it is one of the files read."""
    read = {real_path(Path(source)) for source in sources if source != STDIN}
    for path in paths:
        if real_path(path) in read:
            raise InputError(
                sentence("output file", "not be a file that is read", path, "choose another folder with --out")
            )
        refuse_existing(path, force=force)
