"""Which images: files, folders, globs, lists; and which prompts: a prompt file, or the boxes of a COCO file."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mobilesam.errors import InputError, sentence
from mobilesam.files import MAX_DATASET_BYTES, MAX_TEXT_BYTES, exists, parse_json, read_bytes, real_path
from mobilesam.formats.coco import coco_prompts
from mobilesam.formats.coco_document import check_document, is_coco
from mobilesam.formats.naming import Names, name_outputs
from mobilesam.prompts.file import PromptFile, parse_prompts, read_content

# What is taken for an image in a folder; an image that is named itself may be called anything.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"),
    *(".jp2", ".avif", ".heic", ".ppm", ".pgm"),
)


class Source(NamedTuple):
    """An image's file, and where it lies below the folder that was given."""

    path: str
    below: Path = Path()


def find_images(inputs: Sequence[str], out: Path, earlier: Collection[str] = ()) -> list[Source]:
    """Return the images that inputs name, each once, folders in the order of their names.

    Args:
        inputs: images; folders, with all below them; globs; lists, text files (.txt) of one image a line, from
            the list's own folder on. Pipes, sockets and devices in a folder are left out, and links to folders are
            not followed.
        out: the folder of the results, which is left out of a folder that it lies in.
        earlier: files that may be named although they are gone.

    Raises:
        InputError: an input is none of these, or there is no image.
    """
    found: dict[str, Source] = {}
    for each in inputs:
        for source in [Source(each)] if each in earlier and not exists(Path(each)) else _expand(each, out):
            found.setdefault(os.path.normpath(source.path), source)
    if not found:
        raise InputError(sentence("INPUT", "hold an image", f"none in {', '.join(inputs)}", "check the path"))
    return list(found.values())


def name_files(sources: Sequence[Source], out: Path) -> list[Names]:
    """Return the names of the files of each image: a folder's images keep their places below ``out``."""
    by_folder: dict[Path, list[int]] = {}
    for place, source in enumerate(sources):
        by_folder.setdefault(source.below, []).append(place)
    names: dict[int, Names] = {}
    for below, places in by_folder.items():
        named = name_outputs([sources[place].path for place in places], out / below)
        names.update(zip(places, named, strict=True))
    return [names[place] for place in range(len(sources))]


def read_prompts_or_coco(path: Path) -> PromptFile:
    """Read a prompt file, or a COCO file whose boxes are the prompts, or a pipe that gives either.

    Raises:
        InputError: the file is neither.
    """
    raw = read_content(path, MAX_DATASET_BYTES)
    try:
        content = parse_json(raw)
    except ValueError:
        content = None  # parse_prompts says what is wrong
    if is_coco(content):
        return coco_prompts(check_document(content, raw, path), path)
    return parse_prompts(raw, str(path))


def _expand(each: str, out: Path) -> Iterator[Source]:
    path = Path(each)
    if path.is_dir():
        if real_path(path) == real_path(out):
            remedy = "name another folder with --out"
            raise InputError(sentence("the folder of the results", "not be one of the images", path, remedy))
        yield from _walk(path, real_path(out))
    elif path.suffix.lower() == ".txt" and path.is_file():
        yield from _listed(path)
    elif os.path.lexists(each):
        yield Source(each)
    elif glob.has_magic(each) and (matches := _glob(each)):
        yield from (Source(match) for match in matches)
    else:
        kind = "a pattern that matches nothing" if glob.has_magic(each) else "which does not exist"
        remedy = "check the path"
        raise InputError(sentence("INPUT", "be an image, a folder, a glob or a list", f"{each!r}, {kind}", remedy))


def _walk(folder: Path, out: Path) -> Iterator[Source]:
    for parent, folders, files in os.walk(folder):
        here = Path(parent)
        folders[:] = sorted(name for name in folders if name[0] != "." and real_path(here / name) != out)
        for name in sorted(files):
            if name[0] != "." and Path(name).suffix.lower() in SUFFIXES and not _is_special(here / name):
                yield Source(str(here / name), here.relative_to(folder))


def _glob(pattern: str) -> list[str]:
    """Return the files that match, as ``glob`` does it, but for ``**`` without following links to folders.

    Links that lead back to a folder above them would be followed until the path is too long.
    """
    anchor = Path(pattern).anchor
    # Within a name, two asterisks mean as much as one.
    parts = [part if part == "**" else re.sub(r"\*+", "*", part) for part in Path(pattern).parts[bool(anchor) :]]
    if parts[-1] == "**":
        parts.append("*")
    fixed = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    asks_hidden = any(part.startswith(".") for part in parts[fixed:])

    def is_hidden(path: Path) -> bool:
        return any(part.startswith(".") for part in path.parts[bool(anchor) + fixed :])

    found = (path for path in Path(anchor).glob(str(Path(*parts))) if asks_hidden or not is_hidden(path))
    return sorted(str(path) for path in found if not path.is_dir() and not _is_special(path))


def _is_special(path: Path) -> bool:
    """Return whether a path is a pipe, a socket or a device; one that leads nowhere is a bad image, not special."""
    return exists(path) and not path.is_file()


def _listed(path: Path) -> Iterator[Source]:
    try:
        # File names need not be Unicode.
        text = read_bytes(path, MAX_TEXT_BYTES).decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        actual = f"{path} ({error.strerror})"
        remedy = "check its path and permissions"
        raise InputError(sentence("a list", "be a readable text file", actual, remedy)) from error
    for number, line in enumerate(text.split("\n"), start=1):
        if "\0" in line:
            actual = f"a NUL character in line {number} of {path}"
            raise InputError(sentence("a list", "hold one path a line", actual, "write one path a line, in UTF-8"))
        if line.strip() and not line.startswith("#"):
            yield Source(str(path.parent / line.strip()))
