"""Prompts as text: one JSON schema for one image or many, read by the commands and written by the page.

    {"version": 1, "images": {
      "photos/cat.jpg": [{"points": [[220, 110, 1], [40, 60, 0]]},
                         {"box": [10, 20, 200, 180], "points": [[90, 90]]}]}}

Each entry of an image's list is one object. ``points`` are [x, y] or [x, y, label], label 1 (the default) on the
object and 0 beside it; ``box`` is [x1, y1, x2, y2]; an object has either or both, in pixels of the image as viewed.
Points of label 0 alone say no object. A ``label``, text, may say what it is; it goes into the files that have a place
for it. An image is named by its path or by the end of it ("cat.jpg"). ``"objects": [...]`` instead of ``images`` holds
for every image.

Version 2 has all of this, and objects whose mask was chosen and refined:

    {"version": 2, "objects": [
      {"steps": [{"points": [[220, 110, 1]], "chosen": 3}, {"points": [[220, 110, 1], [40, 60, 0]]}]}]}

Each step holds the whole prompt at that time. ``chosen`` is the decoder's own index of a mask: 0 for its single-mask
output, 1 to 3 for its multimask outputs. The logits of the mask that a step chooses go into the next step as its
``mask_input``. The last step gives the object's mask; without ``chosen`` it is the mask that its prompt gets anyway.

samexporter's files are read too: a list of {"type": "point", "data": [x, y], "label": 1} and {"type": "rectangle",
"data": [x1, y1, x2, y2]} marks, all of them one object.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mobilesam.errors import InputError, sentence
from mobilesam.files import MAX_TEXT_BYTES, parse_json, read_bytes
from mobilesam.prompts.object_prompt import Box, ObjectPrompt, group
from mobilesam.prompts.schema import entry_of, needs_steps, parse_marks, parse_objects, refuse_unknown_keys, shown

__all__ = ["Box", "ObjectPrompt", "PromptFile", "dump", "group", "parse_prompts", "read_content", "read_prompts"]

VERSIONS = (1, 2)


@dataclass(frozen=True)
class PromptFile:
    """The objects of named images, or those of every image; one of the two is empty."""

    images: Mapping[str, tuple[ObjectPrompt, ...]] = field(default_factory=dict)
    objects: tuple[ObjectPrompt, ...] = ()

    def for_image(self, path: str | os.PathLike[str]) -> list[ObjectPrompt]:
        """Return the objects of an image, found by its path or by the longest end of it that is named.

        Raises:
            InputError: the file names images, and not this one.
        """
        if not self.images:
            return list(self.objects)
        name = self.name_of(path)
        if name is not None:
            return list(self.images[name])
        near = difflib.get_close_matches(Path(path).name, self.images, n=1) or [next(iter(self.images))]
        remedy = f"it names {len(self.images)} others, such as {near[0]!r}"
        raise InputError(sentence("prompt file", "name the image", f"{str(path)!r}, which it does not name", remedy))

    def name_of(self, path: str | os.PathLike[str]) -> str | None:
        """Return the name of an image here, its path or the longest end of it, or None."""
        if str(path) in self.images:
            return str(path)
        parts = Path(path).absolute().parts
        ends = (Path(*parts[start:]).as_posix() for start in range(len(parts)))
        return next((self._names[end] for end in ends if end in self._names), None)

    @cached_property
    def _names(self) -> dict[str, str]:
        """The names of the images, by their text with slashes."""
        return {Path(name).as_posix(): name for name in self.images}


def read_prompts(path: str | os.PathLike[str]) -> PromptFile:
    """Read a prompt file, or a pipe that gives one.

    Raises:
        InputError: the file cannot be read, or its content is not as the module describes.
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
        raise InputError(sentence("prompt file", "be readable", f"{path} ({error.strerror})", "check it")) from error


def parse_prompts(content: str | bytes, name: str = "prompts") -> PromptFile:
    """Read prompts from JSON text, or from its bytes in UTF-8; ``name`` is what messages call it.

    Raises:
        InputError: the text is not as the module describes; the message says where.
    """
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        document = parse_json(text, _unique)
    except UnicodeDecodeError as error:
        reason = f"{error.reason} at byte {error.start}"
        raise InputError(sentence("prompt file", "be UTF-8 text", f"{name} ({reason})", "save it as JSON")) from error
    except json.JSONDecodeError as error:
        actual = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise InputError(sentence(name, "be JSON", actual, "correct it there")) from error
    except InputError:  # a ValueError too, from _unique
        raise
    except ValueError as error:
        actual = f"JSON that cannot be read ({error})"
        raise InputError(sentence(name, "be a prompt file", actual, "correct it")) from error
    if isinstance(document, list):
        return PromptFile(objects=(parse_marks(document, name),))
    refuse_unknown_keys(document, ("version", "images", "objects"), name)
    version = document.get("version")
    if isinstance(version, bool) or version not in VERSIONS:
        actual = repr(version) if "version" in document else "none"
        raise InputError(sentence(f"{name}: version", "be 1 or 2", actual, 'write "version": 1, or 2 for steps'))
    if ("images" in document) == ("objects" in document):
        actual = "both" if "images" in document else "neither"
        remedy = "images names images, objects holds for every image"
        raise InputError(sentence(name, "have either images or objects", actual, remedy))
    if "objects" in document:
        return PromptFile(objects=parse_objects(document["objects"], f"{name}: objects", version))
    if not isinstance(document["images"], dict) or not document["images"]:
        actual = shown(document["images"])
        raise InputError(sentence(f"{name}: images", "map image names to lists of objects", actual, "name one"))
    return PromptFile(
        {key: parse_objects(value, f"{name}: images[{key!r}]", version) for key, value in document["images"].items()}
    )


def dump(prompts: PromptFile) -> str:
    """Return a prompt file's text, one object a line; :func:`parse_prompts` reads it back.

    It is of version 2 if an object has steps or a chosen mask, else of version 1.

    Raises:
        InputError: an object has a ``mask_input``, which a file does not hold.
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
        raise InputError(sentence(f"prompts: {twice!r}", "be written once", "it twice", "join the two entries"))
    return document
