"""A visitor's state as the page is shown it."""

from __future__ import annotations

from typing import Any

from mobilesam.model import MaskModel
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.prompts.schema import needs_steps
from mobilesam.webui import wire
from mobilesam.webui.session import Answer, Session, ShownImage


def session_view(session: Session, model: MaskModel | None) -> dict[str, Any]:
    """Return what the page draws: the prompt, the masks that answer it, and which steps there are back and forth."""
    view: dict[str, Any] = {
        "model": session.model,
        "prompt": prompt_view(session.prompt),
        "undo": bool(session.past),
        "redo": bool(session.future),
        "image": None,
        "masks": [],
        "chosen": session.chosen,
    }
    if session.image is not None:
        view["image"] = image_view(session.image)
        if session.answer is not None and model is not None:
            view["masks"] = mask_views(session.answer, session.image, model)
    return view


def answer_view(session: Session, model: MaskModel) -> dict[str, Any]:
    """Return :func:`session_view` and how long the model took to decode, null if it did not."""
    decode_ms = None if session.answer is None else round(session.answer.decode_ms, 1)
    return {"session": session_view(session, model), "decode_ms": decode_ms}


def image_view(image: ShownImage) -> dict[str, Any]:
    """Return a picture's name and sizes: its own, and that at which pictures and masks are sent."""
    height, width = wire.preview_hw(image.hw)
    return {
        "key": image.key,
        "name": image.name,
        "note": image.note,
        "width": image.hw[1],
        "height": image.hw[0],
        "shown": {"width": width, "height": height},
    }


def prompt_view(prompt: ObjectPrompt) -> dict[str, Any]:
    """Return a prompt as ``restore`` takes it, with its steps and its chosen mask if it has any."""
    points = [[x, y, label] for (x, y), label in zip(prompt.points, prompt.labels, strict=True)]
    view: dict[str, Any] = {"points": points, "box": None if prompt.box is None else list(prompt.box)}
    if needs_steps(prompt):
        view |= {"steps": [prompt_view(step) for step in prompt.steps], "chosen": prompt.chosen}
    return view


def mask_views(answer: Answer, image: ShownImage, model: MaskModel) -> list[dict[str, Any]]:
    """Return an answer's masks at the size at which the picture is shown."""
    packed = wire.shown_masks(answer.low_res_logits, answer.input_hw, image.hw, model.image_size, model.mask_threshold)
    return [{"predicted_iou": score, "rle": text} for score, text in zip(answer.scores, packed, strict=True)]
