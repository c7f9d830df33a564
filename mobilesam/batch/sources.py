"""The inputs of a batch: images as files, folders, globs and lists, and prompts as a prompt file or a COCO file."""

from __future__ import annotations

import contextlib
import glob
import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

from mobilesam.errors import InputError, sentence
from mobilesam.files import MAX_DATASET_BYTES, MAX_TEXT_BYTES, exists, parse_json, read_bytes, real_path
from mobilesam.formats import detections
from mobilesam.formats.box_folders import read_folder
from mobilesam.formats.coco import coco_prompts
from mobilesam.formats.coco_document import check_document, is_coco
from mobilesam.formats.naming import Names, name_outputs, relative_names
from mobilesam.image.read import SUFFIXES
from mobilesam.prompts.file import PromptFile, parse_prompts, read_content
from mobilesam.storage import Place, is_url, join

StrPath = str | os.PathLike[str]


class Source(NamedTuple):
    """The path of an image, and its folder relative to the input folder."""

    path: str
    below: Path = Path()


def find_images(inputs: Sequence[str], out: Path, earlier: Collection[str] = ()) -> list[Source]:
    """Return the images of all inputs, each once; those of a folder in the order of their names.

    Args:
        inputs: images, folders with their subfolders, globs, and lists: text files (.txt) with one path per line,
            relative to the list. Pipes, sockets and devices in a folder are left out, and links to folders are not
            followed.
        out: the folder of the results, which is skipped in an input folder.
        earlier: files that may be inputs although they no longer exist.

    Raises:
        InputError: an input is none of these, or there is no image.
    """
    images: dict[str, Source] = {}
    for each in inputs:
        for source in [Source(each)] if each in earlier and not exists(Path(each)) else expand(each, out):
            images.setdefault(os.path.normpath(source.path), source)
    if not images:
        raise InputError(sentence("INPUT", "contain an image", f"none in {', '.join(inputs)}", "check the path"))
    return list(images.values())


def name_files(sources: Sequence[Source], out: Path) -> list[Names]:
    """Return the names of the output files of each image, in the same subfolder of ``out`` as in the input folder."""
    by_folder: dict[Path, list[int]] = {}
    for place, source in enumerate(sources):
        by_folder.setdefault(source.below, []).append(place)
    names: dict[int, Names] = {}
    for below, places in by_folder.items():
        named = name_outputs([sources[place].path for place in places], out / below)
        names.update(zip(places, named, strict=True))
    return [names[place] for place in range(len(sources))]


def name_images(sources: Sequence[Source]) -> list[str]:
    """Return the names of the images in the results: relative to the input folder, or else to their common parent."""
    return relative_names([source.path for source in sources], [len(source.below.parts) for source in sources])


def read_prompts_or_coco(path: StrPath, dataset: StrPath | None = None) -> PromptFile:
    """Read a prompt file, or the boxes of a COCO file, a COCO results list, a YOLO or labelme folder or a CSV table.

    Args:
        path: the file, which may be a pipe, or the folder. Entries that cannot be used are left out, and are among the
            ``problems`` of the result.
        dataset: a COCO file with the images and categories of a results list.

    Raises:
        InputError: the content is none of these, no entry can be used, or ``dataset`` is given with another one.
    """
    path, content = Path(path), cast(Any, None)
    is_folder = exists(path) and path.is_dir()
    raw = b"" if is_folder else read_content(path, MAX_DATASET_BYTES)
    with contextlib.suppress(ValueError):  # parse_prompts raises the error
        content = parse_json(raw)
    if detections.is_results(content):
        read = detections.read_dataset(Path(dataset)) if dataset is not None else None
        prompts = detections.results_prompts(content, path, read)
        return prompts if dataset is None else replace(prompts, files=(path, Path(dataset)))
    if dataset is not None:
        raise InputError(sentence("--dataset", "be used with a COCO results list", path, "leave it out"))
    if is_folder:
        return read_folder(path)
    if is_coco(content):
        return coco_prompts(check_document(content, raw, path), path)
    if content is None and raw.lstrip()[:1] not in (b"{", b"[", b""):
        return detections.read_table(path, raw)
    return replace(parse_prompts(raw, str(path)), files=(path,))


def expand(each: str, out: Path | None) -> Iterator[Source]:
    """Yield the images of an input, see :func:`find_images`; an archive and a URL in a list are images here."""
    path = Path(each)
    if path.is_dir():
        if out is not None and real_path(path) == real_path(out):
            raise InputError(sentence("--out", "not be a folder of images", path, "choose another folder"))
        yield from _walk(path, None if out is None else real_path(out))
    elif path.suffix.lower() == ".txt" and path.is_file():
        yield from _listed(path)
    elif os.path.lexists(each):
        yield Source(each)
    elif glob.has_magic(each) and (matches := _glob(each)):
        yield from (Source(match) for match in matches)
    else:
        kind = "a pattern without matches" if glob.has_magic(each) else "which does not exist"
        kinds = "an image, a folder, a glob or a list"
        raise InputError(sentence("INPUT", f"be {kinds}", f"{each!r}, {kind}", "check the path"))


def _walk(folder: Path, out: Path | None) -> Iterator[Source]:
    for parent, folders, files in os.walk(folder):
        here = Path(parent)
        folders[:] = sorted(name for name in folders if name[0] != "." and real_path(here / name) != out)
        for name in sorted(files):
            if name[0] != "." and Path(name).suffix.lower() in SUFFIXES and not _is_special(here / name):
                yield Source(str(here / name), here.relative_to(folder))


def _glob(pattern: str) -> list[str]:
    """Return the files that match as in ``glob.glob``, except that ``**`` does not follow links to folders.

    A link to a folder above it would be followed until the path is too long.
    """
    anchor = Path(pattern).anchor
    # Within a name, two asterisks mean the same as one.
    parts = [part if part == "**" else re.sub(r"\*+", "*", part) for part in Path(pattern).parts[bool(anchor) :]]
    if parts[-1] == "**":
        parts.append("*")
    fixed = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    with_hidden = any(part.startswith(".") for part in parts[fixed:])

    def is_hidden(path: Path) -> bool:
        return any(part.startswith(".") for part in path.parts[bool(anchor) + fixed :])

    paths = (path for path in Path(anchor).glob(str(Path(*parts))) if with_hidden or not is_hidden(path))
    return sorted(str(path) for path in paths if not path.is_dir() and not _is_special(path))


def _is_special(path: Path) -> bool:
    """Return whether a path is a pipe, a socket or a device; a broken link is not, and becomes a bad image."""
    return exists(path) and not path.is_file()


def _listed(path: Path) -> Iterator[Source]:
    try:
        # File names need not be Unicode.
        text = read_bytes(path, MAX_TEXT_BYTES).decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise InputError(
            f"The list {path} cannot be read ({error.strerror}). Check its path and permissions."
        ) from error
    yield from (Source(name) for name in names_in_list(text, path))


def names_in_list(text: str, path: Place) -> Iterator[str]:
    """Yield the paths and URLs in the text of a list; paths are relative to the list."""
    for number, line in enumerate(text.split("\n"), start=1):
        name = line.strip()
        if "\0" in line:
            raise InputError(
                f"Line {number} of the list {path} contains a NUL character. Write one path per line, in UTF-8."
            )
        if name and not line.startswith("#"):
            above = path.parent if isinstance(path, Path) else path.rpartition("/")[0]
            yield name if is_url(name) else str(join(above, name))
