"""The prompt file: JSON with the prompts of one image or many, read by the commands and written by the page.

    {"version": 1, "images": {
      "photos/cat.jpg": [{"points": [[220, 110, 1], [40, 60, 0]]},
                         {"box": [10, 20, 200, 180], "points": [[90, 90]]}]}}

Each entry of an image's list is one object. ``points`` are [x, y] or [x, y, label], with label 1 (the default) for
foreground and 0 for background; ``box`` is [x1, y1, x2, y2]. An object has one or both, in pixels of the image as
viewed. Background points alone are not enough. An optional ``label``, text, names the object in formats that have
labels. An image is named by its path or by the end of its path ("cat.jpg"). ``"objects": [...]`` instead of ``images``
applies to every image.

Version 2 adds objects with a chosen or refined mask:

    {"version": 2, "objects": [
      {"steps": [{"points": [[220, 110, 1]], "chosen": 3}, {"points": [[220, 110, 1], [40, 60, 0]]}]}]}

Each step contains the complete prompt of that step. ``chosen`` is the decoder's index of a mask: 0 for the single-mask
output, 1 to 3 for the multimask outputs. The logits of the chosen mask are the ``mask_input`` of the next step. The
last step gives the mask of the object; without ``chosen`` the mask is selected as for any other prompt.

samexporter's files are read too: a list of {"type": "point", "data": [x, y], "label": 1} and {"type": "rectangle",
"data": [x1, y1, x2, y2]} marks that describe one object.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

from mobilesam.errors import InputError, sentence
from mobilesam.files import MAX_TEXT_BYTES, parse_json, read_bytes
from mobilesam.prompts.object_prompt import Box, ObjectPrompt, group
from mobilesam.prompts.schema import entry_of, needs_steps, parse_marks, parse_objects, refuse_unknown_keys, shown

__all__ = ["Box", "ObjectPrompt", "PromptFile", "dump", "group", "parse_prompts", "read_content", "read_prompts"]

VERSIONS = (1, 2)


class Problem(NamedTuple):
    """What is wrong with an entry that was left out, in a sentence, and the score that the entry has."""

    text: str
    score: float | None = None


@dataclass(frozen=True)
class PromptFile:
    """The objects of named images, or those of every image; one of the two is empty.

    problems: the entries that cannot be used and were left out.
    labels: the classes of a dataset in their order, for formats that number them; empty if there are none.
    category_ids, image_ids: the ids that a dataset gives its labels and its images, by their names.
    files: the files that were read.
    by_stem: whether the names are those of files without their suffix, as of a detector's folder; a number stands for
        the same number with leading zeros too, as COCO's ids do.
    """

    images: Mapping[str, tuple[ObjectPrompt, ...]] = field(default_factory=dict)
    objects: tuple[ObjectPrompt, ...] = ()
    by_stem: bool = False
    problems: tuple[Problem, ...] = ()
    labels: tuple[str, ...] = ()
    category_ids: Mapping[str, int] = field(default_factory=dict)
    image_ids: Mapping[str, int] = field(default_factory=dict)
    files: tuple[Path, ...] = field(default=(), compare=False)

    def for_image(self, path: str | os.PathLike[str]) -> list[ObjectPrompt]:
        """Return the objects of an image, whose name in the file is its path or an end of it; the longest name counts.

        Raises:
            InputError: the file has prompts for named images, but not for this one.
        """
        if not self.images:
            return list(self.objects)
        name = self.name_of(path)
        if name is not None:
            return list(self.images[name])
        near = difflib.get_close_matches(Path(path).name, self.images, n=1) or [next(iter(self.images))]
        raise InputError(
            f"The prompt file has no prompts for {str(path)!r}. It has prompts for {near[0]!r}, for example."
        )

    def name_of(self, path: str | os.PathLike[str]) -> str | None:
        """Return the name of an image in the file, its path or the longest end of it, or None."""
        if str(path) in self.images:
            return str(path)
        parts = Path(path).absolute().parts
        ends = (Path(*parts[start:]).as_posix() for start in range(len(parts)))
        known = next((self._names[end] for end in ends if end in self._names), None)
        if known is not None or not self.by_stem:
            return known
        stem = Path(path).stem
        return next((name for name in (stem, stem.lstrip("0") or "0") if name in self.images), None)

    @cached_property
    def _names(self) -> dict[str, str]:
        """The names of the images by the same name with slashes, as Windows writes paths."""
        names = {PureWindowsPath(name).as_posix(): name for name in self.images}
        return names | {Path(name).as_posix(): name for name in self.images}


def read_prompts(path: str | os.PathLike[str]) -> PromptFile:
    """Read a prompt file or a pipe.

    Raises:
        InputError: the file cannot be read or is not a valid prompt file.
    """
    return parse_prompts(read_content(path), str(path))


def read_content(path: str | os.PathLike[str], limit: int = MAX_TEXT_BYTES) -> bytes:
    """Return the bytes of a prompt file, at most ``limit``.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        return read_bytes(Path(path), limit, pipes=True)
    except FileNotFoundError as error:
        raise InputError(sentence("prompt file", "exist", path, "check the path")) from error
    except OSError as error:
        raise InputError(
            sentence("prompt file", "be readable", f"{path} ({error.strerror})", "check the path")
        ) from error


