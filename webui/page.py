"""The page: one HTML component in Gradio, whose script calls server functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder, is_in_or_equal

from mobilesam.errors import InputError, sentence
from mobilesam.webui.endpoints import add_endpoints
from mobilesam.webui.everything import OFFERED_MODES, Everything
from mobilesam.webui.failures import explained, failure
from mobilesam.webui.routes import STATIC
from mobilesam.webui.service import Service
from mobilesam.webui.session import prompt_of
from mobilesam.webui.session_store import SessionExpiredError
from mobilesam.webui.uploads import UPLOADS_KEPT
from mobilesam.webui.view import mask_views, result_view, session_view

_SYSTEM_FONTS = ["ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
_MONO_FONTS = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]

_MAX_ACTIONS = 512  # in one call; the page sends together what was clicked since the last response
_MAX_DEPTH = 32  # of lists and objects in the arguments of a call
_GRADIO_SESSIONS = 500  # whose state Gradio keeps, a few kilobytes each
_IDLE = 1  # decoder jobs; with more, no preview is decoded

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


def build_page(service: Service, everything: Everything) -> gr.Blocks:
    """Return the Gradio application."""
    page = _Blocks(title="mobilesam", analytics_enabled=False, fill_width=True, delete_cache=(60, UPLOADS_KEPT))
    page.state_session_capacity = _GRADIO_SESSIONS
    with page:
        gr.HTML(
            html_template=(STATIC / "page.html").read_text(encoding="utf-8"),
            js_on_load=_START,
            apply_default_css=False,
            server_functions=server_functions(service, everything),
            elem_id="mobilesam",
        )
        add_endpoints(service, everything)
    return page


def theme() -> gr.themes.Base:
    """Return a theme with system fonts, so that none is downloaded."""
    return gr.themes.Base(font=_SYSTEM_FONTS, font_mono=_MONO_FONTS)


def server_functions(service: Service, everything: Everything) -> list[Callable[[Any], dict[str, Any]]]:
    """Return the functions that the script calls; each takes and returns an object, an error as ``{"error": ...}``."""

    def hello(call: Any) -> dict[str, Any]:
        """Return the token of a new session, and the settings of the page.

        If the given token is known, the session is a copy of that one: a tab that was duplicated starts with the state
        of the other one, and from then on the two are independent.
        """
        try:
            session = service.sessions.get(_field(call, "token"))
            if session.image is not None:
                service.image(session)
            token = service.sessions.copy(_field(call, "token"))
            session = service.with_candidates(token)
        except SessionExpiredError:
            name = _field(call, "model")
            token = service.new_session(name if isinstance(name, str) and name in service.models.labels() else None)
            session = service.sessions.get(token)
        model = service.models.get(session.model) if session.candidates is not None else None
        return {
            "token": token,
            "models": service.models.labels(),
            "modes": OFFERED_MODES,
            "max_upload_mb": service.limits.max_upload_mb,
            "session": session_view(session, model),
        }

    def act(call: Any) -> dict[str, Any]:
        """Apply ``actions`` and return the state after them."""
        token, actions, key = (_field(call, name) for name in ("token", "actions", "image"))
        actions = actions if isinstance(actions, list) else [actions]
        if len(actions) > _MAX_ACTIONS:
            raise InputError(sentence("actions", f"be at most {_MAX_ACTIONS}", len(actions), "send some of them first"))
        session = service.act(token, actions, key)
        return result_view(session, service.models.get(session.model))

    def hover(call: Any) -> dict[str, Any]:
        """Return the mask under the pointer, without a change of the state; nothing while other jobs wait."""
        session = service.session(_field(call, "token"), _field(call, "image"))
        if session.image is None or service.decoders.busy() > _IDLE:
            return {}
        prompt = prompt_of([[_field(call, "x"), _field(call, "y"), 1]], None, session.image.hw)
        candidates = service.decode(session, prompt)
        return mask_views(candidates, session.image, service.models.get(session.model))[candidates.masks.best]

    def cancel(call: Any) -> dict[str, Any]:
        """End the run of everything mode early; its request returns the segments so far."""
        everything.cancel(str(_field(call, "token")))
        return {}

    return [_reporting(function) for function in (hello, act, hover, cancel)]


def _reporting(function: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    """Return a server function that returns any error as JSON, which the page shows."""

    @functools.wraps(function)
    def reporting(call: Any) -> dict[str, Any]:
        try:
            return function(call)
        except Exception as error:
            return failure(explained(error))

    return reporting


def _field(call: Any, name: str) -> Any:
    return call.get(name) if isinstance(call, dict) else None
