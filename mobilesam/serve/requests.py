"""The bodies of requests: prompts, settings of everything mode, and the form of masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mobilesam.automatic.settings import MODES
from mobilesam.errors import InputError, sentence, unknown_name
from mobilesam.masks.selection import RULES
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.prompts.schema import parse_objects, refuse_unknown_keys, shown
from mobilesam.segment import ALL
from mobilesam.serve.rendering import FORMS

MAX_PROMPTS = 1000  # of a request
MAX_POINTS = 256  # of a prompt; the time of a decoder call grows with its points
_VERSION = 2  # of the prompt file, whose objects are the prompts here
_SEGMENT = ("image_id", "prompts", "select", "masks", "model")
_NUMBERS = ("pred_iou_thresh", "stability_score_thresh", "box_nms_thresh", "min_mask_region_area")
_EVERYTHING = ("image_id", "mode", "points_per_side", *_NUMBERS, "masks", "model", "limit")
MAX_POINTS_PER_SIDE = 64
MAX_MASKS = 2000  # of everything mode


@dataclass(frozen=True)
class SegmentRequest:
    """prompts: in pixels of the image. select: a rule, "all", or None for the default. masks: one of FORMS."""

    prompts: tuple[ObjectPrompt, ...]
    select: str | None
    masks: str
    model: str | None


@dataclass(frozen=True)
class EverythingRequest:
    """settings: of the mask generator. limit: the most masks in the result, the best first."""

    settings: Mapping[str, Any]
    masks: str
    model: str | None
    limit: int


def segment_request(body: Mapping[str, Any], hw: tuple[int, int]) -> SegmentRequest:
    """Read the body of a request for the masks of prompts on an image of (height, width).

    Raises:
        InputError: a part of it cannot be used.
    """
    refuse_unknown_keys(body, _SEGMENT, "the request")
    value = body.get("prompts")
    if isinstance(value, list):
        check_count(value, "prompts")
    joined = [_with_labels(entry, f"prompts[{place}]") for place, entry in enumerate(value or [])] if value else value
    prompts = parse_objects(joined, "prompts", _VERSION)
    return SegmentRequest(
        tuple(checked(prompt, hw, f"prompts[{place}]") for place, prompt in enumerate(prompts)),
        _choice(body, "select", (*RULES, ALL)),
        _choice(body, "masks", FORMS) or FORMS[0],
        _text(body, "model"),
    )


def everything_request(body: Mapping[str, Any]) -> EverythingRequest:
    """Read the body of a request for all masks of an image; the mask generator checks the numbers.

    Raises:
        InputError: a part of it cannot be used.
    """
    refuse_unknown_keys(body, _EVERYTHING, "the request")
    settings = {name: body[name] for name in ("points_per_side", *_NUMBERS) if name in body}
    side = settings.get("points_per_side", 1)
    if not isinstance(side, int) or isinstance(side, bool) or not 1 <= side <= MAX_POINTS_PER_SIDE:
        requirement = f"be a whole number from 1 to {MAX_POINTS_PER_SIDE}"
        raise InputError(sentence("points_per_side", requirement, shown(side), "leave it out for the default"))
    limit = body.get("limit", MAX_MASKS)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_MASKS:
        requirement = f"be a whole number from 1 to {MAX_MASKS}"
        raise InputError(sentence("limit", requirement, shown(limit), "leave it out for all masks"))
    settings["mode"] = _choice(body, "mode", MODES) or MODES[0]
    return EverythingRequest(settings, _choice(body, "masks", FORMS) or FORMS[0], _text(body, "model"), limit)


def check_count(prompts: Sequence[Any], name: str) -> None:
    """Raise InputError if a request has too many prompts; ``name`` stands for them."""
    if len(prompts) > MAX_PROMPTS:
        raise InputError(sentence(name, f"be at most {MAX_PROMPTS}", len(prompts), "send them in several requests"))


def checked(prompt: ObjectPrompt, hw: tuple[int, int], where: str) -> ObjectPrompt:
    """Return a prompt with the part of its box that lies in an image of (height, width).

    Raises:
        InputError: a point or the box lies outside, or there are too many points.
    """
    for step in (*prompt.steps, prompt):
        _check_inside(step, hw, where)
    return prompt.inside(hw)


def _choice(body: Mapping[str, Any], name: str, choices: tuple[str, ...]) -> str | None:
    value = body.get(name)
    if value is not None and value not in choices:
        raise InputError(unknown_name(name, value if isinstance(value, str) else shown(value), choices))
    return value


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise InputError(sentence(name, "be text", shown(value), "leave it out for the default"))
    return value


def _with_labels(entry: Any, where: str) -> Any:
    """Return an object whose points have their labels: ``labels`` beside points of two numbers is accepted too."""
    if not isinstance(entry, Mapping) or "labels" not in entry:
        return entry
    points, labels = entry.get("points"), entry["labels"]
    if not isinstance(points, list) or not isinstance(labels, list) or len(points) != len(labels):
        actual = f"{shown(labels)} for {shown(points)}"
        raise InputError(sentence(f"{where}.labels", "be a list with one label a point", actual, "write [[x, y, 1]]"))
    if not all(isinstance(point, list) and len(point) == 2 for point in points):
        remedy = "leave labels out if the points have them"
        raise InputError(sentence(f"{where}.points", "be [x, y] beside labels", shown(points), remedy))
    rest = {key: value for key, value in entry.items() if key != "labels"}
    return rest | {"points": [[*point, label] for point, label in zip(points, labels, strict=True)]}


def _check_inside(prompt: ObjectPrompt, hw: tuple[int, int], where: str) -> None:
    if len(prompt.points) > MAX_POINTS:
        remedy = "leave some out, or send a box"
        raise InputError(sentence(f"{where}.points", f"be at most {MAX_POINTS}", len(prompt.points), remedy))
    for x, y in prompt.points:
        if not (0 <= x <= hw[1] and 0 <= y <= hw[0]):
            requirement = f"lie in the image, {hw[1]} wide and {hw[0]} high"
            actual = f"x {x:g}, y {y:g}"
            raise InputError(sentence(f"{where}: a point", requirement, actual, "give it in pixels of the image"))
    replace(prompt, origin=where).inside(hw)
