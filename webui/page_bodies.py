"""The request bodies that the page and Gradio accept."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import Scope

from mobilesam.serve.bodies import Rules
from mobilesam.webui.session_store import SessionStore
from mobilesam.webui.uploads import UploadFolder

IMAGE_PATH = "/service/image"
FORM_PATH = "/gradio_api/upload"
SAVE_PATH = "/service/save/"  # and a format

MAX_OBJECTS_JSON = 16_000_000  # bytes of the objects to save


class PageRules(Rules):
    """Files only of known sessions, and forms of Gradio only while its folder has room."""

    def __init__(self, max_upload_mb: int, folder: UploadFolder, sessions: SessionStore) -> None:
        super().__init__(max_upload_mb)
        self.folder, self.sessions = folder, sessions

    def has_file(self, path: str) -> bool:
        return path in (IMAGE_PATH, FORM_PATH)

    def limit(self, path: str) -> int:
        if path.startswith(SAVE_PATH):
            return MAX_OBJECTS_JSON
        return self.max_upload_mb * 1_000_000 if path == IMAGE_PATH else super().limit(path)

    def check(self, path: str, headers: Headers) -> None:
        if path == IMAGE_PATH or path.startswith(SAVE_PATH):
            self.sessions.get(headers.get("x-session", ""))

    async def received(self, scope: Scope, held: int) -> Scope:
        if scope["path"] != FORM_PATH:
            return scope
        await run_in_threadpool(self.folder.check, held)
        return {**scope, "query_string": b""}  # Gradio keeps the progress of an upload_id forever
