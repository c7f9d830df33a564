"""The named endpoints for ``gradio_client``: the functions of the page for scripts.

``/encode`` takes an image and returns a session; ``/predict`` and ``/everything`` return masks for that session, as
COCO run lengths at the original size of the image. The endpoints use the queue of Gradio. Each result contains the
``version`` of its format.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from mobilesam.errors import InputError, sentence
from mobilesam.serve.failures import explained
from mobilesam.webui.everything import Everything
from mobilesam.webui.masks import record_of
from mobilesam.webui.service import Service
from mobilesam.webui.session import NOTHING, open_image, prompt_of
from mobilesam.webui.view import record_view

VERSION = 2  # since version 2 "bbox" is that of COCO: the width and height in pixels that the mask covers


def add_endpoints(service: Service, everything: Everything) -> None:
    """Add the endpoints to the Gradio application that is being built."""

    def encode(image: bytes | None, model: str | None = None) -> dict[str, Any]:
        """Open an image file and encode it.

        Args:
            image: the file.
            model: one of the names that the page offers; the first one by default.

        Returns:
            ``session`` for the other endpoints, ``width``, ``height``, ``model``, ``encode_ms``.
        """
        with _reported():
            if image is None:
                raise InputError(sentence("image", "be a file", "none", "pass gradio_client.handle_file(path)"))
            token = service.new_session(service.models.check(model or service.models.default))
            opened = service.open(token, bytes(image), "image", lambda _: None).result()
            height, width = open_image(opened.session).hw
            return {
                "version": VERSION,
                "session": token,
                "width": width,
                "height": height,
                "model": opened.session.model,
                "encode_ms": round(opened.encode_ms, 1),
            }

    def predict(session: str, points: Any = None, box: Any = None) -> dict[str, Any]:
        """Segment one object.

        Args:
            session: from ``/encode``.
            points: [[x, y, label], ...] in pixels of the image, label 1 for the object and 0 for the background; or
                None.
            box: [x1, y1, x2, y2], or None.

        Returns:
            ``masks``, the best first: three for a single point, else one.
        """
        with _reported():
            state = service.session(session)
            image = open_image(state)
            prompt = prompt_of(points or None, box or None, image.hw)
            if prompt == NOTHING:
                raise InputError(sentence("a prompt", "have points or a box", "neither", "pass one of them"))
            candidates, model = service.decode(state, prompt), service.models.get(state.model)
            ious, best = candidates.masks.iou_predictions, candidates.masks.best
            order = sorted(range(len(ious)), key=lambda index: (index != best, -ious[index]))
            masks = [record_view(record_of(image, prompt, candidates, index, model)) for index in order]
            return {"version": VERSION, "masks": masks}

    def segment_everything(session: str, mode: str, progress: gr.Progress = gr.Progress()) -> dict[str, Any]:  # noqa: B008
        """Segment everything in the image.

        Args:
            session: from ``/encode``.
            mode: exact, balanced or fast.

        Returns:
            ``masks``, the best first, and ``partial``: whether the run was ended early.
        """
        context = contextvars.copy_context()  # Gradio finds the request in it, in the thread of the worker too

        def report(done: int, total: int, masks: int) -> None:
            context.run(progress, (done, total), f"{masks} candidates", unit="points")

        with _reported():
            result = everything.start(session, mode, report).result()
            masks = [record_view(record) for record in result.session.segments]
            return {"version": VERSION, "masks": masks, "partial": result.partial}

    limit = service.limits.concurrency
    image = gr.File(type="binary", visible=False, label="image")
    model, session, mode = (gr.Textbox(visible=False, label=label) for label in ("model", "session", "mode"))
    points, box, result = (gr.JSON(visible=False, label=label) for label in ("points", "box", "result"))
    button = gr.Button(visible=False)
    button.click(encode, [image, model], result, api_name="encode", concurrency_limit=limit)
    button.click(predict, [session, points, box], result, api_name="predict", concurrency_limit=8)
    button.click(segment_everything, [session, mode], result, api_name="everything", concurrency_limit=limit)


@contextmanager
def _reported() -> Iterator[None]:
    """Raise any error as a Gradio error, whose message reaches the client without a traceback in the log."""
    try:
        yield
    except Exception as error:
        raise gr.Error(str(explained(error)), print_exception=False) from error
