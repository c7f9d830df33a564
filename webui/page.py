"""The page: one HTML component in Gradio, whose script calls the routes of :mod:`mobilesam.webui.routes`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder, is_in_or_equal

from mobilesam.automatic.settings import MODES
from mobilesam.errors import sentence
from mobilesam.serve.failures import explained, failure
from mobilesam.webui.decoders import Decoders
from mobilesam.webui.endpoints import add_endpoints
from mobilesam.webui.everything import Everything
from mobilesam.webui.routes import STATIC
from mobilesam.webui.sample_photos import samples
from mobilesam.webui.service import Service
from mobilesam.webui.session_store import SessionExpiredError
from mobilesam.webui.uploads import UPLOADS_KEPT
from mobilesam.webui.view import image_view

_SYSTEM_FONTS = ["ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
_MONO_FONTS = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]

_MAX_DEPTH = 32  # of lists and objects in the arguments of a call
_GRADIO_SESSIONS = 500  # whose state Gradio keeps, a few kilobytes each

_START = """
import(new URL("service/static/page.js", document.baseURI)).then(
  ({ start }) => start(element.querySelector(".mobilesam"), server),
  (error) => { element.querySelector(".mobilesam").dataset.broken = String(error); },
);
"""


class _Blocks(gr.Blocks):
    """Accepts only uploaded files in calls; Gradio itself checks this only for applications that it launches."""

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *rest: Any, **options: Any) -> list[Any]:
        refuse_foreign_files(inputs)
        processed: list[Any] = await super().preprocess_data(block_fn, inputs, *rest, **options)
        return processed


def refuse_foreign_files(value: Any, depth: int = 0) -> None:
    """Check the files in the arguments of a call, at any depth.

    Raises:
        gr.Error: a file is a web address or lies outside the upload folder, or the arguments are nested too deeply.
    """
    if depth > _MAX_DEPTH:
        remedy = "send flat lists"
        text = sentence("an argument", f"be nested at most {_MAX_DEPTH} levels deep", "more", remedy)
        raise gr.Error(text, print_exception=False)
    if isinstance(value, dict):
        path = value.get("path")
        if path is not None and not _is_upload(path):
            raise gr.Error(sentence("a file", "be uploaded", repr(path), "use handle_file"), print_exception=False)
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        refuse_foreign_files(part, depth + 1)


def _is_upload(path: Any) -> bool:
    try:
        return bool(is_in_or_equal(str(path), get_upload_folder()))
    except (OSError, ValueError):  # such as a NUL in the path
        return False


def build_page(service: Service, everything: Everything, decoders: Decoders) -> gr.Blocks:
    """Return the Gradio application."""
    page = _Blocks(title="mobilesam", analytics_enabled=False, fill_width=True, delete_cache=(60, UPLOADS_KEPT))
    page.state_session_capacity = _GRADIO_SESSIONS
    with page:
        gr.HTML(
            html_template=(STATIC / "page.html").read_text(encoding="utf-8"),
            js_on_load=_START,
            apply_default_css=False,
            server_functions=[hello_function(service, decoders)],
            elem_id="mobilesam",
        )
        add_endpoints(service, everything)
    return page


def theme() -> gr.themes.Base:
    """Return a theme with system fonts, so that none is downloaded."""
    return gr.themes.Base(font=_SYSTEM_FONTS, font_mono=_MONO_FONTS)


def hello_function(service: Service, decoders: Decoders) -> Callable[[Any], dict[str, Any]]:
    """Return the server function with which the script gets a session; it takes and returns an object."""

    def hello(call: Any) -> dict[str, Any]:
        """Return the token of a new session, its image if it has one, and the settings of the page.

        If the given token is known, the session is a copy of that one: a tab that was duplicated starts with the image
        of the other one, and from then on the two are independent. Any error is returned as ``{"error": ...}``.
        """
        try:
            token = _token(service, call)
            session = service.sessions.get(token)
            return {
                "token": token,
                "models": service.models.labels(),
                "modes": list(MODES),
                "max_upload_mb": service.limits.max_upload_mb,
                "samples": samples(),
                "decoders": decoders.addresses(),
                "model": session.model,
                "image": None if session.image is None else image_view(session.image),
            }
        except Exception as error:
            return failure(explained(error))

    return hello


def _token(service: Service, call: Any) -> str:
    """Return the token of a copy of the session of a call, or of a new one."""
    fields = call if isinstance(call, dict) else {}
    try:
        session = service.sessions.get(fields.get("token"))
        if session.image is not None:
            service.image(session)
        return service.sessions.copy(fields.get("token"))
    except SessionExpiredError:
        name = fields.get("model")
        return service.new_session(name if isinstance(name, str) and name in service.models.labels() else None)
