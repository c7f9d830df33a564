"""Which pictures: files, folders, globs, lists; and which prompts: a prompt file, or the boxes of a COCO file."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mobilesam.errors import InputError, sentence
from mobilesam.formats.coco import read_coco_prompts
from mobilesam.formats.coco_document import is_coco
from mobilesam.formats.naming import Names, name_outputs
from mobilesam.prompt_file import PromptFile, read_prompts

# What is taken for a picture in a folder; a picture that is named itself may be called anything.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"),
    *(".jp2", ".avif", ".heic", ".ppm", ".pgm"),
)


class Source(NamedTuple):
    """A picture's file, and where it lies below the folder that was given."""

    path: str
    below: Path = Path()


def find_pictures(inputs: Sequence[str], out: Path) -> list[Source]:
    """Return the pictures that inputs name, each once, folders in the order of their names.

    Args:
        inputs: pictures; folders, with all below them; globs; lists, text files (.txt) of one picture a line, from
            the list's own folder on.
        out: the folder of the results, which is left out of a folder that it lies in.

    Raises:
        InputError: an input is none of these, or there is no picture.
    """
    found: dict[str, Source] = {}
    for each in inputs:
        for source in _expand(each, out):
            found.setdefault(os.path.normpath(source.path), source)
    if not found:
        raise InputError(sentence("INPUT", "hold a picture", f"none in {', '.join(inputs)}", "check the path"))
    return list(found.values())


def name_files(sources: Sequence[Source], out: Path) -> list[Names]:
    """Return the names of the files of each picture: a folder's pictures keep their places below ``out``."""
    by_folder: dict[Path, list[int]] = {}
    for place, source in enumerate(sources):
        by_folder.setdefault(source.below, []).append(place)
    names: dict[int, Names] = {}
    for below, places in by_folder.items():
        named = name_outputs([sources[place].path for place in places], out / below)
        names.update(zip(places, named, strict=True))
    return [names[place] for place in range(len(sources))]


def read_prompts_or_coco(path: Path) -> PromptFile:
    """Read a prompt file, or a COCO file whose boxes are the prompts.

    Raises:
        InputError: the file is neither.
    """
    try:
        coco = is_coco(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        coco = False  # the reader of prompts says what is wrong
    return read_coco_prompts(path) if coco else read_prompts(path)


def _expand(each: str, out: Path) -> Iterator[Source]:
    path = Path(each)
    if path.is_dir():
        if path.resolve() == out.resolve():
            remedy = "name another folder with --out"
            raise InputError(sentence("the folder of the results", "not be one of the pictures", path, remedy))
        yield from _walk(path, out.resolve())
    elif path.suffix.lower() == ".txt" and path.is_file():
        yield from _listed(path)
    elif path.exists():
        yield Source(each)
    elif glob.has_magic(each) and (matches := sorted(glob.glob(each, recursive=True))):  # noqa: PTH207 (may be absolute)
        yield from (Source(match) for match in matches if not Path(match).is_dir())
    else:
        kind = "a pattern that matches nothing" if glob.has_magic(each) else "which does not exist"
        remedy = "check the path"
        raise InputError(sentence("INPUT", "be a picture, a folder, a glob or a list", f"{each!r}, {kind}", remedy))


def _walk(folder: Path, out: Path) -> Iterator[Source]:
    for parent, folders, files in os.walk(folder):
        here = Path(parent)
        folders[:] = sorted(name for name in folders if name[0] != "." and (here / name).resolve() != out)
        for name in sorted(files):
            if name[0] != "." and Path(name).suffix.lower() in SUFFIXES:
                yield Source(str(here / name), here.relative_to(folder))


def _listed(path: Path) -> Iterator[Source]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        remedy = "write one picture a line, in UTF-8"
        raise InputError(sentence("a list", "be a readable text file", f"{path} ({error})", remedy)) from error
    for line in lines:
        if line.strip() and not line.startswith("#"):
            yield Source(str(path.parent / line.strip()))
