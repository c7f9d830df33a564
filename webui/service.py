"""The sessions of the page and the endpoints: open an image, decode prompts, keep objects, on the engine of a server.

No HTTP and no Gradio here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from mobilesam.arrays import UInt8Array
from mobilesam.embedding import EmbeddingFolder
from mobilesam.masks.records import MaskRecord
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.segment import supports
from mobilesam.serve.engine import Engine, Limits
from mobilesam.serve.models import Models
from mobilesam.serve.values import CandidateMasks, Client, OpenImage
from mobilesam.serve.workers import Job, Workers
from mobilesam.webui import session as states
from mobilesam.webui.masks import record_of
from mobilesam.webui.session import Session, open_image
from mobilesam.webui.session_store import SessionStore, showing

_SESSIONS = 170_000  # of --cache-mb, in bytes a megabyte


class Opened(NamedTuple):
    """A session after its image was encoded, and the time of the encoder for that image, milliseconds."""

    session: Session
    encode_ms: float


class Service(Engine):
    """Everything behind the page; several threads may use it."""

    def __init__(self, models: Models, limits: Limits, folder: EmbeddingFolder | None = None) -> None:
        super().__init__(models, limits, folder)
        self.sessions = SessionStore(limit_bytes=limits.cache_mb * _SESSIONS)
        self.savers = Workers(1, limits.waiting, "save")  # one image of full size in memory at a time
        self.previews = Workers(1, limits.waiting, "preview")

    def new_session(self, model: str | None = None) -> str:
        """Return the token of a new session with a model, by default the first one."""
        return self.sessions.create(Session(model or self.models.default))

    def open(self, token: str, content: bytes, name: str, on_image: Callable[[OpenImage], object]) -> Job[Opened]:
        """Queue an image file to be read and encoded for a session.

        The earlier image stays open until the file is read, and if it cannot be read. ``on_image`` is called when the
        image is read and can be shown. The job raises InputError if the content is not an image within the limits, and
        SessionExpiredError if another image was opened in the session meanwhile.

        Raises:
            SessionExpiredError: the token is unknown.
            BusyError: the queue is full.
        """
        self.sessions.get(token)

        def work() -> Opened:
            image = self.read(content, name)
            session = self.sessions.change(token, lambda state: states.opened(state, image))
            on_image(image)
            ms = self.encode(session.model, image).ms
            return Opened(self.session(token, image.key), ms)

        return self.encoders.submit(work, token)

    def switch(self, token: str, model: object, image_key: object = None) -> Job[Opened]:
        """Queue a change of the model: load it, encode the open image with it, and then use it in the session.

        Raises:
            InputError: there is no such model.
            SessionExpiredError, BusyError: as :meth:`open`, or the open image is not that of ``image_key``.
        """
        name = self.models.check(model)
        target = replace(self.session(token, image_key), model=name)

        def work() -> Opened:
            self.models.get(name)
            ms = self.encode(name, target.image).ms if target.image is not None else 0.0
            session = self.sessions.change(token, lambda state: replace(state, model=name))
            return Opened(showing(session, image_key), ms)

        return self.encoders.submit(work, token)

    def session(self, token: object, image_key: object = None) -> Session:
        """Return the state of a session.

        Args:
            token: of the session.
            image_key: the key of the image that the request is about, "" for none; None accepts any.

        Raises:
            SessionExpiredError: the token is unknown, or another image is open.
        """
        return showing(self.sessions.get(token), image_key)

    def decode(self, session: Session, prompt: ObjectPrompt) -> CandidateMasks:
        """Return the candidate masks of a prompt: three if it is ambiguous, else one.

        Raises:
            InputError: the prompt does not locate the object.
            SessionExpiredError: the image was dropped.
            BusyError: the queue is full.
        """
        refined = supports(self.models.get(session.model), prompt)
        if not refined:
            prompt = replace(prompt, steps=(), chosen=None)
        (decoded,) = self.candidates(session.model, open_image(session), [prompt], None, Client())
        shown = decoded.masks.only if prompt.boxed else decoded.masks.three
        return replace(decoded, masks=shown(prompt.chosen), refined=refined)

    def freeze(self, session: Session, prompt: ObjectPrompt, clean: bool) -> MaskRecord:
        """Return the mask of a prompt at the original size of the image: the chosen one, else the suggested one.

        Args:
            session: with an image.
            prompt: with ``chosen`` for another mask than the suggested one.
            clean: whether small holes are filled and specks removed.

        Raises:
            InputError, SessionExpiredError, BusyError: as :meth:`decode`.
        """
        candidates, image = self.decode(session, prompt), open_image(session)
        masks = candidates.masks
        place = masks.place_of(prompt.chosen) if prompt.chosen in masks.indices else masks.best
        return record_of(image, prompt, candidates, place, self.models.get(session.model), clean=clean)

    def image(self, session: Session) -> UInt8Array:
        """Return the image of a session, (H, W, 3) uint8 RGB.

        Raises:
            ExpiredError: it was dropped.
            InputError: no image is open.
        """
        return self.pixels(open_image(session))

    def close(self, wait: bool = True) -> None:
        for workers in (self.savers, self.previews):
            workers.close(wait)
        super().close(wait)
