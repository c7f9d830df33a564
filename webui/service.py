"""The work behind the page and the endpoints: open an image, decode prompts, keep what was computed.

No HTTP and no Gradio here. An image is encoded once, whoever opens it; a click only runs the decoder.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from mobilesam.arrays import FloatArray, UInt8Array
from mobilesam.image.read import image_digest
from mobilesam.masks.records import MaskRecord
from mobilesam.model import Embedding
from mobilesam.prompts.object_prompt import ObjectPrompt
from mobilesam.segment import decode, feedback, supports
from mobilesam.webui import session as states
from mobilesam.webui.cache import ByteCache
from mobilesam.webui.image_files import read_file
from mobilesam.webui.masks import record_of
from mobilesam.webui.models import Models
from mobilesam.webui.session import CandidateMasks, Session, ShownImage, open_image
from mobilesam.webui.session_store import SessionExpiredError, SessionStore, showing
from mobilesam.webui.workers import Job, Workers

# An embedding is 4 MB, and the image-side work of the decoder for it about 15 MB more.
_EMBEDDING_BYTES = 20_000_000
_WAITING_CLICKS = 256

# Parts of --cache-mb, in bytes a megabyte: images, embeddings, sessions, and the logits of chosen masks that are fed
# back, 256 KB each; dropped logits are computed again from the steps.
_IMAGES, _EMBEDDINGS, _SESSIONS, _FEEDBACK = 400_000, 400_000, 170_000, 30_000


@dataclass(frozen=True)
class Limits:
    """Images encoded or segmented at once, requests waiting, memory, and the largest image file and image."""

    concurrency: int = 2
    waiting: int = 32
    cache_mb: int = 512
    max_upload_mb: int = 50
    max_pixels: int = 50_000_000


class Opened(NamedTuple):
    """A session after its image was encoded, and the time of the encoder for that image, milliseconds."""

    session: Session
    encode_ms: float


class Encoded(NamedTuple):
    """An embedding, and the time of the encoder, milliseconds."""

    embedding: Embedding
    ms: float


class Service:
    """Everything behind the page; several threads may use it."""

    def __init__(self, models: Models, limits: Limits) -> None:
        self.models = models
        self.limits = limits
        self.sessions = SessionStore(limit_bytes=limits.cache_mb * _SESSIONS)
        self.images: ByteCache[UInt8Array] = ByteCache(limits.cache_mb * _IMAGES)
        self.embeddings: ByteCache[Encoded] = ByteCache(limits.cache_mb * _EMBEDDINGS)
        self.feedback: ByteCache[FloatArray] = ByteCache(limits.cache_mb * _FEEDBACK)
        self.encoders = Workers(limits.concurrency, limits.waiting, "encode")
        self.decoders = Workers(1, _WAITING_CLICKS, "decode")  # a click takes 20 ms; two at once take 40 each
        self.savers = Workers(1, limits.waiting, "save")  # one image of full size in memory at a time
        self.full_size = Workers(1, _WAITING_CLICKS, "full-size")  # masks of the size of the image, a prompt at a time
        self.previews = Workers(1, limits.waiting, "preview")
        self._encoding: dict[tuple[str, str], threading.Lock] = {}
        self._lock = threading.Lock()

    def new_session(self, model: str | None = None) -> str:
        """Return the token of a new session with a model, by default the first one."""
        return self.sessions.create(Session(model or self.models.default))

    def open(self, token: str, content: bytes, name: str, on_image: Callable[[ShownImage], object]) -> Job[Opened]:
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
            pixels, note = read_file(content, name, self.limits.max_pixels)
            image = ShownImage(image_digest(pixels), (pixels.shape[0], pixels.shape[1]), name, note)
            self.images.put(image.digest, pixels, pixels.nbytes)
            session = self.sessions.change(token, lambda state: states.opened(state, image))
            on_image(image)
            ms = self.encode(session).ms
            return Opened(self.session(token, image.key), ms)

        return self.encoders.submit(work)

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
            ms = self.encode(target).ms if target.image is not None else 0.0
            session = self.sessions.change(token, lambda state: replace(state, model=name))
            return Opened(showing(session, image_key), ms)

        return self.encoders.submit(work)

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
        encoded = self.embeddings.get(self._key(session))
        embedding = (encoded or self.encoders.run(lambda: self.encode(session))).embedding
        model = self.models.get(session.model)
        refined = supports(model, prompt)
        if not refined:
            prompt = replace(prompt, steps=(), chosen=None)

        def work() -> CandidateMasks:
            start = time.perf_counter()
            ready = prompt
            if prompt.steps:
                key = (*self._key(session), prompt.steps)
                logits = self.feedback.get(key)
                if logits is None:
                    logits = feedback(model, embedding, prompt.steps)
                    self.feedback.put(key, logits, logits.nbytes)
                ready = replace(prompt, mask_input=logits)
            (decoded,) = decode(model, embedding, [ready])
            ms = 1000 * (time.perf_counter() - start)
            shown = decoded.only if prompt.boxed else decoded.three
            return CandidateMasks(shown(prompt.chosen), embedding.input_hw, ms, refined)

        return self.decoders.run(work)

    def half_embedding(self, session: Session) -> bytes:
        """Return the embedding of the image of a session as little-endian float16, 2 MB.

        Raises:
            SessionExpiredError, InputError, BusyError: as :meth:`decode`.
        """
        encoded = self.embeddings.get(self._key(session)) or self.encoders.run(lambda: self.encode(session))
        features = self.models.get(session.model).dump_features(encoded.embedding.features)
        return features.astype("<f2").tobytes()

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
            SessionExpiredError: it was dropped.
            InputError: no image is open.
        """
        image = self.images.get(open_image(session).digest)
        if image is None:
            raise SessionExpiredError("The image is no longer in memory. Open it again.")
        return image

    def encode(self, session: Session) -> Encoded:
        """Return the embedding of the image of a session, in this thread; requests for the same one share the work.

        Raises:
            SessionExpiredError, InputError: as :meth:`image`.
        """
        key = self._key(session)
        with self._lock:
            lock = self._encoding.setdefault(key, threading.Lock())
        try:
            with lock:
                encoded = self.embeddings.get(key)
                if encoded is None:
                    image, model = self.image(session), self.models.get(session.model)
                    start = time.perf_counter()
                    embedding = model.encode(image)
                    encoded = Encoded(embedding, 1000 * (time.perf_counter() - start))
                    self.embeddings.put(key, encoded, _EMBEDDING_BYTES)
                return encoded
        finally:
            with self._lock:
                self._encoding.pop(key, None)

    def close(self, wait: bool = True) -> None:
        """Stop the workers; with ``wait``, return when the running work has ended."""
        for workers in (self.encoders, self.decoders, self.savers, self.full_size, self.previews):
            workers.close(wait)

    def _key(self, session: Session) -> tuple[str, str]:
        return session.model, open_image(session).digest
