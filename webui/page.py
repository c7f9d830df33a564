"""The page: one component of our own inside Gradio, whose server functions answer its clicks."""

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
from mobilesam.webui.uploads import UPLOADS_KEPT
from mobilesam.webui.view import answer_view, mask_views, session_view
from mobilesam.webui.visitors import GoneError

_SYSTEM_FONTS = ["ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
_MONO_FONTS = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]

_MAX_ACTIONS = 512  # of one call; the page sends what was clicked while it waited for an answer
_MAX_DEPTH = 32  # of lists and objects in what a caller sends
_GRADIO_SESSIONS = 500  # of which Gradio keeps its own state, a few kilobytes each

_IDLE = 1  # clicks at work; a preview under the pointer gives way to more

_START = """
import(new URL("studio/static/studio.js", document.baseURI)).then(
  ({ start }) => start(element.querySelector(".studio"), server),
  (error) => { element.querySelector(".studio").dataset.broken = String(error); },
);
"""


class _Blocks(gr.Blocks):
    """Takes from callers no file but those they uploaded: Gradio itself checks that of launched applications only."""

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *rest: Any, **options: Any) -> list[Any]:
        refuse_foreign_files(inputs)
        processed: list[Any] = await super().preprocess_data(block_fn, inputs, *rest, **options)
        return processed


def refuse_foreign_files(value: Any, depth: int = 0) -> None:
    """Look for files in what a caller sent, at any depth.

    Raises:
        gr.Error: one is a web address, or lies outside the folder of uploads; or the value is nested too deeply.
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
    except (OSError, ValueError):  # such as a NUL in it
        return False


def build_page(service: Service, everything: Everything) -> gr.Blocks:
    """Return the Gradio application, not yet served."""
    page = _Blocks(title="mobilesam", analytics_enabled=False, fill_width=True, delete_cache=(60, UPLOADS_KEPT))
    page.state_session_capacity = _GRADIO_SESSIONS
    with page:
        gr.HTML(
            html_template=(STATIC / "studio.html").read_text(encoding="utf-8"),
            js_on_load=_START,
            apply_default_css=False,
            server_functions=server_functions(service, everything),
            elem_id="studio",
        )
        add_endpoints(service, everything)
    return page


def theme() -> gr.themes.Base:
    """Return a theme whose fonts are the visitor's own: nothing is fetched from elsewhere."""
    return gr.themes.Base(font=_SYSTEM_FONTS, font_mono=_MONO_FONTS)


def server_functions(service: Service, everything: Everything) -> list[Callable[[Any], dict[str, Any]]]:
    """Return what the page's script calls; each takes one object and returns one, an error as ``{"error": ...}``."""

    def hello(call: Any) -> dict[str, Any]:
        """Return a token of the page's own, and what the page must know.

        The state is that of the given token, if it is known: a tab that was duplicated goes on where the other one is,
        and neither changes the other's state from then on.
        """
        try:
            session = service.visitors.session(_field(call, "token"))
            if session.image is not None:
                service.image(session)
            token = service.visitors.copy(_field(call, "token"))
            session = service.with_answer(token)
        except GoneError:
            wanted = _field(call, "model")
            token = service.admit(wanted if isinstance(wanted, str) and wanted in service.models.labels() else None)
            session = service.visitors.session(token)
        model = service.models.get(session.model) if session.answer is not None else None
        return {
            "token": token,
            "models": service.models.labels(),
            "modes": OFFERED_MODES,
            "max_upload_mb": service.limits.max_upload_mb,
            "session": session_view(session, model),
        }

    def act(call: Any) -> dict[str, Any]:
        """Apply ``actions`` and return the state they come to."""
        token, actions, key = (_field(call, name) for name in ("token", "actions", "image"))
        actions = actions if isinstance(actions, list) else [actions]
        if len(actions) > _MAX_ACTIONS:
            raise InputError(sentence("actions", f"be at most {_MAX_ACTIONS}", len(actions), "send some of them first"))
        session = service.act(token, actions, key)
        return answer_view(session, service.models.get(session.model))

    def hover(call: Any) -> dict[str, Any]:
        """Return the mask under the pointer, without making it part of the state; none while others wait."""
        session = service.session(_field(call, "token"), _field(call, "image"))
        if session.image is None or service.decoders.busy() > _IDLE:
            return {}
        prompt = prompt_of([[_field(call, "x"), _field(call, "y"), 1]], None, session.image.hw)
        answer = service.ask(session, prompt)
        return mask_views(answer, session.image, service.models.get(session.model))[answer.best]

    def cancel(call: Any) -> dict[str, Any]:
        """End a run of everything mode; what it found comes as its result."""
        everything.cancel(str(_field(call, "token")))
        return {}

    return [_answering(function) for function in (hello, act, hover, cancel)]


def _answering(function: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    """Let a server function return whatever goes wrong as an error that the page shows."""

    @functools.wraps(function)
    def answer(call: Any) -> dict[str, Any]:
        try:
            return function(call)
        except Exception as error:
            return failure(explained(error))

    return answer


def _field(call: Any, name: str) -> Any:
    return call.get(name) if isinstance(call, dict) else None
