"""The objects that the page sends to be saved: masks at the original size of the image, with labels and prompts."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from mobilesam.errors import InputError, sentence
from mobilesam.formats.masked_image import OBJECT, read_record
from mobilesam.masks.records import MaskRecord
from mobilesam.masks.run_lengths import boundaries_of_text
from mobilesam.prompts.object_prompt import ObjectPrompt, refuse_without_object
from mobilesam.webui.masks import compact
from mobilesam.webui.session import read_prompt

MAX_OBJECTS = 5000  # in one request
MAX_LABEL = 100  # characters


class SavedObject(NamedTuple):
    """A mask with its label, and the prompt that gave it; None for a segment of everything mode."""

    record: MaskRecord
    prompt: ObjectPrompt | None = None


def read_objects(value: Any, hw: tuple[int, int]) -> list[SavedObject]:
    """Return the objects of an image of (height, width).

    Args:
        value: a list of objects as the page got them from ``/service/freeze``, each with a ``label`` and a ``prompt``
            if it has any.
        hw: of the image.

    Raises:
        InputError: there is no object, or one has another form.
    """
    if not isinstance(value, list) or len(value) > MAX_OBJECTS:
        actual = len(value) if isinstance(value, list) else type(value).__name__
        raise InputError(sentence("objects", f"be a list of at most {MAX_OBJECTS}", actual, "save fewer at once"))
    if not value:
        raise InputError("There is no mask to save. Click the object first.")
    return [_object(entry, f"objects[{place}]", hw) for place, entry in enumerate(value)]


def _object(value: Any, where: str, hw: tuple[int, int]) -> SavedObject:
    if not isinstance(value, Mapping):
        raise InputError(sentence(where, "be an object", type(value).__name__, "send what /service/freeze returned"))
    segmentation = value.get("segmentation")
    if not isinstance(segmentation, Mapping) or not isinstance(segmentation.get("counts"), str):
        remedy = "send what /service/freeze returned"
        actual = reprlib.repr(segmentation)
        raise InputError(sentence(f"{where}.segmentation", "be COCO's compressed run lengths", actual, remedy))
    if segmentation.get("size") != list(hw):
        requirement, actual = f"be [{hw[0]}, {hw[1]}] as the image", reprlib.repr(segmentation.get("size"))
        raise InputError(sentence(f"{where}.segmentation.size", requirement, actual, "keep the mask again"))
    label = _label(value.get("label"), where)
    scores = {name: value.get(name) for name in ("predicted_iou", "stability_score", "confidence", "point_coords")}
    try:
        boundaries = boundaries_of_text(segmentation["counts"], hw)
        record = compact(read_record(boundaries, hw, label=label or OBJECT, **scores))
    except InputError as error:
        raise InputError(sentence(where, "be a mask of this image", f"{error}", "keep the mask again")) from error
    if value.get("prompt") is None:
        return SavedObject(record)
    prompt = read_prompt(value["prompt"], hw)
    refuse_without_object((*prompt.steps, prompt)[0], f"{where}.prompt")
    return SavedObject(record, replace(prompt, label=label or None))


def _label(value: Any, where: str) -> str:
    """Return a label without the spaces around it and without control characters, "" for none."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(sentence(f"{where}.label", "be text", type(value).__name__, "leave it out for none"))
    label = " ".join("".join(character if character.isprintable() else " " for character in value).split())
    if len(label) > MAX_LABEL:
        remedy = "write a shorter one"
        raise InputError(sentence(f"{where}.label", f"have at most {MAX_LABEL} characters", len(label), remedy))
    return label
