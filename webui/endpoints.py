"""The named endpoints for ``gradio_client``: the page's own functions, without the page.

``/encode`` takes a picture and returns a session, ``/predict`` and ``/everything`` answer for that session. Masks are
COCO run lengths at the picture's own size. The endpoints stand in Gradio's queue. Each result says the ``version`` of
its form.
"""

from __future__ import annotations

import contextvars
from typing import Any

import gradio as gr

from mobilesam.errors import InputError, sentence
from mobilesam.formats.output import describe
from mobilesam.masks import rle
from mobilesam.masks.records import MaskRecord
from mobilesam.webui.everything import Everything
from mobilesam.webui.failures import explained
from mobilesam.webui.saving import record_of
from mobilesam.webui.service import Service
from mobilesam.webui.session import NOTHING, prompt_of

VERSION = 2  # since then "bbox" is COCO's: as wide and as high as the pixels that a mask covers


def add_endpoints(service: Service, everything: Everything) -> None:
    """Add the endpoints to the Gradio application that is being built."""

    def encode(image: bytes | None, model: str | None = None) -> dict[str, Any]:
        """Open a picture file and encode it.

        Args:
            image: the file.
            model: a name that the page offers; the default one if left out.

        Returns:
            ``session`` to be passed on, ``width``, ``height``, ``model``, ``encode_ms``.
        """
        if image is None:
            raise _refusal(InputError(sentence("image", "be a file", "none", "pass gradio_client.handle_file(path)")))
        try:
            token = service.admit(service.models.check(model or service.models.default))
            opened = service.open(token, bytes(image), "picture", lambda _: None).result()
        except Exception as error:
            raise _refusal(error) from error
        assert opened.session.image is not None, "a picture was opened"
        height, width = opened.session.image.hw
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
            points: [[x, y, label], ...] in pixels of the picture, label 1 on the object and 0 beside it; or None.
            box: [x1, y1, x2, y2], or None.

        Returns:
            ``masks``, the best first: three for a lone point, else one.
        """
        try:
            state = service.visitors.session(session)
            if state.image is None:
                raise InputError(sentence("a picture", "be open", "none", "call /encode first"))
            prompt = prompt_of(points or None, box or None, state.image.hw)
            if prompt == NOTHING:
                raise InputError(sentence("a prompt", "have points or a box", "neither", "pass one of them"))
            answer, model = service.ask(state, prompt), service.models.get(state.model)
            order = sorted(range(len(answer.scores)), key=lambda index: (index != answer.best, -answer.scores[index]))
            masks = [_mask(record_of(state.image, prompt, answer, index, model)) for index in order]
            return {"version": VERSION, "masks": masks}
        except Exception as error:
            raise _refusal(error) from error

    def find_everything(session: str, mode: str, progress: gr.Progress = gr.Progress()) -> dict[str, Any]:  # noqa: B008
        """Segment everything in the picture.

        Args:
            session: from ``/encode``.
            mode: one that the page offers.

        Returns:
            ``masks``, the best first, and ``partial``: whether the run was ended early.
        """
        here = contextvars.copy_context()  # by which Gradio knows whose progress it is, in the worker's thread too

        def report(done: int, total: int, found: int) -> None:
            here.run(progress, (done, total), f"{found} candidates", unit="points")

        try:
            found = everything.start(session, mode, report).result()
            masks = [_mask(record) for record in found.session.segments]
            return {"version": VERSION, "masks": masks, "partial": found.partial}
        except Exception as error:
            raise _refusal(error) from error

    limit = service.limits.concurrency
    image = gr.File(type="binary", visible=False, label="image")
    model, session, mode = (gr.Textbox(visible=False, label=label) for label in ("model", "session", "mode"))
    points, box, result = (gr.JSON(visible=False, label=label) for label in ("points", "box", "result"))
    bell = gr.Button(visible=False)
    bell.click(encode, [image, model], result, api_name="encode", concurrency_limit=limit)
    bell.click(predict, [session, points, box], result, api_name="predict", concurrency_limit=8)
    bell.click(find_everything, [session, mode], result, api_name="everything", concurrency_limit=limit)


def _mask(record: MaskRecord) -> dict[str, Any]:
    return {"segmentation": rle.coco_encode_rle(record["segmentation"])} | describe(record)


def _refusal(error: Exception) -> gr.Error:
    """Return an error whose text reaches the caller, and no traceback the log."""
    return gr.Error(str(explained(error)), print_exception=False)