def parse_prompts(content: str | bytes, name: str = "prompts") -> PromptFile:
    """Parse the content of a prompt file; ``name`` stands for it in messages.

    Raises:
        InputError: the content is not valid; the message says where.
    """
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        document = parse_json(text, _unique)
    except UnicodeDecodeError as error:
        reason = f"{error.reason} at byte {error.start}"
        raise InputError(sentence("prompt file", "be UTF-8 text", f"{name} ({reason})", "save it as JSON")) from error
    except json.JSONDecodeError as error:
        actual = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise InputError(sentence(name, "be JSON", actual, "correct the file")) from error
    except InputError:  # a ValueError too, from _unique
        raise
    except ValueError as error:
        raise InputError(f"{name} cannot be read: {error}. Correct the file.") from error
    if isinstance(document, list):
        return PromptFile(objects=(parse_marks(document, name),))
    refuse_unknown_keys(document, ("version", "images", "objects"), name)
    version = document.get("version")
    if isinstance(version, bool) or version not in VERSIONS:
        actual = repr(version) if "version" in document else "none"
        raise InputError(sentence(f"{name}: version", "be 1 or 2", actual, 'write "version": 1, or 2 for steps'))
    if ("images" in document) == ("objects" in document):
        actual = "both" if "images" in document else "neither"
        remedy = "use images for named images, or objects for every image"
        raise InputError(sentence(name, "have either images or objects", actual, remedy))
    if "objects" in document:
        return PromptFile(objects=parse_objects(document["objects"], f"{name}: objects", version))
    if not isinstance(document["images"], dict) or not document["images"]:
        actual = shown(document["images"])
        raise InputError(sentence(f"{name}: images", "map image names to lists of objects", actual, "add one"))
    return PromptFile(
        {key: parse_objects(value, f"{name}: images[{key!r}]", version) for key, value in document["images"].items()}
    )


def dump(prompts: PromptFile) -> str:
    """Return the text of a prompt file, with one object on each line; :func:`parse_prompts` reads it.

    The version is 2 if an object has steps or a chosen mask, else 1.

    Raises:
        InputError: an object has a ``mask_input``, which a prompt file cannot store.
    """
    written = [prompts.objects, *prompts.images.values()]
    version = 2 if any(needs_steps(prompt) for objects in written for prompt in objects) else 1
    if not prompts.images:
        return f'{{"version": {version}, "objects": {_dump_objects(prompts.objects)}}}\n'
    images = ",\n".join(f"{json.dumps(name)}: {_dump_objects(objects)}" for name, objects in prompts.images.items())
    return f'{{"version": {version}, "images": {{\n{images}\n}}}}\n'


def _dump_objects(objects: Iterable[ObjectPrompt]) -> str:
    return "[\n" + ",\n".join(f"  {json.dumps(entry_of(prompt))}" for prompt in objects) + "\n]"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InputError(sentence(f"prompts: the key {twice!r}", "be unique", "it twice", "join the two entries"))
    return document
